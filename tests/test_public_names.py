"""What `import bitconv` offers, and how little it loads."""

import subprocess
import sys

import pytest

import bitconv

HEAVY = ("numba", "llvmlite", "h5py", "PIL", "torch", "rich", "click", "onnx")


def modules_after(script):
    """The modules in memory after a script, in a process of its own."""
    script += "\nimport sys; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_loads_nothing_heavy():
    assert not modules_after("import bitconv").intersection(HEAVY)


def test_building_a_graph_needs_no_compiler_and_no_file_format():
    script = """
from bitconv import Graph, Node, TensorType
from bitconv.operators import Flatten, Relu
Graph({"x": TensorType((2, 2, 1))}, (Node("relu", Relu(), "x"), Node("flat", Flatten(), "relu")))
"""
    assert not modules_after(script).intersection(HEAVY)


def test_reading_a_file_needs_no_compiler():
    script = """
import bitconv
from bitconv.shipped import model_path
bitconv.read(model_path())
"""
    loaded = modules_after(script)
    assert "h5py" in loaded
    assert "numba" not in loaded


@pytest.mark.parametrize("name", bitconv.__all__)
def test_public_names_are_there(name):
    value = getattr(bitconv, name)
    assert value.__name__ == name
    assert value.__doc__


def test_public_names_are_listed():
    assert set(bitconv.__all__) <= set(dir(bitconv))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bitconv.nothing


def test_the_version_is_that_of_the_package():
    assert bitconv.__version__.count(".") == 2
