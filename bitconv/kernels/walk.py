"""Walking the steps of a plan in compiled code: a call from Python costs more than a small step.

Several threads walk side by side. Each takes the next share of a step as long as there is one, and
goes on when all shares are done, whoever did them. So a thread whose core is slower, or that comes
late because another program has it, does fewer, and one thread alone would come to the end as well.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from bitconv.kernels.clock import ticks
from bitconv.kernels.jit import kernel, subroutine
from bitconv.kernels.linking import call_address, fails_at
from bitconv.kernels.records import CALL
from bitconv.kernels.turns import add_done, take_number, wait_for
from bitconv.kernels.views import bytes_at, seen_as

CALL_BYTES = CALL.itemsize
TAKEN, DONE = 0, 8  # where those fields lie in a CALL
FAILED = 2**32  # more than there are shares


@kernel
def walk(calls, count, arena_start, arena_bytes, constants_start, constants_bytes, images):
    """Call one kernel after the other, each for all of its work.

    Parameters
    ----------
    calls, count : int
        Address and number of CALL records.
    arena_start, arena_bytes, constants_start, constants_bytes : int
        Where both lie, and how long they are.
    images : int
    """
    arena = bytes_at(arena_start, arena_bytes)
    constants = bytes_at(constants_start, constants_bytes)
    steps = seen_as(bytes_at(calls, count * CALL_BYTES), CALL)
    for index in range(count):
        step = steps[index]
        parameters, program = records_of(step)
        records = (arena, constants, parameters, program, step.run_program)
        step.begun = ticks()
        call_address(step.kernel, (*records, images, 0, 0, 1))
        step.ended = ticks()


@kernel(parallel=True)
def walk_together(
    calls, count, arena_start, arena_bytes, constants_start, constants_bytes, images, threads,
    yield_core,
):  # fmt: skip
    """Do what `walk` does, on several threads; see `wait_for` for `yield_core`.

    Returns
    -------
    int
        1 if this took a quarter longer than the work, because threads came late to its end.
    """
    steps = seen_as(bytes_at(calls, count * CALL_BYTES), CALL)
    for index in range(count):
        steps[index].taken = 0
        steps[index].done = 0
    for thread in prange(threads):
        walk_as(
            np.int64(thread),  # it is unsigned, and with a signed number would become a float
            calls, count, arena_start, arena_bytes, constants_start, constants_bytes, images,
            yield_core,
        )  # fmt: skip
    for index in range(count):
        if steps[index].done >= FAILED:
            raise IndexError("a kernel met an index out of bounds")
    ended = steps[count - 1].ended
    return np.int64(4 * (ticks() - ended) > ended - steps[0].begun)


@subroutine
def walk_as(
    thread, calls, count, arena_start, arena_bytes, constants_start, constants_bytes, images,
    yield_core,
):  # fmt: skip
    """Do the shares that this thread comes by."""
    arena = bytes_at(arena_start, arena_bytes)
    constants = bytes_at(constants_start, constants_bytes)
    steps = seen_as(bytes_at(calls, count * CALL_BYTES), CALL)
    for index in range(count):
        step = steps[index]
        taken, done = calls + index * CALL_BYTES + TAKEN, calls + index * CALL_BYTES + DONE
        parameters, program = records_of(step)
        records = (arena, constants, parameters, program, step.run_program)
        scratch = thread if step.shares > 1 else 0  # there is one for each thread, or one
        share = take_number(taken)
        while share < step.shares:
            if share == 0:
                step.begun = ticks()
            failed = fails_at(step.kernel, (*records, images, scratch, share, step.shares))
            if add_done(done, FAILED if failed else 1) == step.shares:
                step.ended = ticks()
            share = take_number(taken)
        wait_for(done, step.shares, yield_core)


@subroutine
def records_of(step):
    """The parameters and the program of a step, as bytes."""
    return (
        bytes_at(step.parameters, step.parameter_bytes),
        bytes_at(step.program, step.program_bytes),
    )
