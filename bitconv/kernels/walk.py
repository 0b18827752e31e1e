"""Walking the steps of a plan in compiled code: a call from Python costs more than a small step."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from bitconv.kernels.cache import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.records import CALL


@kernel
def walk(calls, spread, arena, constants, images, shares):
    """Call one kernel after the other, the parallel ones in `shares` if there are several.

    Parameters
    ----------
    calls : uint8 array
        CALL records.
    spread : int
        The address of the loop over threads; not used where nothing is divided.
    """
    steps = calls.view(CALL)
    for index in range(len(steps)):
        step = steps[index]
        parameters = carray(_pointer(step.parameters), step.parameter_bytes, np.uint8)
        program = carray(_pointer(step.program), step.program_bytes, np.uint8)
        records = (arena, constants, parameters, program, step.run_program)
        if step.parallel and shares > 1:
            call_address(spread, (step.kernel, *records, images, shares))
        else:
            call_address(step.kernel, (*records, images, 0, 1))


@intrinsic  # type: ignore[untyped-decorator]  # numba is untyped
def _pointer(_typing_context: Any, address: Any) -> Any:
    """An address as a pointer."""

    def codegen(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.inttoptr(values[0], ir.PointerType(ir.IntType(8)))

    return types.voidptr(address), codegen
