"""Speed of whole commands: backmap and PULCHRA on the same trajectory, side by side, file to file.

Run from the repository root::

    python benchmarks/speed.py

The trajectory is the example structure with Gaussian noise on its C-alphas. The commands take turns, so that
a machine whose speed drifts treats them alike; the table gives medians, and CPU seconds beside wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def measure(folder: Path, frames: int, rounds: int, model: str) -> dict[str, dict[str, float]]:
    """Time every command in turn."""
    coordinates, topology, residues = write_trajectory(folder, frames)
    one_frame, _, _ = write_trajectory(folder, 1)

    def backmap(source: Path, threads: int, name: str) -> list[str]:
        output = ["-o", str(folder / name), "--threads", str(threads), "--overwrite", "--quiet"]
        command = [sys.executable, "-m", "backmap.cli.main", "reconstruct", str(source)]
        return [*command, "--top", str(topology), "--model", model, *output]

    pulchra = [sys.executable, "-c", PULCHRA, str(coordinates), str(topology), str(folder / "pulchra.pdb")]
    commands = {
        "backmap, 1 thread": (backmap(coordinates, 1, "one.xtc"), 1),
        "backmap, 2 threads": (backmap(coordinates, 2, "two.xtc"), 2),
        "backmap, 1 frame, 1 thread": (backmap(one_frame, 1, "start.xtc"), 1),
        "PULCHRA (pypulchra), 1 thread": (pulchra, 1),
    }
    timings: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, (command, threads) in commands.items():
            timings[name].append(run(command, threads))
    return {
        name: {
            "residues": residues * (1 if "1 frame" in name else frames),
            "wall_s": statistics.median(wall for wall, _ in values),
            "cpu_s": statistics.median(cpu for _, cpu in values),
        }
        for name, values in timings.items()
    }


def table(results: dict[str, dict[str, float]], frames: int) -> str:
    """Write the results in Markdown."""
    start_up = results["backmap, 1 frame, 1 thread"]["wall_s"]
    pulchra = results["PULCHRA (pypulchra), 1 thread"]
    lines = [
        f"{frames} frames of {pulchra['residues'] // frames} residues, file to file",
        "",
        "| command | wall s | CPU s | residues/s of wall time | x PULCHRA |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in results.items():
        ratio = "-" if "1 frame" in name else f"{pulchra['wall_s'] / row['wall_s']:.2f}"
        rate = row["residues"] / row["wall_s"]
        lines.append(f"| {name} | {row['wall_s']:.2f} | {row['cpu_s']:.2f} | {rate:.0f} | {ratio} |")
    alone = results["backmap, 1 thread"]
    rate = (alone["residues"] - pulchra["residues"] / frames) / (alone["wall_s"] - start_up)
    lines += ["", f"backmap, 1 thread, start-up ({start_up:.2f} s) left out: {rate:.0f} residues/s"]
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="protein", help="a shipped model or a file (default protein)")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), arguments.frames, arguments.rounds, arguments.model)
    print(table(results, arguments.frames))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
