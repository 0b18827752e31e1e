"""What the tests of the operators share."""

from types import ModuleType

import pytest


@pytest.fixture
def torch() -> ModuleType:
    """PyTorch, where it is installed: it is too large for the test extra."""
    return pytest.importorskip("torch", reason="torch is not in the test extra")
