"""What the doctor finds, and what it advises."""

import os
import subprocess
import sys

import pytest

from bitconv.environment import Environment, Fact, inspect_environment


def report(**environment):
    """The report of a process with these environment variables."""
    done = subprocess.run(
        [sys.executable, "-c", "import bitconv.environment as e; print(e.inspect_environment())"],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=120,
        check=True,
    )
    return done.stdout.decode()


def test_every_fact_has_a_value():
    facts = {fact.name: fact.value for fact in inspect_environment().facts}
    assert all(facts.values())
    for name in ("numpy", "numba", "h5py", "instruction set", "vector width", "threading layer"):
        assert name in facts


def test_advice_stands_at_the_end():
    environment = Environment((Fact("speed", "slow", "run faster"), Fact("name", "Bob")))
    assert str(environment).splitlines() == [
        "speed  slow",
        "name   Bob",
        "",
        "What costs speed:",
        "- speed: run faster",
    ]


def test_without_advice_the_report_says_so():
    assert str(Environment((Fact("speed", "fast"),))).endswith("Nothing found costs speed.")


def test_settings_that_slow_numba_down_are_named():
    found = report(
        NUMBA_CPU_NAME="generic",
        NUMBA_CPU_FEATURES="",
        NUMBA_THREADING_LAYER="workqueue",
        NUMBA_NUM_THREADS="1",
        NUMBA_BOUNDSCHECK="1",
    )
    assert "unset NUMBA_THREADING_LAYER" in found
    assert "unset NUMBA_BOUNDSCHECK" in found


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="with one core there is nothing to waste",
)
def test_idle_cores_are_named():
    assert "raise NUMBA_NUM_THREADS" in report(NUMBA_NUM_THREADS="1")


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    assert "set NUMBA_CACHE_DIR" in report(NUMBA_CACHE_DIR=str(blocker))


@pytest.mark.parametrize("quota", ["100000 100000", "50000 100000"])
def test_a_containers_quota_limits_the_cores(tmp_path, monkeypatch, quota):
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr("bitconv.environment.CPU_QUOTA", tmp_path / "cpu.max")
    assert threads_fact().value.endswith("on 1 usable cores")


def test_a_container_without_a_quota_has_all_cores(tmp_path, monkeypatch):
    without = threads_fact()
    (tmp_path / "cpu.max").write_text("max 100000")
    monkeypatch.setattr("bitconv.environment.CPU_QUOTA", tmp_path / "cpu.max")
    assert threads_fact() == without


def threads_fact():
    (fact,) = (fact for fact in inspect_environment().facts if fact.name == "threads")
    return fact
