"""Judge coherent frames built on beads, by simulations: those of simulations.csv marked `judge`.

    python judge_beads.py simulations --beads martini3 residue-centre c-alpha+side-chain-centre

Writes the beads of each simulation, builds atoms on them, coherently and each frame on its own, and prints
how atoms and torsions move, and how good each frame is, as a table in Markdown.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mdtraj
import numpy as np
from judge import INTERVAL_PS, judged, load, rows

import backmap
from backmap.evaluation.coherence import compare_coherence
from backmap.evaluation.shared_atoms import restrict

BACKMAP = Path(sys.executable).with_name("backmap")
QUALITY = {
    "bond": "bonds within 10 %, %",
    "clash": "residues that clash, %",
    "ramachandran_favoured": "Ramachandran favoured, %",
    "rotamer_outliers": "rotamer outliers, %",
}


def coarse_grain(atoms: mdtraj.Trajectory, mapping: str, folder: Path) -> mdtraj.Trajectory:
    """The beads of a trajectory, as `backmap coarse-grain` writes them."""
    given, beads = folder / "atoms.h5", folder / "beads.pdb"
    atoms.save(str(given))
    command = [BACKMAP, "coarse-grain", given, "--beads", mapping, "-o", beads, "--overwrite"]
    subprocess.run([*map(str, command)], check=True, stderr=subprocess.DEVNULL)
    return mdtraj.load(str(beads))


def quality(reference: mdtraj.Trajectory, built: mdtraj.Trajectory) -> dict[str, float]:
    """Measures of single frames."""
    measures = backmap.evaluate(reference, built).measures
    found = {}
    for key, name in QUALITY.items():
        if key in measures:
            found[name] = measures[key]["interior"].value
    return found


def measure(
    simulation: mdtraj.Trajectory,
    beads: mdtraj.Trajectory,
    built: mdtraj.Trajectory,
    mapping: str,
    folder: Path,
) -> dict[str, tuple[float, float]]:
    """Each measure of the simulation and of the built frames."""
    shared = restrict({"reference": [simulation], "sample": [built]})
    positions = {side: [each.xyz for each in several] for side, several in shared.items()}
    scores = compare_coherence(shared["reference"][0].topology, positions, INTERVAL_PS)
    found = {name: (true, own) for name, true, own in rows(scores)}
    own, true = quality(simulation, built), quality(simulation, simulation)
    found |= {name: (true[name], own[name]) for name in own}
    image = coarse_grain(built, mapping, folder)
    away = np.sqrt(((image.xyz - beads.xyz) ** 2).sum(axis=-1).mean())
    return {**found, "image from beads, nm": (0.0, float(away))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulations", type=Path, help="folder that simulate_all.py has written")
    parser.add_argument("--beads", nargs="+", default=["martini3"], help="mappings (%(default)s)")
    parser.add_argument("--frames", type=int, help="frames of each simulation, from its beginning")
    parser.add_argument("--names", nargs="*", help="simulations, instead of those marked `judge`")
    arguments = parser.parse_args()
    for name, temperature in judged(arguments.names):
        simulation = load(arguments.simulations, name)[: arguments.frames]
        for mapping in arguments.beads:
            with tempfile.TemporaryDirectory() as folder:
                beads = coarse_grain(simulation, mapping, Path(folder))
                found, seconds = [], []
                for options in (
                    {"coherent": True, "frame_interval": INTERVAL_PS, "temperature": temperature},
                    {},
                ):
                    begin = time.perf_counter()
                    built = backmap.reconstruct(beads, beads=mapping, **options)
                    seconds.append(time.perf_counter() - begin)
                    found.append(measure(simulation, beads, built, mapping, Path(folder)))
            coherent, alone = found
            print(f"\n{name}, {temperature} K, {len(simulation)} frames, {mapping}; ", end="")
            print(f"frames on their own are built {seconds[0] / seconds[1]:.2f} times as fast\n")
            print("| measure | simulation | coherent | each frame on its own |\n| --- | --- | --- | --- |")
            for measure_name, (true, own) in coherent.items():
                print(
                    f"| {measure_name} | {true:.3g} | {own:.3g} | {alone[measure_name][1]:.3g} |", flush=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
