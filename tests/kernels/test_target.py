"""What the kernels are compiled for follows Numba's settings, not the machine."""

import os
import platform
import subprocess
import sys
import textwrap

import pytest

from bitconv.kernels import target

x86_only = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the processors named are x86"
)


def run_for(processor, script):
    """Output of a script in a process in which Numba compiles for a processor."""
    environment = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize(
    ("processor", "bits", "popcount", "name"),
    [
        ("x86-64", 128, "arithmetic", "128-bit vectors without a population count"),
        ("nehalem", 128, "table", "SSSE3"),
        ("sandybridge", 128, "table", "SSSE3"),  # its 256-bit vectors hold floats only
        ("haswell", 256, "table", "AVX2"),
        ("skylake-avx512", 512, "table", "AVX-512"),
        ("znver4", 512, "words", "AVX-512 VPOPCNTDQ"),
    ],
)
@x86_only
def test_processors_are_told_apart(processor, bits, popcount, name):
    found = target.Target.of("x86_64-unknown-linux-gnu", processor, "")
    assert (found.vector_bits, found.popcount, found.instruction_set) == (bits, popcount, name)


def test_numba_s_target_is_one_of_them():
    assert target.vector_bits() in (128, 256, 512)
    assert target.BIT_LANES * 64 == target.FLOAT_LANES * 32 == target.vector_bits()
    assert target.instruction_set()


ASSEMBLY = """
    from numba import float32, int32, int64, njit, uint64, void
    from bitconv.kernels import tiles

    def count(a, o, w, n, c):
        tiles.xnor_tile(a, o, w, 0, 3, n, 1, 0, n, c, 0, 8)

    def multiply(a, o, w, n, c):
        tiles.fma_tile(a, o, w, 0, 3, n, 1, 0, n, c, 0, 8)

    for function, value, total in ((count, uint64, int32), (multiply, float32, float32)):
        signature = void(value[::1], int64[::1], value[::1], int64, total[::1])
        print(*njit(signature)(function).inspect_asm().values())
"""


@x86_only
def test_code_for_avx2_uses_256_bits_and_no_more():
    assembly = run_for("haswell", ASSEMBLY)
    assert "%ymm" in assembly
    assert "%zmm" not in assembly


@x86_only
def test_code_for_avx512_counts_bits_in_512_bits():
    lines = run_for("znver4", ASSEMBLY).splitlines()
    assert any("vpopcntq" in line and "%zmm" in line for line in lines)
    assert any("vfmadd" in line and "%zmm" in line for line in lines)


@x86_only
def test_code_for_the_oldest_processors_uses_only_what_they_have():
    assembly = run_for("x86-64", ASSEMBLY)
    assert "%ymm" not in assembly
    assert "pshufb" not in assembly
    assert "popcnt" not in assembly


@x86_only
@pytest.mark.parametrize("processor", ["x86-64", "haswell"])
def test_tiles_are_exact_when_compiled_for_another_processor(processor):
    script = """
        import sys
        import pytest
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "{tests}", "{module}"]))
    """
    module = os.path.join(os.path.dirname(__file__), "test_tiles.py")
    tests = "counts_are_exact and case0 or products_are_exact and case0 or comparisons_become_bits"
    run_for(processor, script.format(tests=tests, module=module))
