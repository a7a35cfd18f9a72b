"""What of the check on GPU machines can be tested without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"


@pytest.fixture
def gpu_check(benchmark_module, monkeypatch, tmp_path):
    """The script as a module, which writes into a temporary folder and takes the GPU's name as known."""
    module = benchmark_module("gpu_check")
    monkeypatch.setattr(module, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(module, "machine", lambda: {"gpu": "Test GPU"})
    import compare

    monkeypatch.setattr(compare, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Test GPU")
    return module


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_refuses_without_a_gpu():
    result = run()
    assert result.returncode == 2
    assert result.stdout == "" and result.stderr.startswith("gpu_check needs a GPU: torch ")
    assert len(result.stderr.splitlines()) == 1


def test_dry_run_lists_the_steps():
    result = run("--dry-run")
    assert result.returncode == 0
    names = [line.split(":")[0] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert names[0] == "build" and names[-1] == "benchmarks on two CPU threads"
    assert {"operators", "all tests", "memcheck", "racecheck", "benchmarks"} < set(names)
    only = run("--dry-run", "--only", "racecheck").stdout
    assert "--tool racecheck" in only and "--tool memcheck" not in only


def test_unknown_step():
    result = run("--only", "nothing")
    assert result.returncode == 2 and "invalid choice: 'nothing'" in result.stderr


def test_a_failure_is_recorded_and_the_others_go_on(gpu_check, monkeypatch, tmp_path):
    def python(code):
        return (sys.executable, "-c", code)

    steps = [
        gpu_check.Step("good", python("import os; print(os.environ['WORD'])"), {"WORD": "hello"}),
        gpu_check.Step("bad", python("raise SystemExit(3)")),
        gpu_check.Step("slow", python("import time; time.sleep(60)")),
        gpu_check.Step("absent", python("pass"), packages=("no_such_package",)),
        gpu_check.Step("last", python("pass")),
    ]
    monkeypatch.setattr(gpu_check, "steps", lambda seconds: steps)
    monkeypatch.setattr(gpu_check, "why_no_gpu", lambda: None)
    monkeypatch.setattr(gpu_check, "LONGEST_STEP", 5.0)
    assert gpu_check.main([]) == 1
    checks = json.loads((tmp_path / "results" / "Test-GPU.json").read_text())["checks"]
    outcomes = [checks[step.name]["outcome"] for step in steps]
    assert outcomes == ["passed", "failed", "failed", "skipped", "passed"]
    assert checks["good"]["output"] == ["hello"]
    assert checks["bad"]["reason"] == "exit code 3"
    assert checks["slow"]["reason"] == "not done after 5 s"
    assert checks["absent"]["reason"] == "not installed: no_such_package"
    table = (tmp_path / "results" / "Test-GPU.md").read_text()
    assert "| bad | failed (exit code 3) | 0 |" in table
    assert gpu_check.main(["--only", "good"]) == 0
    assert len(json.loads((tmp_path / "results" / "Test-GPU.json").read_text())["checks"]) == 5
