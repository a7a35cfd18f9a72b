"""Simulate C-alphas with OpenMM and build all atoms while the simulation runs.

    python openmm_live.py --frames 20 -o live.xtc

The coarse-grained model is an elastic network: springs along the chain and between C-alphas that are near
each other in the starting structure, in a Langevin heat bath. `BackmappingReporter` works in any simulation
of C-alphas, whatever their forces.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
import openmm
from openmm import app, unit

import backmap

HERE = Path(__file__).parent
BEAD_MASS = 110.0 * unit.dalton
CHAIN_STIFFNESS, NETWORK_STIFFNESS = 20000.0, 500.0
"""Of springs between neighbours in sequence and of all others, kJ/mol/nm^2."""
NETWORK_REACH_NM = 0.9
TEMPERATURE = 300.0 * unit.kelvin


class BackmappingReporter:
    """Builds all atoms of C-alphas while they are simulated, and writes them as an XTC file.

    The structure of the first frame goes to a PDB file of the same name.

    Parameters
    ----------
    path : path
        XTC file to write.
    interval : int
        Steps between frames.
    topology : mdtraj.Topology
        The C-alphas, in the order of the simulation's particles.
    model : str or path
        What builds the atoms.
    seed : int
        Of its random numbers.
    """

    def __init__(
        self, path: Path, interval: int, topology: mdtraj.Topology, *, model: str = "protein", seed: int = 0
    ) -> None:
        self._path, self._interval = path, interval
        self._waiting: deque[np.ndarray] = deque()
        self._built = backmap.reconstruct_stream(
            self._frames(), top=topology, model=model, samples=1, seed=seed
        )
        self._file = mdtraj.open(str(path), "w")
        self.frames = 0

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, object]:  # noqa: N802 (OpenMM's name)
        """Tell OpenMM when the next report is due and that it needs positions."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": False, "include": ["positions"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Build the atoms of one frame and write them."""
        self._waiting.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
        atoms = next(self._built)
        if not self.frames:
            atoms.save_pdb(str(self._path.with_suffix(".pdb")))
        time = state.getTime().value_in_unit(unit.picosecond)
        self._file.write(atoms.xyz, time=[time], step=[simulation.currentStep])
        self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _frames(self) -> Iterator[np.ndarray]:
        """What is simulated, one frame for each that is asked for."""
        while True:
            yield self._waiting.popleft()


def elastic_network(positions: np.ndarray, chains: list[int]) -> openmm.System:
    """Make an elastic network of C-alphas (beads, 3) in nm; bonds join neighbours of one chain."""
    system, springs = openmm.System(), openmm.HarmonicBondForce()
    for _ in positions:
        system.addParticle(BEAD_MASS)
    for first, second in zip(*np.triu_indices(len(positions), 1), strict=True):
        distance = float(np.linalg.norm(positions[first] - positions[second]))
        bonded = second == first + 1 and chains[first] == chains[second]
        if bonded or distance < NETWORK_REACH_NM:
            stiffness = CHAIN_STIFFNESS if bonded else NETWORK_STIFFNESS
            springs.addBond(int(first), int(second), distance, stiffness)
    system.addForce(springs)
    return system


def main() -> None:
    """Simulate and build."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("structure", type=Path, nargs="?", default=HERE / "ww_c_alpha.pdb", help="with C-alphas")
    add("--frames", type=int, default=20, help="to build (%(default)s)")
    add("--interval", type=int, default=500, metavar="STEPS", help="between them, of 10 fs (%(default)s)")
    add("--seed", type=int, default=0, help="of simulation and model (%(default)s)")
    add("-o", "--output", type=Path, default=Path("live.xtc"), help="XTC file (%(default)s)")
    arguments = parser.parse_args()

    structure = mdtraj.load(str(arguments.structure))
    beads = structure.atom_slice(structure.topology.select("name CA"))[0]
    chains = [atom.residue.chain.index for atom in beads.topology.atoms]
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 1 / unit.picosecond, 10 * unit.femtoseconds)
    integrator.setRandomNumberSeed(arguments.seed + 1)  # OpenMM takes 0 for any
    platform = openmm.Platform.getPlatformByName("Reference")  # the fastest for so few particles
    system = elastic_network(beads.xyz[0], chains)
    simulation = app.Simulation(beads.topology.to_openmm(), system, integrator, platform)
    simulation.context.setPositions(beads.xyz[0])
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, arguments.seed + 1)
    reporter = BackmappingReporter(arguments.output, arguments.interval, beads.topology, seed=arguments.seed)
    simulation.reporters.append(reporter)
    simulation.step(arguments.frames * arguments.interval)
    reporter.close()
    print(f"{reporter.frames} frames of {beads.n_atoms} C-alphas built while they were simulated")


if __name__ == "__main__":
    main()
