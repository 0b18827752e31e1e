"""Machine code that was compiled once: as bytes, and ready to be called.

LLVM brings the code into the process. Numba, which takes longer to import than all the rest of a
start together, is imported only for code that calls into it.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import binding as llvm

from bitconv.kernels.tbb import provide_tbb

_DIGEST_BYTES = 32
_ARRAY_WORDS = 7
_DONE = (0, -2)  # what a function without a result returns in Numba's convention


@dataclass(frozen=True)
class MachineCode:
    """An object file of one function.

    Attributes
    ----------
    symbol : str
        The function's name in the file.
    outside : tuple of str
        Symbols that it calls or reads and does not hold.
    hooks : tuple of str
        Functions, as ``module:name``, that have to run first.
    file : bytes
        In the format of this system.
    """

    symbol: str
    outside: tuple[str, ...]
    hooks: tuple[str, ...]
    file: bytes

    def packed(self) -> bytes:
        """All of it: a digest, a line of JSON and the object file."""
        about = json.dumps([self.symbol, self.outside, self.hooks])
        content = about.encode() + b"\n" + self.file
        return hashlib.sha256(content).digest() + content

    @classmethod
    def unpacked(cls, octets: bytes) -> MachineCode | None:
        """What `packed` gave; None for anything else, which LLVM would not survive."""
        digest, content = octets[:_DIGEST_BYTES], octets[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        about, _, file = content.partition(b"\n")
        symbol, outside, hooks = json.loads(about)
        return cls(symbol, tuple(outside), tuple(hooks), file)


def load(code: MachineCode) -> int:
    """Bring code into this process for good; the address of its function. One thread at a time."""
    _provide(code)
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code.file))
    engine.finalize_object()
    return int(engine.get_function_address(code.symbol))


def callable_at(address: int, arguments: str) -> Callable[..., int]:
    """A compiled kernel for Python to call; others may run meanwhile.

    Parameters
    ----------
    address : int
    arguments : str
        ``"a"`` for a contiguous array of one dimension, ``"i"`` for an int64.

    Returns
    -------
    callable
        Gives the kernel's int64 result, 0 where it has none. Raises IndexError where the kernel
        found an index out of bounds, which it does only if Numba's settings ask for that.
    """
    # Numba's convention: room for the result and for an exception first; returns a status. An array
    # is seven words: who owns it (nobody; two words), elements, bytes of one, data, shape, stride.
    words = sum(_ARRAY_WORDS if kind == "a" else 1 for kind in arguments)
    pointers = [ctypes.c_void_p] * 2
    prototype = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers, *[ctypes.c_int64] * words)
    function = prototype(address)

    def call(*values: int) -> int:
        result, exception = ctypes.c_int64(), ctypes.c_void_p()
        status = function(ctypes.byref(result), ctypes.byref(exception), *values)
        if status not in _DONE:
            raise IndexError("a kernel met an index out of bounds")
        return result.value

    def call_with_arrays(*values: Any) -> int:
        pairs = zip(arguments, values, strict=True)
        return call(*(word for kind, value in pairs for word in _words(kind, value)))

    return call_with_arrays if "a" in arguments else call


def _words(kind: str, value: Any) -> tuple[int, ...]:
    if kind == "i":
        return (value,)
    size, item = value.size, value.itemsize
    return 0, 0, size, item, value.ctypes.data, size, item


@cache
def _engine() -> llvm.ExecutionEngine:
    """LLVM's loader of object files; never freed, as its code may be in use to the end."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def _provide(code: MachineCode) -> None:
    """Make LLVM know all symbols of some code; at one that it does not know it ends the process."""
    if not code.hooks and _all_known(code):
        return
    provide_tbb()  # before a hook starts Numba's threads
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys

    rtsys.initialize(cpu_target.target_context)
    for hook in code.hooks:
        module, _, name = hook.partition(":")
        getattr(importlib.import_module(module), name)()
    if not _all_known(code):
        cpu_target.target_context.refresh()  # imports everything that Numba can compile


def _all_known(code: MachineCode) -> bool:
    return all(llvm.address_of_symbol(symbol) is not None for symbol in code.outside)
