"""When to run on one thread, because other programs have the cores."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_REST = 64  # runs


@dataclass
class Backoff:
    """Which runs are on several threads.

    A run on several threads ends when all of them have, and one that must wait for its core can
    take longer than the whole work. After such a run some are on one thread before several are
    tried again: twice as many as the last time, up to LONGEST_REST, and fewer after each good run.

    Attributes
    ----------
    rest : int
        Runs that are still to be on one thread.
    length : int
        How many it will be after the next long wait.
    """

    rest: int = 0
    length: int = 1

    def may_try(self) -> bool:
        """Whether the next run is on several threads."""
        if self.rest == 0:
            return True
        self.rest -= 1
        return False

    def note(self, waited: bool) -> None:
        """Take in whether a run on several threads ended with a long wait."""
        if waited:
            self.rest = self.length
            self.length = min(2 * self.length, LONGEST_REST)
        else:
            self.length = max(1, self.length // 2)
