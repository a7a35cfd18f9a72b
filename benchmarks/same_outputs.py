"""Do two versions of the code write the same bytes? Hashes of a named set of runs, to keep or to compare.

Run from the repository root, before and after a change that must not change any output::

    python benchmarks/same_outputs.py before.json
    python benchmarks/same_outputs.py after.json --compare before.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"
TRACE = [str(EXAMPLES / "ww_c_alpha.xtc"), "--top", str(EXAMPLES / "ww_c_alpha.pdb")]
STRUCTURE = [str(EXAMPLES / "2bf5.pdb.gz")]
BACKMAP = [sys.executable, "-m", "backmap", "reconstruct"]

RUNS: dict[str, list[str]] = {
    "protein.pdb": [*STRUCTURE, "--samples", "2", "--seed", "3"],
    "protein.cif.gz": [*STRUCTURE, "--seed", "3"],
    "protein.xtc": [*TRACE, "--end", "24", "--samples", "2", "--one-file"],
    "protein.trr": [*TRACE, "--end", "24", "--stride", "3", "--atoms", "backbone"],
    "protein.dcd": [*TRACE, "--end", "16", "--c-alphas", "relax", "--bead-noise", "0.02"],
    "protein.h5": [*TRACE, "--end", "8"],
    "protein.nc": [*TRACE, "--end", "8", "--threads", "2", "--batch", "3"],
    "hydrogens.pdb": [*TRACE, "--end", "2", "--hydrogens", "--minimise", "5"],
    "kept.pdb": [*STRUCTURE, "--keep-given"],
    "workers.xtc": [*TRACE, "--end", "24", "--workers", "2"],
    "diamondback.xtc": [*TRACE, "--end", "3", "--model", "diamondback", "--ddim-steps", "10"],
}
"""Runs by the name of their output. Those of temporal models are added where the data lies."""

KILLED = ("protein.xtc", "protein.h5")
"""Runs that are done once more, killed in the middle and resumed."""

DIPEPTIDE = Path(__file__).parents[2] / "shared" / "data" / "adp"


def temporal_runs() -> dict[str, list[str]]:
    """Runs of a temporal model, of any trajectory of alanine dipeptide there is."""
    if not DIPEPTIDE.is_dir():
        return {}
    given = [
        str(DIPEPTIDE / "train.dcd"),
        "--top",
        str(DIPEPTIDE / "adp.pdb"),
        "--model",
        "alanine-dipeptide",
    ]
    return {
        "temporal.dcd": [*given, "--end", "200", "--samples", "2"],
        "segments.xtc": [*given, "--end", "200", "--segments", "3", "--burn-in", "10"],
    }


def hashes_of(name: str, arguments: list[str], folder: Path, *, kill: bool = False) -> dict[str, str]:
    """Do a run, and hash its outputs except the record, which contains times and paths."""
    folder.mkdir()
    command = [*BACKMAP, *arguments, "-o", str(folder / name), "--quiet"]
    if kill:
        kill_in_the_middle(command, folder / f"{name}.partial")
        command.append("--resume")
    subprocess.run(command, check=True)
    written = sorted(path for path in folder.iterdir() if path.suffix != ".json")
    return {f"{folder.name}/{path.name}": hashlib.sha256(content(path)).hexdigest() for path in written}


def kill_in_the_middle(command: list[str], unfinished: Path) -> None:
    """Kill a run as soon as it has noted progress, if it is not through by then."""
    process = subprocess.Popen([*command, "--chunk", "1", "--batch", "2"])
    while process.poll() is None and not (unfinished / "progress.safetensors").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


def content(path: Path) -> bytes:
    """Give the bytes of a file, or of its coordinates where the format holds the moment it was written."""
    if path.suffix not in (".h5", ".nc"):
        return path.read_bytes()
    import mdtraj

    with mdtraj.open(str(path)) as file:
        return file.read()[0].tobytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("found", type=Path, metavar="JSON", help="where the hashes go")
    parser.add_argument("--compare", type=Path, metavar="JSON", help="hashes of an earlier version")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    runs, found = RUNS | temporal_runs(), dict[str, str]()
    with tempfile.TemporaryDirectory() as scratch:
        for name, given in runs.items():
            found |= hashes_of(name, given, Path(scratch, name))
        for name in KILLED:
            found |= hashes_of(name, runs[name], Path(scratch, f"resumed-{name}"), kill=True)
    arguments.found.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.compare is None:
        return 0
    before = json.loads(arguments.compare.read_text())
    differing = sorted(name for name in {*before, *found} if before.get(name) != found.get(name))
    print("\n".join(differing) or f"all {len(found)} files are the same")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
