"""Judge coherent frames by simulations that nothing was fitted to: those of simulations.csv marked `judge`.

    python judge.py simulations

Builds atoms on the C-alphas of each simulation, coherently and each frame on its own, and prints how atoms
and torsions move in the simulation and in both, as a table in Markdown.
"""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import mdtraj

import backmap
from backmap.evaluation.coherence import Coherence, compare_coherence
from backmap.evaluation.shared_atoms import restrict

HERE = Path(__file__).parent
INTERVAL_PS = 1.0


def compare(trajectory: mdtraj.Trajectory, temperature: float) -> dict[str, tuple[Coherence, float]]:
    """Scores of coherent and of independent frames against a simulation, and seconds to build them."""
    c_alphas = trajectory.atom_slice(trajectory.topology.select("name CA"))
    scores = {}
    for name, options in {
        "coherent": {"coherent": True, "frame_interval": INTERVAL_PS, "temperature": temperature},
        "on its own": {},
    }.items():
        begin = time.perf_counter()
        built = backmap.reconstruct(c_alphas, **options)
        seconds = time.perf_counter() - begin
        shared = restrict({"reference": [trajectory], "sample": [built]})
        positions = {side: [each.xyz for each in several] for side, several in shared.items()}
        topology = shared["reference"][0].topology
        scores[name] = compare_coherence(topology, positions, INTERVAL_PS), seconds
    return scores


def rows(scores: Coherence) -> Iterator[tuple[str, float, float]]:
    """Name of each measure, and its value in the simulation and in the built frames."""
    for name, moved in scores.displacements.items():
        yield f"{name}, nm per frame", moved.reference, moved.sample
    for name, turns in scores.turns.items():
        if turns.n_torsions:
            yield (
                f"{name} turns by over 60 degrees, % of frames",
                turns.percent.reference,
                turns.percent.sample,
            )
    for name, memory in scores.memory.items():
        for number, passed in enumerate(memory.times):
            values = (memory.correlation[side][number] for side in ("reference", "sample"))
            yield f"autocorrelation of {name} after {passed:g} ps", *values


def load(folder: Path, name: str) -> mdtraj.Trajectory:
    """A simulation."""
    path = folder / f"{name}.dcd"
    return mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))


def judged(names: Sequence[str] | None = None) -> list[tuple[str, float]]:
    """Names and temperatures of simulations, by default of those to which nothing is fitted."""
    with (HERE / "simulations.csv").open() as file:
        table = list(csv.DictReader(file))
    chosen = [row for row in table if (row["name"] in names if names else row["use"] == "judge")]
    return [(row["name"], float(row["temperature"])) for row in chosen]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulations", type=Path, help="folder that simulate_all.py has written")
    folder = parser.parse_args().simulations
    for name, temperature in judged():
        trajectory = load(folder, name)
        scores = compare(trajectory, temperature)
        (coherent, slow), (alone, fast) = scores["coherent"], scores["on its own"]
        print(f"\n{name}, {temperature:g} K, {len(trajectory)} frames; ", end="")
        print(f"frames on their own are built {slow / fast:.2f} times as fast as coherent ones\n")
        print("| measure | simulation | coherent | each frame on its own |\n| --- | --- | --- | --- |")
        for (name, true, built), (_, _, single) in zip(rows(coherent), rows(alone), strict=True):
            print(f"| {name} | {true:.3g} | {built:.3g} | {single:.3g} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
