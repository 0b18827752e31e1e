"""What bitconv runs on, and which of it costs speed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bitconv import __version__
from bitconv.shipped import shipped_models
from bitconv.text import printable

PACKAGES = ("numpy", "numba", "llvmlite", "h5py", "pillow", "tbb", "torch")
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux, in a container
OPTIMIZED = 3  # Numba's own default level


@dataclass(frozen=True)
class Fact:
    """One thing that was found.

    Attributes
    ----------
    name, value : str
    advice : str
        What to do about it where it costs speed, otherwise empty.
    """

    name: str
    value: str
    advice: str = ""


@dataclass(frozen=True)
class Environment:
    """Everything that was found; `str()` is a report that ends in the advice."""

    facts: tuple[Fact, ...]

    def __str__(self) -> str:
        width = max(len(fact.name) for fact in self.facts)
        lines = [f"{fact.name:{width}}  {printable(fact.value)}" for fact in self.facts]
        advice = [f"- {fact.name}: {printable(fact.advice)}" for fact in self.facts if fact.advice]
        conclusion = ["What costs speed:", *advice] if advice else ["Nothing found costs speed."]
        return "\n".join([*lines, "", *conclusion])


def inspect_environment() -> Environment:
    """Look at versions, processor, threads and cache; starts Numba's threads."""
    facts = [
        Fact("bitconv", __version__),
        Fact("models", ", ".join(shipped_models()) or "none"),
        Fact("python", f"{platform.python_version()} on {platform.platform()}"),
        *(Fact(package, _installed_version(package)) for package in PACKAGES),
        Fact("processor", _processor()),
    ]
    try:
        facts.extend(_compiler_facts())
    except ImportError as error:
        facts.append(Fact("compiler", f"Numba cannot be imported: {error}", "reinstall numba"))
    return Environment(tuple(facts))


def _compiler_facts() -> Iterator[Fact]:
    yield _instruction_set()
    yield _vector_width()
    yield _threads()
    yield _threading_layer()
    yield _settings()
    yield _cache()


def _installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _instruction_set() -> Fact:
    from bitconv.kernels.target import instruction_set, popcount

    slow = popcount() == "arithmetic"
    advice = "counting bits takes many instructions here" + _restriction() if slow else ""
    return Fact("instruction set", instruction_set(), advice)


def _vector_width() -> Fact:
    from llvmlite import binding

    from bitconv.kernels.target import vector_bits

    host = binding.get_host_cpu_features()
    widest = 512 if host.get("avx512bw") else 256 if host.get("avx2") else 128
    bits = vector_bits()
    advice = f"the processor has {widest}-bit vectors" + _restriction() if bits < widest else ""
    return Fact("vector width", f"{bits} bits", advice)


def _restriction() -> str:
    """What to do where the environment narrows the processor that Numba compiles for."""
    names = [name for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES") if name in os.environ]
    return f"; unset {' and '.join(names)}" if names else ""


def _threads() -> Fact:
    from bitconv.kernels.threads import usable_threads

    cores, threads = _usable_cores(), usable_threads()
    advice = ""
    if threads < cores:
        advice = f"{cores} cores are usable; raise NUMBA_NUM_THREADS"
    elif threads > cores:
        advice = f"only {cores} cores are usable; give --threads {cores}"
    return Fact("threads", f"{threads} on {cores} usable cores", advice)


def _usable_cores() -> int:
    """Cores that this process may use, by its affinity and its container's quota."""
    available = getattr(os, "sched_getaffinity", None)
    cores = len(available(0)) if available else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or "max": no quota
        return cores


def _threading_layer() -> Fact:
    from bitconv.kernels.threads import threading_layer

    layer = threading_layer()
    advice = ""
    if layer == "workqueue":
        chosen = "NUMBA_THREADING_LAYER" in os.environ
        remedy = (
            "unset NUMBA_THREADING_LAYER"
            if chosen
            else "pip install 'bitconv[tbb]', or install OpenMP"
        )
        advice = f"each run on several threads starts slowly; {remedy}"
    elif layer == "omp" and os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive":
        advice = "waking threads takes long; unset OMP_WAIT_POLICY"
    return Fact("threading layer", layer, advice)


def _settings() -> Fact:
    """The settings of Numba that make its code slow."""
    import numba

    config: Any = numba.config
    slow = [
        name
        for name, costs in (
            ("NUMBA_DISABLE_JIT", config.DISABLE_JIT),
            ("NUMBA_BOUNDSCHECK", config.BOUNDSCHECK),
            ("NUMBA_DEBUGINFO", config.DEBUGINFO_DEFAULT),
            ("NUMBA_OPT", int(config.OPT) < OPTIMIZED),
        )
        if costs
    ]
    if not slow:
        return Fact("numba settings", "as fast as by default")
    return Fact("numba settings", ", ".join(slow), f"unset {', '.join(slow)}")


def _cache() -> Fact:
    from bitconv.kernels.cache_folder import cache_directory, contents, is_writable

    folder = cache_directory()
    remedy = "set NUMBA_CACHE_DIR to a folder that can be written to"
    if folder is None:
        return Fact("kernel cache", "none", f"every process compiles anew; {remedy}")
    if not is_writable(folder):
        advice = f"what is not in it is compiled anew by every process; {remedy}"
        return Fact("kernel cache", f"{contents(folder)}, not writable", advice)
    return Fact("kernel cache", str(contents(folder)))
