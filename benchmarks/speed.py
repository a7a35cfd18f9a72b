"""Speed of whole commands: backmap and PULCHRA on the same trajectory, side by side, file to file.

Run from the repository root::

    python benchmarks/speed.py

The trajectory is the example structure with Gaussian noise on its C-alphas. The commands take turns, so that
a machine whose speed drifts treats them alike, and ratios are those of one turn. On a machine that others use
too, CPU time is the one to go by. ``--json`` keeps every measurement; ``docs/write_speed.py`` writes the
tables of the documentation from it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np

NOISE_NM = 0.01
EXAMPLE = Path(__file__).parent.parent / "examples" / "2bf5.pdb.gz"

PULCHRA = """
import sys, mdtraj, pypulchra
trajectory = mdtraj.load(sys.argv[1], top=sys.argv[2])
with open(sys.argv[3], "w") as out:
    for frame in trajectory.xyz * 10:
        for chain in trajectory.topology.chains:
            text = "".join(
                f"ATOM  {a.residue.index + 1:5d}  CA  {a.residue.name} A{n:4d}    "
                "{:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\\n".format(*frame[a.index])
                for n, a in enumerate(chain.atoms, 1)
            )
            out.write(pypulchra.run_from_pdb_str(text).pdb_str)
"""


def write_trajectory(folder: Path, frames: int) -> tuple[Path, Path, int]:
    """Write the C-alpha trajectory and its topology; give both and the number of residues."""
    structure = mdtraj.load(str(EXAMPLE))
    c_alpha = structure.atom_slice(structure.topology.select("name CA"))
    noise = np.random.default_rng(0).normal(0, NOISE_NM, (frames, c_alpha.n_atoms, 3))
    trajectory = mdtraj.Trajectory((c_alpha.xyz + noise).astype(np.float32), c_alpha.topology)
    coordinates, topology = folder / f"{frames}.xtc", folder / "c_alpha.pdb"
    trajectory.save(str(coordinates))
    c_alpha.save(str(topology))
    return coordinates, topology, c_alpha.n_atoms


def run(command: list[str], threads: int) -> tuple[float, float]:
    """Run a command; give wall and CPU seconds."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


ONE, TWO, START = "backmap, 1 thread", "backmap, 2 threads", "backmap, 1 frame, 1 thread"
PULCHRA_ALL, PULCHRA_START = "PULCHRA (pypulchra), 1 thread", "PULCHRA (pypulchra), 1 frame, 1 thread"


def measure(folder: Path, frames: int, rounds: int, model: str) -> dict[str, Any]:
    """Time every command in turn."""
    coordinates, topology, residues = write_trajectory(folder, frames)
    one_frame, _, _ = write_trajectory(folder, 1)

    def backmap(source: Path, threads: int, name: str) -> list[str]:
        output = ["-o", str(folder / name), "--threads", str(threads), "--overwrite", "--quiet"]
        command = [sys.executable, "-m", "backmap.cli.main", "reconstruct", str(source)]
        return [*command, "--top", str(topology), "--model", model, *output]

    def pulchra(source: Path) -> list[str]:
        return [sys.executable, "-c", PULCHRA, str(source), str(topology), str(folder / "pulchra.pdb")]

    commands = {
        ONE: (backmap(coordinates, 1, "one.xtc"), 1),
        TWO: (backmap(coordinates, 2, "two.xtc"), 2),
        START: (backmap(one_frame, 1, "start.xtc"), 1),
        PULCHRA_ALL: (pulchra(coordinates), 1),
        PULCHRA_START: (pulchra(one_frame), 1),
    }
    timings: dict[str, dict[str, list[float]]] = {name: {"wall_s": [], "cpu_s": []} for name in commands}
    for _ in range(rounds):
        for name, (command, threads) in commands.items():
            wall, cpu = run(command, threads)
            timings[name]["wall_s"].append(round(wall, 3))
            timings[name]["cpu_s"].append(round(cpu, 3))
    versions = {name: importlib.metadata.version(name) for name in ("backmap-md", "torch", "pypulchra")}
    return {
        "frames": frames,
        "residues": residues,
        "processor": _processor(),
        "versions": versions,
        "timings": timings,
    }


def _processor() -> str:
    """Name the processor, and how many cores of it there are."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores, {names[0]}"


def _shown(values: list[float], digits: int = 2) -> str:
    """Give the median, and the smallest and the largest value."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _without_start(results: dict[str, Any], whole: str, start: str) -> list[float]:
    """Return CPU seconds for all frames, in each turn, without those that a single frame takes."""
    frames, timings = results["frames"], results["timings"]
    turns = zip(timings[whole]["cpu_s"], timings[start]["cpu_s"], strict=True)
    return [(every - one) * frames / (frames - 1) for every, one in turns]


def _ratios(of: list[float], to: list[float]) -> list[float]:
    return [one / other for one, other in zip(of, to, strict=True)]


def rates(results: dict[str, Any]) -> dict[str, float]:
    """Return residues per CPU second of both tools on one thread, with start-up."""
    built = results["frames"] * results["residues"]
    return {name: built / statistics.median(results["timings"][name]["cpu_s"]) for name in (ONE, PULCHRA_ALL)}


def table(results: dict[str, Any]) -> str:
    """Write the results in Markdown."""
    timings, frames = results["timings"], results["frames"]
    pulchra = timings[PULCHRA_ALL]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        f"{frames} frames of {results['residues']} residues, file to file; {len(pulchra['wall_s'])} turns: "
        f"medians, with the smallest and the largest. {results['processor']}; {versions}.",
        "",
        "| command | wall s | CPU s | x PULCHRA, wall time | x PULCHRA, CPU time |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in timings.items():
        cells = ["-", "-"]
        if name in (ONE, TWO):
            cells = [_shown(_ratios(pulchra[kind], row[kind])) for kind in ("wall_s", "cpu_s")]
        lines.append(f"| {name} | {_shown(row['wall_s'])} | {_shown(row['cpu_s'])} | {' | '.join(cells)} |")
    own, other = _without_start(results, ONE, START), _without_start(results, PULCHRA_ALL, PULCHRA_START)
    rate = frames * results["residues"] / statistics.median(own)
    lines += [
        "",
        f"On one thread, the start of both left out, in CPU time: {_shown(_ratios(other, own))} x PULCHRA, "
        f"{rate:.0f} residues/s. PULCHRA with its start and backmap without: "
        f"{_shown(_ratios(pulchra['cpu_s'], own))} x.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="protein", help="a shipped model or a file (default protein)")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), arguments.frames, arguments.rounds, arguments.model)
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
