"""Plain text for people."""

import pytest

from bitconv.text import printable, short_count, table


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (12345, "12.35 k"), (37_748_736, "37.75 M")],
)
def test_counts_are_shortened(number, text):
    assert short_count(number) == text


def test_large_counts_are_in_billions():
    assert short_count(1_820_000_000) == "1.82 G"


def test_columns_are_aligned():
    assert table(("name", "n"), [("a", "10"), ("bcdef", "1")]).splitlines() == [
        "name    n",
        "-----  --",
        "a      10",
        "bcdef   1",
    ]


def test_a_table_may_be_empty():
    assert table(("name", "n"), []).splitlines() == ["name  n", "----  -"]


def test_control_characters_become_question_marks():
    assert printable("a\x1b[31mb\nc\u202e") == "a?[31mb?c?"


def test_letters_of_all_languages_stay():
    assert printable("grün 猫 ×") == "grün 猫 ×"
