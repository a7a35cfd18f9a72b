"""Quality on what coarse-grained models of disordered proteins write: beads that know nothing of angles.

Run from the repository root::

    python benchmarks/condensate.py --chains 100 --frames 5

simulates a periodic slab of chains of random sequence with nothing but bonds of 8033 kJ/mol/nm^2 and soft
spheres of 0.5 nm, as CALVADOS, HPS and Mpipi have them (OpenMM, a minute), wraps it bead by bead, and
rebuilds it with the ``protein`` model, as it comes and with the beads kept as C-alphas.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

import mdtraj
import numpy as np
import openmm
import torch
from openmm import unit

import backmap
from backmap.chemistry import RESIDUE_NAMES

CHAIN_LENGTH = 50
BOND_NM, BOND_STIFFNESS, DIAMETER_NM = 0.38, 8033.0, 0.5
RESIDUES_PER_NM3 = 2.7
STEPS_SOFT, STEPS_BEFORE, STEPS_BETWEEN = 10_000, 30_000, 5_000
RESIDUES_AVERAGED = 10
DISORDERED = "GSQNAPTEDKRLYFVIMHWC"
SHARES = (13, 12, 8, 6, 8, 7, 6, 7, 5, 7, 5, 4, 4, 2, 2, 1, 1, 1, 0.5, 0.5)
"""Residues, roughly as often as disordered regions have them."""


def make_topology(lengths: Iterable[int], random: np.random.Generator) -> mdtraj.Topology:
    """Name the beads of chains of these lengths and of random sequence."""
    letters = dict(zip("ARNDCQEGHILKMFPSTWYV", RESIDUE_NAMES, strict=True))
    topology = mdtraj.Topology()
    for length in lengths:
        chain = topology.add_chain()
        for letter in random.choice(list(DISORDERED), length, p=np.array(SHARES) / sum(SHARES)):
            residue = topology.add_residue(letters[letter], chain)
            topology.add_atom("CA", mdtraj.element.carbon, residue)
    return topology


def simulate(n_chains: int, n_frames: int, random: np.random.Generator) -> mdtraj.Trajectory:
    """Simulate a dense slab in a box three times as long as it is wide, and wrap every bead into the box."""
    n_beads = n_chains * CHAIN_LENGTH
    width = (n_beads / RESIDUES_PER_NM3) ** (1 / 3)
    box = np.array([width, width, 3 * width])
    system = openmm.System()
    for _ in range(n_beads):
        system.addParticle(110.0)
    system.setDefaultPeriodicBoxVectors(*np.diag(box))
    bonds = openmm.HarmonicBondForce()
    contacts = openmm.CustomNonbondedForce(
        "step(d-r)*(hard*(4*((s/r)^12-(s/r)^6)+1)+(1-hard)*30*(1-r/d)^2);"
        f"d={DIAMETER_NM};s={DIAMETER_NM / 2 ** (1 / 6)}"
    )
    contacts.addGlobalParameter("hard", 0.0)
    contacts.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    contacts.setCutoffDistance(DIAMETER_NM)
    bonds.setUsesPeriodicBoundaryConditions(True)
    for bead in range(n_beads):
        contacts.addParticle([])
        if bead % CHAIN_LENGTH:
            bonds.addBond(bead - 1, bead, BOND_NM, BOND_STIFFNESS)
            contacts.addExclusion(bead - 1, bead)
    system.addForce(bonds)
    system.addForce(contacts)
    steps = random.normal(size=(n_chains, CHAIN_LENGTH, 3))
    steps *= BOND_NM / np.linalg.norm(steps, axis=-1, keepdims=True)
    steps[:, 0] = random.random((n_chains, 3)) * width
    integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.01)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": "1"})
    context.setPositions(steps.cumsum(axis=1).reshape(-1, 3))
    openmm.LocalEnergyMinimizer.minimize(context, 10, 2000)
    integrator.step(STEPS_SOFT)  # chains that begin crossed pass through each other
    context.setParameter("hard", 1.0)
    openmm.LocalEnergyMinimizer.minimize(context, 10, 2000)
    integrator.step(STEPS_BEFORE)
    frames = []
    for _ in range(n_frames):
        integrator.step(STEPS_BETWEEN)
        state = context.getState(getPositions=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer) % box)
    trajectory = mdtraj.Trajectory(np.array(frames), make_topology([CHAIN_LENGTH] * n_chains, random))
    trajectory.unitcell_lengths = np.tile(box, (n_frames, 1))
    trajectory.unitcell_angles = np.full((n_frames, 3), 90.0)
    return trajectory


def displacements(beads: mdtraj.Trajectory, atoms: mdtraj.Trajectory) -> tuple[float, float]:
    """Root mean square displacement in nm of C-alphas, and of the centres of ten residues."""
    c_alpha = atoms.xyz[:, atoms.topology.select("name CA")].astype(np.float64)
    box = beads.unitcell_lengths[:, None].astype(np.float64)
    moved = c_alpha - beads.xyz
    moved -= box * np.round(moved / box)
    centres = moved.reshape(len(moved), -1, RESIDUES_AVERAGED, 3).mean(axis=2)
    return tuple(float(np.sqrt(np.square(each).sum(axis=-1).mean())) for each in (moved, centres))


def report(title: str, beads: mdtraj.Trajectory, **options: object) -> None:
    """Rebuild and print a row."""
    start = time.perf_counter()
    first, second = backmap.reconstruct(beads, samples=2, device="cpu", **options)
    seconds = time.perf_counter() - start
    scores = backmap.evaluate(None, first).measures

    def value(name: str) -> str:
        return f"{scores[name]['interior'].value:.2f}"

    moved, centres = displacements(beads, first)
    apart = float(np.sqrt(np.square(first.xyz - second.xyz).sum(axis=-1).mean()))
    names = (
        "ramachandran_favoured",
        "ramachandran_outliers",
        "angle_n_ca_c_off",
        "angle_ca_c_n_off",
        "bond",
        "clash",
        "rings",
    )
    cells = [value(name) for name in names] + [f"{moved:.3f}", f"{centres:.3f}", f"{apart:.3f}"]
    speed = 2 * beads.n_frames * beads.n_atoms / seconds
    print(f"| {title} | {' | '.join(cells)} | {speed:.0f} |", flush=True)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    beads = simulate(arguments.chains, arguments.frames, np.random.default_rng(arguments.seed))
    heads = ["C-alphas", "Ramachandran favoured %", "outliers %", "N-CA-C off %", "CA-C-N off %"]
    heads += ["bonds %", "clashes %", "pierced rings per 1000", "moved, nm", "centres of ten moved, nm"]
    heads += ["two samples differ, nm", "residues/s"]
    print(f"| {' | '.join(heads)} |")
    print("| --- " * len(heads) + "|")
    report("drawn", beads)
    report("kept", beads, c_alphas="keep")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
