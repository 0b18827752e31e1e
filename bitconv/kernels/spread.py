"""The loop over threads, one for all kernels."""

from __future__ import annotations

from numba import prange

from bitconv.kernels.jit import kernel
from bitconv.kernels.linking import call_address


@kernel(parallel=True)
def spread(address, arena, constants, parameters, program, run_program, images, shares):
    """Run the kernel at `address` once a share, the shares side by side."""
    for share in prange(shares):
        call_address(
            address,
            (arena, constants, parameters, program, run_program, images, share, shares),
        )
