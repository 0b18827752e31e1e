"""The loop over threads, one for all kernels."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import prange
from numba.core import types

from bitconv.kernels.instructions import instruction
from bitconv.kernels.jit import kernel
from bitconv.kernels.linking import call_address


@instruction
def take_number(_typing_context: Any, place: Any) -> Any:
    """The int64 at an address, and one more for whoever asks next."""

    def codegen(_context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> ir.Value:
        counter = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", counter, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(types.int64), codegen


@kernel(parallel=True)
def spread(
    address, arena, constants, parameters, program, run_program, images, threads, shares, taken
):
    """Run the kernel at `address` once a share, on several threads.

    Whoever is done takes the next share; `taken` is the address of their number. So a thread whose
    core is slower, or busy with something else, does fewer.
    """
    for thread in prange(threads):
        share = take_number(taken)
        while share < shares:
            call_address(
                address,
                (arena, constants, parameters, program, run_program, images, thread, share, shares),
            )
            share = take_number(taken)
