"""What the threads of a run tell each other: who does which share, and when a step is done."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from bitconv.kernels.instructions import instruction
from bitconv.kernels.jit import subroutine
from bitconv.kernels.microkernel import I32, I64, architecture, call_llvm

PAUSES = 3000  # some 50 microseconds, before a waiting thread lets others have its core


@instruction
def take_number(_context: Any, place: Any) -> Any:
    """The int64 at an address; whoever asks next gets one more."""

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> ir.Value:
        return builder.atomic_rmw("add", _pointer(builder, values[0]), I64(1), "monotonic")

    return types.int64(place), codegen


@instruction
def add_done(_context: Any, place: Any, number: Any) -> Any:
    """Add to the int64 at an address, and give the sum.

    Who waits for it sees all that this thread wrote before.
    """

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> ir.Value:
        before = builder.atomic_rmw("add", _pointer(builder, values[0]), values[1], "release")
        return builder.add(before, values[1])

    return types.int64(place, types.int64), codegen


@subroutine
def wait_for(place, number, yield_core):
    """Return once the int64 at an address is at least `number`.

    `yield_core` is the address of the system's function that lets others have the core.
    """
    turns = 0
    while _done(place) < number:
        if turns < PAUSES:
            turns += 1
            _pause()
        else:
            _call_system(yield_core)


@instruction
def _done(_context: Any, place: Any) -> Any:
    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> ir.Value:
        return builder.load_atomic(_pointer(builder, values[0]), "acquire", 8)

    return types.int64(place), codegen


@instruction
def _pause(_context: Any) -> Any:
    """Tell the core that a loop waits."""

    def codegen(context: Any, builder: ir.IRBuilder, _signature: Any, _values: Any) -> ir.Value:
        match architecture(builder):
            case "x86":
                call_llvm(builder, "llvm.x86.sse2.pause", ir.VoidType())
            case "arm64":
                call_llvm(builder, "llvm.aarch64.isb", ir.VoidType(), I32(15))
        return context.get_dummy_value()

    return types.none(), codegen


@instruction
def _call_system(_context: Any, address: Any) -> Any:
    """Call a C function without arguments."""

    def codegen(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> ir.Value:
        function = ir.FunctionType(I32, [])
        builder.call(builder.inttoptr(values[0], function.as_pointer()), [])
        return context.get_dummy_value()

    return types.none(address), codegen


def _pointer(builder: ir.IRBuilder, place: ir.Value) -> ir.Value:
    return builder.inttoptr(place, I64.as_pointer())
