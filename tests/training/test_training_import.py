import subprocess
import sys

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
import bitconv.training
"""


def test_without_pytorch_the_error_names_the_extra():
    found = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True)
    assert "MissingPackageError" in found.stderr
    assert "pip install 'bitconv[train]'" in found.stderr
