"""The engine compiled for processors other than this one, and with every index checked."""

import os
import platform
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
x86_only = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the processors named are x86"
)

# Runs tests of the engine in a process whose settings of Numba differ.
ENGINE = """
    import sys
    import pytest

    def passes(module, tests):
        path = "{folder}/test_" + module + ".py"
        return pytest.main(["-q", "-p", "no:cacheprovider", "-k", tests, path]) == 0

    def assembly_of(name):
        from importlib import import_module
        from bitconv.kernels import jit, registry

        kernel = getattr(import_module("bitconv.kernels." + registry.KERNELS[name].module), name)
        jit.machine_code_of(kernel, registry._signature(name))
        return "".join(kernel.inspect_asm().values())
"""


def output_of(script, **settings):
    """What a script behind ENGINE prints, run with some settings of Numba."""
    folder = (TESTS / "compiler").as_posix()
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(ENGINE).format(folder=folder) + textwrap.dedent(script),
        ],
        env=os.environ | settings | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@x86_only
def test_the_engine_for_avx2_is_exact_and_its_kernel_holds_no_wider_vectors():
    assembly = output_of(
        """
        assert passes("binary_convolutions", "three_by_three and 130 or dense_layer")
        print(assembly_of("binary_conv2d"))
        """,
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="",
    )
    assert "vpshufb" in assembly  # it is the kernel that counts bits
    assert "%ymm" in assembly
    assert "%zmm" not in assembly


@x86_only
def test_binary_weights_for_avx2_are_exact_and_their_kernel_holds_no_wider_vectors():
    assembly = output_of(
        """
        assert passes("binary_weights", "(panel_ends and 130) or dense_layer or taps_apart")
        print(assembly_of("binary_weight_conv2d"))
        """,
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES="",
    )
    assert re.search(r"vfmadd\d+ps.*%ymm", assembly)
    assert "%zmm" not in assembly


@x86_only
def test_the_kernel_of_binary_weights_compiles_for_avx512():
    # Only compiled: this machine need not have the instructions.
    assembly = output_of(
        """
        print(assembly_of("binary_weight_conv2d"))
        """,
        NUMBA_CPU_NAME="skylake-avx512",
        NUMBA_CPU_FEATURES="",
    )
    sums = re.findall(r"vfmadd\d+ps.*", assembly)
    assert sums
    assert all("%zmm" in line for line in sums)
    assert "vpternlogd" in assembly  # one instruction makes ±1 of 16 bits


@x86_only
def test_the_engine_for_ssse3_whose_last_tile_has_narrower_rows_is_exact():
    output_of(
        """
        from bitconv.kernels.target import numba_target

        assert numba_target().popcount == "table"
        assert passes("binary_convolutions", "three_by_three and (33 or 65) or residual_block")
        """,
        NUMBA_CPU_NAME="nehalem",
        NUMBA_CPU_FEATURES="",
    )


@x86_only
def test_the_engine_for_the_oldest_processors_is_exact():
    output_of(
        """
        from bitconv.kernels.target import numba_target

        assert numba_target().popcount == "arithmetic"
        assert passes("binary_convolutions", "three_by_three and 130 or dense_layer")
        assert passes("binary_weights", "(panel_ends and 130) or dense_layer or taps_apart")
        """,
        NUMBA_CPU_NAME="x86-64",
        NUMBA_CPU_FEATURES="",
    )


def test_the_engine_is_exact_with_every_index_checked():
    # All of it: NUMBA_BOUNDSCHECK=1 pytest tests/compiler tests/kernels
    output_of(
        """
        assert passes("binary_convolutions", "three_by_three and 65 or residual_block or scales")
        assert passes("binary_weights", "(panel_ends and 65) or scales_by_input or dense_layer")
        """,
        NUMBA_BOUNDSCHECK="1",
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_a_checked_index_that_strays_is_an_error(threads):
    output_of(
        f"""
        import pytest
        from bitconv.compiler import builder, compile_graph
        from bitconv.executor import Workspace
        from small_networks import binary_resnet, pictures

        builder.PARALLEL_SECONDS, builder.SHARE_SECONDS = 0.0, 1e-12
        graph = binary_resnet()
        plan = compile_graph(graph, threads={threads})
        assert plan.has_parallel_steps == ({threads} > 1)
        steps = dict((step.kernel, step.parameters) for step in plan.steps)
        for kernel, field in (("binary_conv2d", "row_classes"), ("pointwise", "table")):
            array = steps[kernel]
            before = array[field].copy()
            array[field] += 10**9
            with pytest.raises(IndexError):
                Workspace(plan).run("image", pictures(graph, 1))
            array[field] = before
        Workspace(plan).run("image", pictures(graph, 1))
        """,
        NUMBA_BOUNDSCHECK="1",
    )
