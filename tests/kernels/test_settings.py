"""What Numba compiles for, with and without Numba."""

import os
import platform
import subprocess
import sys

import pytest

ASK = """
import sys
from bitconv.kernels.settings import _numbas, settings

found = settings()
without_numba = "numba" not in sys.modules
print(without_numba, found == _numbas())
"""

x86_only = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="the processors named are x86"
)


def output_of(script, cache, **environment):
    """What a script prints in an empty folder, with kernels and settings kept in `cache`."""
    inherited = {name: value for name, value in os.environ.items() if name[:6] != "NUMBA_"}
    search_path = os.pathsep.join(map(os.path.abspath, sys.path))
    finished = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env=inherited | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": search_path} | environment,
        capture_output=True,
        text=True,
        check=False,
        cwd=cache,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


@pytest.mark.parametrize(
    "environment",
    [{}, {"NUMBA_OPT": "2", "NUMBA_BOUNDSCHECK": "1"}, {"NUMBA_ENABLE_AVX": "0"}],
    ids=str,
)
def test_a_later_process_knows_them_without_numba(tmp_path, environment):
    assert output_of(ASK, tmp_path, **environment) == "False True"
    assert output_of(ASK, tmp_path, **environment) == "True True"


@x86_only
def test_other_variables_of_numba_are_other_settings(tmp_path):
    script = "from bitconv.kernels.settings import settings; print(settings().processor)"
    output_of(script, tmp_path)
    named = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
    for _ in range(2):
        assert output_of(script, tmp_path, **named) == "haswell"
    assert output_of(script, tmp_path) != "haswell"


def test_variables_that_change_no_code_do_not_count(tmp_path):
    output_of(ASK, tmp_path)
    assert output_of(ASK, tmp_path, NUMBA_NUM_THREADS="1") == "True True"


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"triple": 1}'])
def test_a_damaged_file_of_settings_is_replaced(tmp_path, content):
    output_of(ASK, tmp_path)
    (file,) = tmp_path.rglob("settings-*.json")
    file.write_text(content)
    assert output_of(ASK, tmp_path) == "False True"
    assert output_of(ASK, tmp_path) == "True True"


def test_a_file_of_settings_in_the_working_folder_is_numba_s_to_read(tmp_path):
    (tmp_path / ".numba_config.yaml").write_text("opt: 2\n")
    for _ in range(2):
        assert output_of(ASK, tmp_path) == "False True"


def test_what_a_program_set_counts(tmp_path):
    output_of(ASK, tmp_path)
    script = """
import numba
from bitconv.kernels.settings import settings

before = settings()
numba.config.BOUNDSCHECK = 1
print(before == settings())
"""
    assert output_of(script, tmp_path) == "False"


def test_where_nothing_can_be_kept_numba_is_asked(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for _ in range(2):
        assert output_of(ASK, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "file")) == "False True"
