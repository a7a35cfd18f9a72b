"""Cyclic peptides built from the C-alphas of short simulations: the bond that closes them beside the others.

Run from the repository root::

    python benchmarks/cyclic_peptides.py --rings 12 --samples 3

Makes rings of 6 to 14 random residues from springs between C-alphas, gives them atoms and hydrogens, and
simulates each for some picoseconds in implicit solvent (OpenMM, AMBER ff14SB, GBn2, 300 K). The C-alphas of
ten frames are then built by the ``protein`` model as rings, as rings by its best guess, and as open chains,
and compared with the frames. Prints a table in Markdown. The first rows are of the peptide bond from the
last residue to the first only, and of N-CA-C of these two; the other measures are those of
docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import replace

import mdtraj
import numpy as np

import backmap
from backmap.chemistry import SLOT_C, SLOT_CA, SLOT_N, Topology
from backmap.errors import InputWarning
from backmap.evaluation import Scorecard, combine, score
from backmap.io import AtomList, source_from_mdtraj, to_mdtraj

SIZES = (6, 7, 8, 10, 12, 14)
STEP_PS = 0.002
MEASURES = (
    *("bond", "clash", "chirality", "ramachandran_favoured", "ramachandran_outliers"),
    *("rmsd_backbone", "rmsd_side_chain"),
)


def ring_of_springs(residues: int, generator: np.random.Generator) -> np.ndarray:
    """Return C-alphas (residues, 3) in nm; bonded ones are 0.38 nm apart, second neighbours 0.52 to 0.70."""
    turn = 2 * np.pi * np.arange(residues) / residues
    radius = 0.38 / (2 * np.sin(np.pi / residues))
    places = np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn], axis=1)
    places += 0.08 * generator.normal(size=places.shape)
    across = generator.uniform(0.52, 0.70, residues)
    for step in range(6000):
        motion = np.zeros_like(places)
        far = [] if step > 4000 else [(2, across, 0.05), *((k, 0.45, 0.07) for k in range(3, residues - 2))]
        for offset, length, stiffness in [(1, 0.38, 0.25), *far]:
            apart = np.roll(places, -offset, axis=0) - places
            distance = np.linalg.norm(apart, axis=1)
            off = distance - length if offset < 3 else np.minimum(distance - length, 0)
            pull = (stiffness * off / distance)[:, None] * apart
            motion += pull - np.roll(pull, offset, axis=0)
        places = places + motion
    return places


def simulate(sequence: str, c_alphas: np.ndarray, picoseconds: float) -> mdtraj.Trajectory:
    """Return ten frames of a simulation of a ring that begins on these C-alphas."""
    import openmm
    from openmm import app, unit

    beads = to_mdtraj(AtomList.of_protein(*only_c_alphas(sequence)), c_alphas[None])
    built = backmap.reconstruct(beads, link=link(sequence), hydrogens=True, minimise=200)
    topology = built.topology.to_openmm()
    force_field = app.ForceField("amber14-all.xml", "implicit/gbn2.xml")
    system = force_field.createSystem(topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    integrator = openmm.LangevinMiddleIntegrator(300, 2, STEP_PS)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(topology, system, integrator, platform, {"Threads": "1"})
    simulation.context.setPositions(built.xyz[0])
    simulation.minimizeEnergy(maxIterations=300)
    simulation.context.setVelocitiesToTemperature(300, 1)
    simulation.step(int(picoseconds / STEP_PS / 2))
    frames = []
    for _ in range(10):
        simulation.step(int(picoseconds / STEP_PS / 20))
        state = simulation.context.getState(getPositions=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
    return mdtraj.Trajectory(np.array(frames), built.topology)


def only_c_alphas(sequence: str) -> tuple[Topology, np.ndarray]:
    """Return the residues of a chain, and a mask (residues, 15) of their C-alphas."""
    topology = Topology.from_sequences(sequence)
    present = np.zeros_like(topology.atom_mask)
    present[:, SLOT_CA] = True
    return topology, present


def link(sequence: str) -> list[str]:
    """Name the bond that closes a chain."""
    return [f"A:{len(sequence)}:C-A:1:N"]


def slots(trajectory: mdtraj.Trajectory) -> np.ndarray:
    """Arrange heavy atoms in slots (frames, residues, 15, 3) in nm."""
    source = source_from_mdtraj(trajectory)
    (chunk,) = source.chunks(source.n_frames)
    return source.sites.in_slots(chunk.coordinates.astype(np.float64))


def at_the_closing_bond(atoms: np.ndarray) -> dict[str, np.ndarray]:
    """Measure C-N in nm and angles in degrees of atoms (..., residues, 15, 3) where rings close."""
    last, first = atoms[..., -1, :, :], atoms[..., 0, :, :]

    def angle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        one, other = a - b, c - b
        lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
        return np.degrees(np.arccos((one * other).sum(axis=-1) / lengths))

    n, ca, c = SLOT_N, SLOT_CA, SLOT_C
    ends = [angle(end[..., n, :], end[..., ca, :], end[..., c, :]) for end in (first, last)]
    return {
        "C-N, nm": np.linalg.norm(last[..., c, :] - first[..., n, :], axis=-1),
        "CA-C-N, degrees": angle(last[..., ca, :], last[..., c, :], first[..., n, :]),
        "C-N-CA, degrees": angle(last[..., c, :], first[..., n, :], first[..., ca, :]),
        "N-CA-C, degrees": np.stack(ends),
    }


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark."""
    warnings.simplefilter("ignore", InputWarning)
    ways = {"rings": {}, "rings, best guess": {"best": True}, "open chains": {}}
    closing: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in ("simulation", *ways)}
    cards: dict[str, list[Scorecard]] = {name: [] for name in ways}
    for number in range(arguments.rings):
        generator = np.random.default_rng(number)
        size = SIZES[number % len(SIZES)]
        sequence = "".join(generator.choice(list("ADEFGHIKLMNPQRSTVWY"), size))
        frames = simulate(sequence, ring_of_springs(size, generator), arguments.picoseconds)
        heavy = frames.atom_slice(frames.topology.select("element != H"))
        reference = slots(heavy)
        closing["simulation"].append(at_the_closing_bond(reference))
        c_alphas = heavy.atom_slice(heavy.topology.select("name CA"))
        topology = replace(Topology.from_sequences(sequence), rings=(0,))
        for name, options in ways.items():
            own = {} if name == "open chains" else {"link": link(sequence)}
            samples = 1 if options else arguments.samples
            built = [backmap.reconstruct(c_alphas, seed=seed, **own, **options) for seed in range(samples)]
            atoms = np.stack([slots(sample) for sample in built])
            closing[name].append(at_the_closing_bond(atoms))
            copies = atoms if len(atoms) > 1 else np.repeat(atoms, 2, axis=0)
            mask = topology.atom_mask
            cards[name].append(score(topology, reference, copies, mask, mask, linked=topology.linked()))
    show(closing, {name: combine(own) for name, own in cards.items()})
    return 0


def show(closing: dict[str, list[dict[str, np.ndarray]]], cards: dict[str, Scorecard]) -> None:
    """Print the table."""
    print(f"| measure | {' | '.join(closing)} |\n|{' --- |' * (len(closing) + 1)}")
    for name in next(iter(closing.values()))[0]:
        values = [np.concatenate([each[name].ravel() for each in rings]) for rings in closing.values()]
        digits = 4 if name.endswith("nm") else 1
        cells = [f"{each.mean():.{digits}f} +- {each.std():.{digits}f}" for each in values]
        print(f"| {name} | {' | '.join(cells)} |")
    for name in MEASURES:
        found = [card.measures[name]["all"].value for card in cards.values()]
        print(f"| {name} | - | {' | '.join(f'{value:.2f}' for value in found)} |")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rings", type=int, default=12, help="how many cyclic peptides (default 12)")
    parser.add_argument("--samples", type=int, default=3, help="draws of each frame (default 3)")
    parser.add_argument("--picoseconds", type=float, default=12.0, help="simulated of each (default 12)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(parse()))
