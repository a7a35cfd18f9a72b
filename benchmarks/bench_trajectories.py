"""Long trajectories: overhead over the model alone, scaling with workers, memory, and what a kill costs.

Run from the repository root::

    python benchmarks/bench_trajectories.py

The trajectories are the C-alphas of chignolin (memory) and of the example structure (the rest) with noise.
Speeds are taken from the difference of a long and a short run of the same command, so that its start does not
count; commands take turns, and medians are given. ``--only`` chooses parts.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
import torch

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "2bf5.pdb.gz"
CHIGNOLIN = ROOT.parent / "shared" / "data" / "cg" / "fastfolder_cln_ca_32frames.pdb.gz"
NOISE_NM = 0.01
MB = 1e6


@dataclass(frozen=True)
class Input:
    """A C-alpha trajectory on disk."""

    path: Path
    top: Path
    frames: int
    residues: int


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def write_input(folder: Path, structure: Path, frames: int) -> Input:
    """Write a trajectory of the C-alphas of a structure's frames, one after another, with noise."""
    given = mdtraj.load(str(structure))
    c_alpha = given.atom_slice(given.topology.select("name CA"))
    path, top = folder / f"{structure.name}-{frames}.xtc", folder / f"{structure.name}.pdb"
    c_alpha[0].save(str(top))
    rng = np.random.default_rng(0)
    with mdtraj.open(str(path), "w") as file:
        for first in range(0, frames, 1000):
            numbers = np.arange(first, min(frames, first + 1000))
            noise = rng.normal(0, NOISE_NM, (len(numbers), c_alpha.n_atoms, 3))
            positions = c_alpha.xyz[numbers % c_alpha.n_frames] + noise
            file.write(positions.astype(np.float32), time=numbers.astype(np.float32), step=numbers)
    return Input(path, top, frames, c_alpha.n_atoms)


def command(given: Input, output: Path, *options: object) -> list[str]:
    """Give the command that builds a trajectory."""
    words = [sys.executable, "-m", "backmap.cli.main", "reconstruct", given.path, "--top", given.top]
    return [*map(str, [*words, "-o", output, "--overwrite", "--quiet", *options])]


def run(words: list[str], threads: int = 1) -> Cost:
    """Run a command to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(words)}: ended with status {status}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def seconds_a_frame(folder: Path, short: Input, long: Input, rounds: int, *options: object) -> list[float]:
    """Wall seconds that a frame takes beyond the start of the command, round by round."""
    values = []
    for _ in range(rounds):
        times = [run(command(given, folder / "out.xtc", *options)).wall_s for given in (short, long)]
        values.append((times[1] - times[0]) / (long.frames - short.frames))
    return values


def model_alone(given: Input, frames: int) -> Callable[[], float]:
    """Make a function that times the model on frames in memory, one thread, as the command batches them."""
    from backmap.inference.protein_job import ProteinJob
    from backmap.io import open_source
    from backmap.models.shipped import read_model
    from backmap.runs.protein_frames import KeptAtoms, frames_per_batch, listed_atoms, near_origin

    torch.set_num_threads(1)
    source = open_source(given.path, given.top)
    sites = source.sites.only_leaders
    job = ProteinJob(source.name, read_model("protein"), source.topology, source.linked, sites)
    kept = KeptAtoms.find(listed_atoms(source.topology), source, source.sites.leaders, source.sites.leaders)
    build = job.open("cpu")
    batch = frames_per_batch(given.residues, 1, torch.device("cpu"))
    chunks = list(source.chunks(batch))
    chunks = chunks[: frames // batch]
    pieces = [(near_origin(chunk, kept)[0], chunk.numbers) for chunk in chunks]
    done = sum(len(numbers) for _, numbers in pieces)
    build(*pieces[0])

    def measure() -> float:
        start = time.perf_counter()
        for piece in pieces:
            build(*piece)
        return (time.perf_counter() - start) / done

    return measure


def overhead_and_scaling(folder: Path, frames: int, rounds: int) -> None:
    """Compare the model alone with whole commands on one and two threads and workers."""
    short, long = (write_input(folder, EXAMPLE, count) for count in (frames // 10, frames))
    alone = model_alone(long, frames)
    ways = {
        "1 thread": ("--threads", 1),
        "2 threads": ("--threads", 2),
        "1 worker": ("--workers", 1),
        "2 workers": ("--workers", 2),
    }
    found: dict[str, list[float]] = {name: [] for name in ("model alone, 1 thread", *ways)}
    for _ in range(rounds):
        found["model alone, 1 thread"].append(alone())
        for name, options in ways.items():
            found[name] += seconds_a_frame(folder, short, long, 1, *options)
    medians = {name: statistics.median(values) for name, values in found.items()}
    print(f"\n{long.frames} frames of {long.residues} residues, XTC to XTC, start of the command left out\n")
    print("| what | frames/s | residues/s | x model alone |\n| --- | --- | --- | --- |")
    for name, seconds in medians.items():
        ratio = medians["model alone, 1 thread"] / seconds
        print(f"| {name} | {1 / seconds:.1f} | {long.residues / seconds:.0f} | {ratio:.2f} |")
    overhead = 100 * (medians["1 thread"] / medians["model alone, 1 thread"] - 1)
    print(f"\noverhead of reading, writing and committing, one thread: {overhead:.1f} %")
    for one, two in (("1 thread", "2 threads"), ("1 worker", "2 workers")):
        print(f"{one} to {two}: {medians[one] / medians[two]:.2f} x")


def memory(folder: Path, sizes: list[int], models: list[str]) -> None:
    """Measure the largest memory of runs of different length."""
    inputs = [write_input(folder, CHIGNOLIN, frames) for frames in sizes]
    print("\nlargest memory in MB, chignolin, one thread\n")
    print(f"| model | {' | '.join(f'{frames} frames' for frames in sizes)} | difference |")
    print("| --- " * (len(sizes) + 2) + "|")
    for model in models:
        peaks = []
        for given in inputs:
            words = command(given, folder / "out.xtc", "--model", model, "--threads", 1)
            peaks.append(run(words).peak_bytes / MB)
        shown = " | ".join(f"{peak:.0f}" for peak in peaks)
        print(f"| {model} | {shown} | {peaks[-1] - peaks[0]:.0f} |")


def resume(folder: Path, frames: int, rounds: int) -> None:
    """Measure what a kill in the middle costs beyond the second start of the command."""
    given = write_input(folder, EXAMPLE, frames)
    short = write_input(folder, EXAMPLE, 1)
    output = folder / "killed.xtc"
    lost = []
    for _ in range(rounds):
        start_up = run(command(short, folder / "start.xtc", "--threads", 1)).wall_s
        whole = run(command(given, folder / "whole.xtc", "--threads", 1)).wall_s
        words = [word for word in command(given, output, "--threads", 1) if word != "--overwrite"]
        begun = time.perf_counter()
        process = subprocess.Popen(words, env={**os.environ, "OMP_NUM_THREADS": "1"})
        time.sleep(start_up + 0.6 * (whole - start_up))
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = time.perf_counter() - begun
        after = run([*words, "--resume"]).wall_s
        lost.append(before + after - whole - start_up)
        if output.read_bytes() != (folder / "whole.xtc").read_bytes():
            raise SystemExit("the resumed output differs from the whole one")
        for path in folder.glob("killed*"):
            path.unlink()
    print(
        f"\nkilled after 60 % of {frames} frames and resumed: {statistics.median(lost):.2f} s lost beyond a "
        f"second start (from {min(lost):.2f} to {max(lost):.2f}); output byte-identical"
    )


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parts = ("speed", "memory", "resume")
    parser.add_argument("--only", choices=parts, nargs="+", default=parts)
    parser.add_argument("--frames", type=int, default=1000, help="of the example structure (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-frames", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--memory-models", nargs="+", default=["protein", "chignolin"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "speed" in options.only:
            overhead_and_scaling(folder, options.frames, options.rounds)
        if "memory" in options.only:
            memory(folder, options.memory_frames, options.memory_models)
        if "resume" in options.only:
            resume(folder, options.frames, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
