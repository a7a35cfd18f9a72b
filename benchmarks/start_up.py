"""CPU time of commands that build little or nothing, beside that of importing PyTorch.

Run from the repository root::

    python benchmarks/start_up.py

The commands take turns; the table gives medians, with the smallest and the largest value.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
COMMANDS = {
    "`--help`": ["--help"],
    "`models`": ["models"],
    "`beads`": ["beads"],
    "`reconstruct --help`": ["reconstruct", "--help"],
    "`reconstruct`, no such file": ["reconstruct", "missing.pdb", "-o", "out.pdb"],
    "`reconstruct`, output exists": ["reconstruct", str(EXAMPLES / "2bf5.pdb.gz"), "-o", "there.pdb"],
    "`info`": ["info"],
    "`reconstruct`, 34 residues": ["reconstruct", str(EXAMPLES / "ww_c_alpha.pdb"), "-o", "new.pdb"],
    "`reconstruct`, 183 residues": ["reconstruct", str(EXAMPLES / "2bf5.pdb.gz"), "-o", "new.pdb"],
}


def cpu_seconds(command: list[str], folder: Path) -> float:
    """Run a command on one thread; give its CPU time."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    interpreter = {"Python only": ["-c", ""], "`import torch`": ["-c", "import torch"]}
    commands = {name: [sys.executable, *words] for name, words in interpreter.items()}
    for name, words in COMMANDS.items():
        commands[name] = [sys.executable, "-m", "backmap.cli.main", *words]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "there.pdb").write_text("")
        for turn in range(arguments.rounds + 1):
            for what, command in commands.items():
                for output in folder.glob("new.*"):
                    output.unlink()
                taken = cpu_seconds(command, folder)
                if turn > 0:  # the first one fills caches
                    seconds[what].append(taken)
    print("| command | CPU s |\n| --- | --- |")
    for what, values in seconds.items():
        print(f"| {what} | {statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f}) |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
