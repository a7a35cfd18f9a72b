"""Builds and runs the C++ tests.

One tests the formulas alone, the other the CUDA kernels, emulated on the CPU, against the CPU kernels.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
@pytest.mark.parametrize("script", ["build_core.sh", "build.sh"])
def test_program(tmp_path, script):
    program = tmp_path / "program"
    subprocess.run([Path(__file__).with_name(script), program], check=True)
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
