"""Builds and runs the C++ tests: the CUDA kernels, emulated on the CPU, against the CPU kernels."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_emulated_cuda_kernels_match_the_cpu(tmp_path):
    program = tmp_path / "test_kernels"
    subprocess.run([Path(__file__).with_name("build.sh"), program], check=True)
    result = subprocess.run([program], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
