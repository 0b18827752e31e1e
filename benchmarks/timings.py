"""The times of one run of the benchmarks, by question, subject and side."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median, quantiles

TURNS = 5  # the sides of a question take turns, so that what slows the machine hits all alike

Key = tuple[str, str, str]


@dataclass
class Timings:
    """What was measured, and when.

    Attributes
    ----------
    seconds : dict
        All times of a (question, subject, side).
    figures : dict
        What is no time, of a (question, subject, name).
    started : struct_time
    load : float
        The machine's load average before the run.
    """

    seconds: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[Key, float] = field(default_factory=dict)
    started: time.struct_time = field(default_factory=time.gmtime)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def add(self, key: Key, seconds: Iterable[float]) -> None:
        """Put the times of one turn to those of the earlier ones."""
        self.seconds[key].extend(seconds)

    def median(self, *key: str) -> float:
        """The median over all turns, in seconds."""
        return median(self.seconds[_key(key)])

    def minimum(self, *key: str) -> float:
        """The shortest time of all turns, in seconds."""
        return min(self.seconds[_key(key)])

    def percentile99(self, *key: str) -> float:
        """The time that one run in a hundred exceeds, in seconds."""
        return quantiles(self.seconds[_key(key)], n=100)[-1]

    def subjects(self, question: str) -> list[str]:
        """The subjects of a question, in the order of measurement."""
        return list(dict.fromkeys(key[1] for key in self.seconds if key[0] == question))

    def sides(self, question: str) -> list[str]:
        """The sides of a question that ran on every subject, in the order of measurement."""
        subjects = self.subjects(question)
        sides = dict.fromkeys(key[2] for key in self.seconds if key[0] == question)
        return [
            side
            for side in sides
            if all((question, subject, side) in self.seconds for subject in subjects)
        ]


def _key(parts: tuple[str, ...]) -> Key:
    question, subject, side = parts
    return question, subject, side
