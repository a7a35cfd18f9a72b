"""Check and measure everything that needs a GPU, on the machine that has one.

Run from the repository's folder, with the Python that holds PyTorch (2.11 or later, built for CUDA)::

    python benchmarks/gpu_check.py

Nothing is fetched: the package is built with what is installed (scikit-build-core, pybind11, CMake, ninja,
nvcc), as an editable install into that Python; then it is tested with BACKMAP_REQUIRE_CUDA=1, by
compute-sanitizer where that is found, and measured. A step that fails is recorded and the others go on. All
goes to ``results/<gpu>.json`` and ``results/<gpu>.md``, the output of the steps to ``build/gpu_check``.

Exit code: 0 if no step failed, 1 if one did, 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOGS = ROOT / "build" / "gpu_check"
CUDA_PROGRAMS = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"
PYTEST = (sys.executable, "-m", "pytest", "-q")
KEPT_LINES = 12
"""How much of the end of a step's output is kept in the results."""

LONGEST_STEP = 3600.0
"""Seconds after which a step counts as hanging."""


@dataclass(frozen=True)
class Step:
    """A command of the check, and Python packages or a program without which it cannot run."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    program: str | None = None

    def lacks(self) -> list[str]:
        """Name what the step needs and this machine does not have."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if self.program and find_program(self.program) is None:
            missing.append(self.program)
        return missing

    def describe(self) -> str:
        """Write the command as a person would type it."""
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*settings, shlex.join(self.command)])


@dataclass(frozen=True)
class Outcome:
    """What became of a step."""

    name: str
    outcome: str  # passed, failed or skipped
    seconds: float
    reason: str
    command: str
    output: list[str]


def find_program(name: str) -> str | None:
    """Find a program of the CUDA toolkit."""
    return shutil.which(name) or shutil.which(name, path=str(CUDA_PROGRAMS))


def steps(seconds: float) -> list[Step]:
    """All steps, in their order; `seconds` is the time for each measurement."""
    need_cuda = {"BACKMAP_REQUIRE_CUDA": "1"}
    install = ("-m", "pip", "install", "--no-index", "--no-build-isolation", "--no-deps")
    measure = (sys.executable, "benchmarks/kernels.py", "--seconds", str(seconds))
    return [
        Step(
            "build",
            (sys.executable, *install, "-C", "cmake.define.BACKMAP_CUDA=ON", "-v", "-e", "."),
            packages=("scikit_build_core", "pybind11"),
        ),
        Step("operators", (*PYTEST, "tests/ops", "tests/cpp"), need_cuda, ("pytest", "hypothesis")),
        Step("all tests", PYTEST, need_cuda, ("pytest", "hypothesis", "mdtraj", "gemmi", "safetensors")),
        *(sanitizer(tool) for tool in ("memcheck", "racecheck", "synccheck")),
        Step("benchmarks", (*measure, "--device", "cuda", "--threads", "1")),
        Step("benchmarks on two CPU threads", (*measure, "--threads", "2")),
    ]


def sanitizer(tool: str) -> Step:
    """Run the kernels of all operators under a tool of compute-sanitizer."""
    program = find_program("compute-sanitizer") or "compute-sanitizer"
    options = ("--tool", tool, "--error-exitcode", "9", "--target-processes", "all")
    return Step(
        tool,
        (program, *options, *PYTEST, "tests/ops", "-k", "cuda_matches_cpu"),
        # Without torch's pool of memory each tensor is an allocation of its own, whose end can be watched.
        {"BACKMAP_REQUIRE_CUDA": "1", "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
        ("pytest", "hypothesis"),
        "compute-sanitizer",
    )


def perform(step: Step) -> Outcome:
    """Run a step, show its output and keep it in a file."""
    print(f"\n==== {step.name} ====\n{step.describe()}", flush=True)
    if missing := step.lacks():
        reason = f"not installed: {', '.join(missing)}"
        print(reason)
        return Outcome(step.name, "skipped", 0.0, reason, step.describe(), [])
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{step.name.replace(' ', '_')}.log"
    start = time.perf_counter()
    reason = _run(step, log)
    lines = log.read_text(errors="replace").splitlines()[-KEPT_LINES:]
    print(*lines, sep="\n", flush=True)
    outcome = "failed" if reason else "passed"
    return Outcome(step.name, outcome, time.perf_counter() - start, reason, step.describe(), lines)


def _run(step: Step, log: Path) -> str:
    """Run a step's command; why it failed, empty if it did not."""
    environment = {**os.environ, **step.environment}
    with log.open("w") as output:
        streams = {"stdout": output, "stderr": subprocess.STDOUT}
        try:
            subprocess.run(
                step.command, cwd=ROOT, env=environment, timeout=LONGEST_STEP, check=True, **streams
            )
        except subprocess.CalledProcessError as error:
            return f"exit code {error.returncode}"
        except subprocess.TimeoutExpired:
            return f"not done after {LONGEST_STEP:.0f} s"
    return ""


def machine() -> dict[str, str]:
    """What the results depend on: GPU, driver, versions."""
    import torch

    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": driver,
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "python": platform.python_version(),
    }


def save(outcomes: list[Outcome]) -> None:
    """Put machine and outcomes beside what the benchmarks measured, and write the table."""
    from compare import results_path
    from kernels import markdown

    path = results_path("cuda")
    results = json.loads(path.read_text()) if path.exists() else {}
    results["machine"] = machine()
    results["checks"] = {**results.get("checks", {}), **{o.name: asdict(o) for o in outcomes}}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    path.with_suffix(".md").write_text(f"{checks_table(results)}\n{markdown(results)}")


def checks_table(results: dict) -> str:
    """A row for each step that was run."""
    lines = [", ".join(f"{name} {value}" for name, value in results["machine"].items()), ""]
    lines += ["| check | outcome | s |", "| --- | --- | --- |"]
    for check in results["checks"].values():
        outcome = f"{check['outcome']} ({check['reason']})" if check["reason"] else check["outcome"]
        lines.append(f"| {check['name']} | {outcome} | {check['seconds']:.0f} |")
    return "\n".join(lines) + "\n"


def why_no_gpu() -> str | None:
    """Why nothing can be checked here; None if it can."""
    try:
        import torch
    except ImportError:
        return "this Python has no PyTorch"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return None if torch.cuda.is_available() else f"torch {torch.__version__} finds none"


def parse(arguments: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, metavar="STEP", help=f"of: {', '.join(names)}")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each measurement (default 0.5)")
    parser.add_argument(
        "--dry-run", action="store_true", help="list the steps and what they lack, run nothing"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check."""
    options = parse(arguments, [step.name for step in steps(0.0)])
    chosen = [step for step in steps(options.seconds) if not options.only or step.name in options.only]
    if options.dry_run:
        for step in chosen:
            print(f"{step.name}: {step.describe()}")
            if missing := step.lacks():
                print(f"    would be skipped: not installed: {', '.join(missing)}")
        return 0
    if reason := why_no_gpu():
        print(f"gpu_check needs a GPU: {reason}.", file=sys.stderr)
        return 2
    outcomes = []
    for step in chosen:
        outcomes.append(perform(step))
        save(outcomes)  # after each step, so that an interruption loses none
    return int(any(o.outcome == "failed" for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
