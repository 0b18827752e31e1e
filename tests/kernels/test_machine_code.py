"""Machine code in the process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from numba import float64, int64, prange

from bitconv.kernels import jit
from bitconv.kernels.jit import kernel, machine_code_of, subroutine
from bitconv.kernels.machine_code import MachineCode, callable_at, load
from bitconv.kernels.views import bytes_at, part_of, seen_as

TESTS = Path(__file__).parents[1]
TWO_BYTES = 16

second_of = part_of(8, 1, float64)


@subroutine
def half(value):
    return value / 2


@subroutine
def quarter(values):
    values[0] = half(half(values[0]))


@kernel
def make_quarters(address, count):
    for index in range(count):
        quarter(seen_as(bytes_at(address + 8 * index, 8), np.float64))


@kernel
def make_halves(address, count):
    for index in range(count):
        values = seen_as(bytes_at(address + 8 * index, 8), np.float64)
        values[0] = half(values[0])


@kernel
def reciprocal(address):
    octets = bytes_at(address, TWO_BYTES)
    values = seen_as(octets, np.float64)
    second_of(octets, 0)[0] = 1.0 / values[0]


@kernel(parallel=True)
def make_squares(address, count):
    for index in prange(count):
        values = seen_as(bytes_at(address + 8 * index, 8), np.float64)
        values[0] = values[0] * values[0]


def run(function, values, *arguments):
    """A copy of an array after a kernel was called with its address."""
    code = machine_code_of(function, (int64,) * (1 + len(arguments)))
    result = np.array(values, np.float64)
    callable_at(load(code), "i" * (1 + len(arguments)))(result.ctypes.data, *arguments)
    return result


def test_a_kernel_runs_with_its_subroutines():
    np.testing.assert_array_equal(run(make_quarters, [4, 6, 8], 2), [1, 1.5, 8])
    np.testing.assert_array_equal(run(make_halves, [4, 6, 8], 3), [2, 3, 4])


def test_subroutines_are_compiled_into_kernels_and_not_by_themselves():
    code = machine_code_of(make_quarters, (int64, int64))
    assert not code.outside
    (compiled,) = half.overloads.values()
    assert compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name) == 0


def test_kernels_keep_no_count_of_who_uses_an_array():
    assert not machine_code_of(reciprocal, (int64,)).outside


def test_division_by_zero_follows_numpy():
    assert run(reciprocal, [0, 1])[1] == np.inf


def test_a_loop_over_threads_runs():
    values = np.arange(1000)
    np.testing.assert_array_equal(run(make_squares, values, 1000), values**2)


def test_code_becomes_bytes_and_bytes_code():
    code = machine_code_of(reciprocal, (int64,))
    octets = code.packed()
    assert MachineCode.unpacked(octets) == code
    assert MachineCode.unpacked(octets[:-1]) is None
    assert MachineCode.unpacked(octets[:50] + b"?" + octets[51:]) is None
    assert MachineCode.unpacked(b"") is None


def output_of(script, **environment):
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


def test_a_symbol_that_is_not_known_brings_in_all_of_numba():
    script = """
        from llvmlite import binding
        from bitconv.kernels.machine_code import MachineCode, _provide

        symbol = "_numba_hashsecret_djbx33a_suffix"
        known = lambda: binding.address_of_symbol(symbol) is not None
        before = known()
        _provide(MachineCode("", (symbol,), (), b""))
        print(before, known())
    """
    assert output_of(script) == "False True"


CHANGED_NUMBA = """
    import numba.core.codegen
    import numpy as np
    from bitconv import Model
    from small_networks import binary_resnet, pictures

    del numba.core.codegen.JITCodeLibrary
    graph = binary_resnet()
    batch = pictures(graph, 1)
    model = Model(graph, threads=1)
    np.testing.assert_allclose(model.predict(batch), model.reference(batch), rtol=1e-5)

    from bitconv.kernels import jit
    print(jit._shortcut())
"""


def test_with_a_numba_that_has_no_shortcut_kernels_are_compiled_the_long_way(tmp_path):
    assert output_of(CHANGED_NUMBA, NUMBA_CACHE_DIR=str(tmp_path)) == "{}"


def test_this_numba_has_the_shortcut():
    assert jit._shortcut()


SERIAL = """
    import sys
    import numpy as np
    from bitconv import Model
    from small_networks import binary_resnet, pictures

    graph = binary_resnet()
    Model(graph, threads=1).predict(pictures(graph, 1))
    print("numba" in sys.modules)
"""

PARALLEL = """
    import sys
    import numpy as np
    from bitconv import Model
    from bitconv.compiler import builder
    from small_networks import binary_resnet, pictures

    builder.PARALLEL_SECONDS = 0.0
    builder.SHARE_SECONDS = 1e-12
    graph = binary_resnet()
    batch = pictures(graph, 3)
    model = Model(graph, threads=2)
    ready = not model.uncompiled()
    np.testing.assert_array_equal(model.predict(batch), Model(graph, threads=1).predict(batch))
    print(ready, "numba.np.linalg" in sys.modules)
"""


def test_compiled_kernels_run_without_numba():
    output_of(SERIAL)
    assert output_of(SERIAL) == "False"


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="on one core nothing is divided")
def test_the_loop_over_threads_brings_in_numba_s_threads_and_leaves_out_most_of_numba():
    output_of(PARALLEL)
    assert output_of(PARALLEL) == "True False"
