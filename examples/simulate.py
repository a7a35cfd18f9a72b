"""Simulate a molecule with OpenMM: the data that a temporal model learns from and is judged by.

    python simulate.py alanine_dipeptide/alanine_dipeptide.pdb --nanoseconds 2 --seed 1 -o train.dcd

The force field is AMBER ff99SB-ILDN, bonds to hydrogen are constrained. The solvent is OBC2 (quick);
--explicit puts the molecule into a box of TIP3P water, as published (J. Phys. Chem. A 2022, 126, 9124), and
writes the solute without the water. Missing hydrogens are added at pH 7. The topology of the output, with
all hydrogens, is written beside it as PDB.

--forces also writes the force on every atom of the solute (``train.forces.npy``: frames, atoms, 3; in
kJ/mol/nm), the data of `backmap train cgschnet`. --flatten lets the molecule cross the barriers of torsions
that it crosses too seldom: well-tempered metadynamics (Barducci et al., Phys. Rev. Lett. 100, 020603, 2008)
learns their free energy before the first frame, and the bias then stays as it is. The forces do not include
it; ``train.log_weights.npy`` holds the logarithm of the weight of each frame in the unbiased ensemble.
"""

import argparse
import gzip
import io
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from openmm.app.metadynamics import BiasVariable, Metadynamics
from tqdm import tqdm

STEP_FS, LONG_STEP_FS = 2, 4
HEAVY_HYDROGEN = 3 * unit.amu
"""Mass of hydrogens, taken from their neighbours, for the long step; equilibria do not depend on it."""

BIAS_FACTOR, HILL_KJ, HILL_WIDTH, HILLS_EVERY = 12.0, 0.6, 0.25, 250
"""Of metadynamics: tempering, first height (kJ/mol) and width (radians) of hills, time steps between them."""
FORCE_UNIT = unit.kilojoules_per_mole / unit.nanometer


def read_structure(path: Path) -> app.PDBFile:
    """A PDB file, compressed or not."""
    text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
    return app.PDBFile(io.StringIO(text))


def step_fs(arguments: argparse.Namespace) -> int:
    """Time step in femtoseconds."""
    return LONG_STEP_FS if arguments.heavy_hydrogens else STEP_FS


def make_bias(system: openmm.System, arguments: argparse.Namespace) -> Metadynamics:
    """Metadynamics along the torsions to flatten; its force is added to the system in a group of its own."""
    torsions = []
    for atoms in arguments.flatten:
        angle = openmm.CustomTorsionForce("theta")
        angle.addTorsion(*atoms)
        torsions.append(BiasVariable(angle, -np.pi, np.pi, HILL_WIDTH, periodic=True))
    return Metadynamics(
        system, torsions, arguments.temperature * unit.kelvin, BIAS_FACTOR, HILL_KJ, HILLS_EVERY
    )


class AtomForces:
    """Writes the forces on the solute, without a bias, and the bias of each frame.

    Parameters
    ----------
    path : Path
        File of the trajectory, after which the others are named.
    n_frames : int
        Frames to come.
    n_atoms : int
        Atoms of the solute.
    steps : int
        Time steps between frames.
    kt : float
        Thermal energy, kJ/mol.
    biased : bool
        Whether there is a bias.
    """

    def __init__(self, path: Path, n_frames: int, n_atoms: int, steps: int, kt: float, biased: bool) -> None:
        self.names = {"forces": (n_frames, n_atoms, 3)} | ({"log_weights": (n_frames,)} if biased else {})
        self.path, self.steps, self.kt, self.frame = path, steps, kt, 0
        self.arrays = {
            name: np.lib.format.open_memmap(self._partial(name), "w+", np.float32, shape)
            for name, shape in self.names.items()
        }

    def _partial(self, name: str) -> Path:
        return self.path.with_name(f".{self.path.stem}.{name}.partial.npy")

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, object]:  # noqa: N802, OpenMM's name
        """When to report next."""
        return {"steps": self.steps - simulation.currentStep % self.steps, "periodic": None, "include": []}

    def report(self, simulation: app.Simulation, _: openmm.State) -> None:
        """Write the forces of this frame."""
        groups = {force.getForceGroup() for force in simulation.system.getForces()}
        bias_groups = groups - {0}
        state = simulation.context.getState(forces=True, groups={0})
        forces = state.getForces(asNumpy=True).value_in_unit(FORCE_UNIT)
        self.arrays["forces"][self.frame] = forces[: self.names["forces"][1]]
        if "log_weights" in self.arrays:
            bias = simulation.context.getState(energy=True, groups=bias_groups).getPotentialEnergy()
            self.arrays["log_weights"][self.frame] = bias.value_in_unit(unit.kilojoules_per_mole) / self.kt
        self.frame += 1

    def finish(self) -> None:
        """Give the files their names."""
        for name, array in self.arrays.items():
            array.flush()
            self._partial(name).rename(self.path.with_suffix(f".{name}.npy"))


def make_simulation(
    arguments: argparse.Namespace,
) -> tuple[app.Simulation, list[int], Metadynamics | None]:
    """A minimised simulation with random velocities, the indices of the solute's atoms, and a bias if wanted.

    The solute comes first: its topology is written by :func:`write_solute`.
    """
    structure = read_structure(arguments.structure)
    modeller = app.Modeller(structure.topology, structure.positions)
    solvent = "tip3p.xml" if arguments.explicit else "amber99_obc.xml"
    force_field = app.ForceField("amber99sbildn.xml", solvent)
    modeller.addHydrogens(force_field)
    solute = list(range(modeller.topology.getNumAtoms()))
    if arguments.explicit:
        modeller.addSolvent(force_field, padding=1.0 * unit.nanometers, model="tip3p")
        options = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.9 * unit.nanometers}
    else:
        options = {"nonbondedMethod": app.NoCutoff}
    if arguments.heavy_hydrogens:
        options["hydrogenMass"] = HEAVY_HYDROGEN
    system = force_field.createSystem(modeller.topology, constraints=app.HBonds, **options)
    bias = make_bias(system, arguments) if arguments.flatten else None
    temperature = arguments.temperature * unit.kelvin
    step = step_fs(arguments) * unit.femtoseconds
    integrator = openmm.LangevinMiddleIntegrator(temperature, 1 / unit.picosecond, step)
    integrator.setRandomNumberSeed(arguments.seed)
    chosen: list[object] = []
    if arguments.platform:
        chosen.append(openmm.Platform.getPlatformByName(arguments.platform))
    if arguments.threads:
        chosen.append({"Threads": str(arguments.threads)})
    simulation = app.Simulation(modeller.topology, system, integrator, *chosen)
    simulation.context.setPositions(modeller.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(temperature, arguments.seed)
    return simulation, solute, bias


def write_solute(simulation: app.Simulation, solute: list[int], path: Path) -> None:
    """Write the solute's topology with its present positions."""
    positions = simulation.context.getState(positions=True).getPositions()
    modeller = app.Modeller(simulation.topology, positions)
    modeller.delete([atom for atom in modeller.topology.atoms() if atom.index >= len(solute)])
    with path.open("w") as file:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, file, keepIds=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("structure", type=Path, help="PDB file with all heavy atoms")
    add("--nanoseconds", type=float, default=2.0, help="length (%(default)s)")
    add("--frame-interval", type=float, default=1.0, metavar="PS", help="time between frames (%(default)s)")
    add("--equilibration", type=int, default=100, metavar="PS", help="before the first frame (%(default)s)")
    add("--temperature", type=float, default=300.0, metavar="K", help="(%(default)s)")
    add("--seed", type=int, default=1, help="of velocities and thermostat (%(default)s)")
    add("--explicit", action="store_true", help="in TIP3P water, as published")
    add("--heavy-hydrogens", action="store_true", help="3 amu and a step of 4 fs: twice the speed")
    add("--platform", help="of OpenMM; Reference is the fastest for a few atoms without water on a CPU")
    add("--threads", type=int, help="of the CPU platform; all processors by default")
    add("--forces", action="store_true", help="write the forces on the solute beside the trajectory")
    add(
        "--flatten",
        type=int,
        nargs=4,
        action="append",
        default=[],
        metavar="ATOM",
        help="four atoms of a torsion, counted from 0, whose barriers to remove; up to three times",
    )
    add("--flattening", type=float, default=4.0, metavar="NS", help="of metadynamics first (%(default)s)")
    add("-o", "--output", type=Path, required=True, help="DCD file of the solute")
    arguments = parser.parse_args()
    simulation, solute, bias = make_simulation(arguments)
    steps_per_ps = 1000 // step_fs(arguments)
    if bias is not None:
        bias.step(simulation, round(1000 * arguments.flattening) * steps_per_ps)
    simulation.step(arguments.equilibration * steps_per_ps)
    write_solute(simulation, solute, arguments.output.with_suffix(".pdb"))
    partial = arguments.output.with_name(f".{arguments.output.stem}.partial.dcd")  # patterns do not match it
    every = round(steps_per_ps * arguments.frame_interval)
    simulation.reporters.append(app.DCDReporter(str(partial), every, atomSubset=solute))
    frames = round(1000 * arguments.nanoseconds / arguments.frame_interval)
    forces = None
    if arguments.forces or bias is not None:
        kt = (unit.MOLAR_GAS_CONSTANT_R * arguments.temperature * unit.kelvin).value_in_unit(
            unit.kilojoules_per_mole
        )
        forces = AtomForces(arguments.output, frames, len(solute), every, kt, bias is not None)
        simulation.reporters.append(forces)
    for done in tqdm(range(0, frames, 100), unit=" x 100 frames", disable=not sys.stderr.isatty()):
        simulation.step(every * min(100, frames - done))
    simulation.reporters.clear()
    if forces is not None:
        forces.finish()
    partial.rename(arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
