"""Placing buffers by the time they live."""

from hypothesis import given
from hypothesis import strategies as st

from bitconv.compiler.arena import ALIGNMENT, Buffer, most_alive, place


def alive_together(left, right):
    return left.first <= right.last and right.first <= left.last


def largest_sum_alive(buffers):
    """Bytes that live at once where most do: no arena is smaller."""
    steps = {buffer.first for buffer in buffers}
    return max(
        (sum(b.size for b in buffers if b.first <= step <= b.last) for step in steps), default=0
    )


@st.composite
def lives(draw):
    first = draw(st.integers(0, 12))
    return Buffer(draw(st.integers(1, 3000)), first, first + draw(st.integers(0, 6)))


@given(st.lists(lives(), max_size=30))
def test_buffers_that_live_at_once_never_overlap(buffers):
    total = place(buffers)
    for index, left in enumerate(buffers):
        assert left.start >= 0
        assert left.start % ALIGNMENT == 0
        assert left.start + left.size <= total
        for right in buffers[:index]:
            apart = left.start + left.size <= right.start or right.start + right.size <= left.start
            assert apart or not alive_together(left, right)


def chain_of(sizes):
    """Each buffer is written by a step and read by the next one."""
    return [Buffer(ALIGNMENT * size, step, step + 1) for step, size in enumerate(sizes)]


SIZES = st.lists(st.integers(1, 100), min_size=1, max_size=30)


@given(SIZES)
def test_any_chain_needs_no_more_than_what_lives_at_once(sizes):
    buffers = chain_of(sizes)
    assert place(buffers) == largest_sum_alive(buffers)


@given(st.lists(lives(), max_size=30))
def test_the_bound_counts_whole_cache_lines_that_live_at_once(buffers):
    bound = most_alive(buffers)
    assert largest_sum_alive(buffers) <= bound <= place(buffers)
    rounded = [Buffer(-(-b.size // 64) * 64, b.first, b.last) for b in buffers]
    assert bound == largest_sum_alive(rounded)


def test_what_fits_in_no_order_by_size_is_placed_in_another():
    lives = [(50, 0, 1), (10, 1, 2), (100, 2, 3), (51, 3, 4), (10, 4, 5), (100, 5, 6)]
    buffers = [Buffer(ALIGNMENT * size, first, last) for size, first, last in lives]
    assert place(buffers) == ALIGNMENT * 151


@given(SIZES)
def test_buffers_of_different_times_share_their_memory(sizes):
    buffers = [Buffer(ALIGNMENT * size, step, step) for step, size in enumerate(sizes)]
    assert place(buffers) == ALIGNMENT * max(sizes)


def test_no_buffers_need_no_memory():
    assert place([]) == 0


def test_sizes_are_rounded_to_whole_cache_lines():
    buffers = [Buffer(1, 0, 0), Buffer(65, 0, 0)]
    assert place(buffers) == 3 * ALIGNMENT
