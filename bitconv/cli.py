"""The `bitconv` command: what has to hold before any command runs."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from io import TextIOWrapper

from bitconv.errors import BitconvError, MissingPackageError
from bitconv.text import printable_lines

PACKAGES = {"click": "click", "rich": "rich", "PIL": "pillow"}  # module and package


def main() -> None:
    """Run the command line; a mistake of the user ends in a message on stderr and exit code 1."""
    _print_whatever_the_encoding()
    try:
        _require_packages()
        # Pillow warns of oddities in pictures that it can read all the same.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        from bitconv.commands import app

        app()
    except BitconvError as error:
        print(f"bitconv: {printable_lines(str(error))}", file=sys.stderr)
        sys.exit(1)


def _print_whatever_the_encoding() -> None:
    """Where the terminal or pipe has no sign for a letter, print a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _require_packages() -> None:
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingPackageError(
            f"the command line needs {', '.join(missing)}: pip install 'bitconv[cli]'"
        )
