"""The processor's own clock, which compiled code reads in nanoseconds.

It counts ticks of an unknown length, the same on all cores and at all times.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from bitconv.kernels.instructions import instruction
from bitconv.kernels.jit import kernel
from bitconv.kernels.microkernel import I64, architecture, call_llvm


@instruction
def ticks(_context: Any) -> Any:
    """The ticks since some moment."""

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, _values: Any) -> ir.Value:
        if architecture(builder) != "arm64":
            return call_llvm(builder, "llvm.readcyclecounter", I64)
        # Programs may not read its cycle counter, but that of its timer.
        register = builder.module.add_metadata(["cntvct_el0"])
        read = ir.FunctionType(I64, [ir.MetaDataType()])
        name = "llvm.read_volatile_register.i64"
        return builder.call(cgutils.get_or_insert_function(builder.module, read, name), [register])

    return types.int64(), codegen


@kernel
def read_clock():
    """What `ticks` gives, for Python."""
    return ticks()
