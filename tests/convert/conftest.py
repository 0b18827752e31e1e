"""Without the packages of the extra `onnx` there is nothing to convert and compare with."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = []
if not all(map(find_spec, ("onnx", "onnxruntime", "onnxsim"))):
    collect_ignore_glob += ["test_onnx_*.py", "test_from_torch.py"]
elif not all(map(find_spec, ("torch", "onnxscript"))):
    collect_ignore_glob += ["test_from_torch.py"]
