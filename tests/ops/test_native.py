import subprocess
import sys

import pytest
import torch

import backmap
from backmap import _native


def test_import_without_the_library_says_what_to_do():
    code = "import sys; sys.modules['backmap._core'] = None; import backmap.ops"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode != 0
    assert last.startswith("ImportError: backmap's native library")
    assert "pip install --no-build-isolation ." in last


def test_another_release_of_torch_is_refused(monkeypatch):
    built = _native.build_description()["torch"]
    major, minor, _ = built.split(".", 2)
    monkeypatch.setattr(torch, "__version__", f"{major}.{minor}.99")
    assert _native.load()
    other = f"{major}.{int(minor) + 1}.0+cu126"
    monkeypatch.setattr(torch, "__version__", other)
    with pytest.raises(ImportError) as error:
        _native.load()
    message = str(error.value)
    assert message.startswith(
        f"backmap was built with PyTorch {built}, but PyTorch {major}.{int(minor) + 1}.0+cu126"
    )
    assert f"torch=={major}.{minor}.*" in message and len(message.splitlines()) == 1


def test_build_description():
    description = _native.build_description()
    assert description["version"] == backmap.__version__
    assert description["compiler"] and description["torch"]
    assert _native.library_path().is_file()
