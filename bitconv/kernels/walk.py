"""Walking the steps of a plan in compiled code: a call from Python costs more than a small step."""

from __future__ import annotations

from bitconv.kernels.jit import kernel
from bitconv.kernels.linking import call_address
from bitconv.kernels.records import CALL
from bitconv.kernels.views import bytes_at, seen_as

CALL_BYTES = CALL.itemsize
_, SHARES_TAKEN = CALL.fields["shares_taken"]  # its offset


@kernel
def walk(
    calls,
    count,
    spread,
    arena_start,
    arena_bytes,
    constants_start,
    constants_bytes,
    images,
    threads,
):
    """Call one kernel after the other, those with several shares on `threads` if there are several.

    Parameters
    ----------
    calls, count : int
        Address and number of CALL records.
    spread : int
        The address of the loop over threads; not used where nothing is divided.
    arena_start, arena_bytes, constants_start, constants_bytes : int
        Where both lie, and how long they are.
    """
    arena = bytes_at(arena_start, arena_bytes)
    constants = bytes_at(constants_start, constants_bytes)
    steps = seen_as(bytes_at(calls, count * CALL_BYTES), CALL)
    for index in range(len(steps)):
        step = steps[index]
        parameters = bytes_at(step.parameters, step.parameter_bytes)
        program = bytes_at(step.program, step.program_bytes)
        records = (arena, constants, parameters, program, step.run_program)
        if step.shares > 1 and threads > 1:
            step.shares_taken = 0
            taken = calls + index * CALL_BYTES + SHARES_TAKEN
            call_address(spread, (step.kernel, *records, images, threads, step.shares, taken))
        else:
            call_address(step.kernel, (*records, images, 0, 0, 1))
