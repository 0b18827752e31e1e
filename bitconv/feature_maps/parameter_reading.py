"""What codecs are made of, as it comes from a file or a caller: as expected, or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitconv.errors import GraphError, InputError
from bitconv.parameters import plain


def taken_exactly(
    parameters: Mapping[str, Any], names: Sequence[str], codec: str
) -> dict[str, Any]:
    """The parameters, once they are seen to have these names and no others."""
    if set(parameters) != set(names):
        raise GraphError(
            f"the codec {codec!r} takes the parameters {sorted(names)}, found {sorted(parameters)}"
        )
    return dict(parameters)


def octets(value: Any, what: str) -> NDArray[np.uint8]:
    """An array of integers from 0 to 255, of whatever type, as uint8."""
    try:
        given = np.asarray(value)
        with np.errstate(invalid="ignore"):
            numbers = given.astype(np.uint8)
        if given.dtype.kind in "fiu" and (numbers == given).all():
            return numbers
    except (TypeError, ValueError, RuntimeError) as error:
        raise GraphError(f"{what} takes an array of integers from 0 to 255: {error}") from error
    raise GraphError(f"{what} takes an array of integers from 0 to 255, found {given.dtype}")


def plain_setting(value: Any, kind: type, what: str) -> Any:
    """A setting of a calibration as plain Python; `InputError` where it is of another kind."""
    try:
        return plain(value, (kind,), what)
    except GraphError as error:
        raise InputError(str(error)) from error
