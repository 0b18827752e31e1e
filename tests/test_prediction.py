"""The scores of one image."""

import dataclasses

import numpy as np
import pytest

from bitconv import Prediction
from bitconv.errors import InputError

PREDICTION = Prediction(np.array([0.5, 2, -1, 2], np.float32), ("a", "b", "c", "d"))


def test_the_highest_score_gives_the_label():
    assert (PREDICTION.label, PREDICTION.score) == ("b", 2.0)


def test_the_best_come_first_and_ties_in_the_order_of_classes():
    assert PREDICTION.top(3) == [("b", 2.0), ("d", 2.0), ("a", 0.5)]


def test_more_than_all_classes_are_all_classes():
    assert len(PREDICTION.top(99)) == 4


@pytest.mark.parametrize("k", [0, -1, 1.5, "3"])
def test_less_than_one_label_is_refused(k):
    with pytest.raises(InputError, match="from 1 up"):
        PREDICTION.top(k)


def test_repr_shows_the_top_label():
    assert repr(PREDICTION) == "Prediction('b', score=2.000)"


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PREDICTION.scores = None
