"""Simulate a molecule with OpenMM: the data that a temporal model learns from and is judged by.

    python simulate.py alanine_dipeptide/alanine_dipeptide.pdb --nanoseconds 2 --seed 1 -o train.dcd

The force field is AMBER ff99SB-ILDN, bonds to hydrogen are constrained. The solvent is OBC2 (quick);
--explicit puts the molecule into a box of TIP3P water, as published (J. Phys. Chem. A 2022, 126, 9124), and
writes the solute without the water. Missing hydrogens are added at pH 7. The topology of the output, with
all hydrogens, is written beside it as PDB.
"""

import argparse
import gzip
import io
import sys
from pathlib import Path

import openmm
from openmm import app, unit
from tqdm import tqdm

STEP_FS, LONG_STEP_FS = 2, 4
HEAVY_HYDROGEN = 3 * unit.amu
"""Mass of hydrogens, taken from their neighbours, for the long step; equilibria do not depend on it."""


def read_structure(path: Path) -> app.PDBFile:
    """A PDB file, compressed or not."""
    text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
    return app.PDBFile(io.StringIO(text))


def step_fs(arguments: argparse.Namespace) -> int:
    """Time step in femtoseconds."""
    return LONG_STEP_FS if arguments.heavy_hydrogens else STEP_FS


def make_simulation(arguments: argparse.Namespace) -> tuple[app.Simulation, list[int]]:
    """A minimised simulation with random velocities, and the indices of the solute's atoms.

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
    return simulation, solute


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
    add("--frame-interval", type=int, default=1, metavar="PS", help="time between frames (%(default)s)")
    add("--equilibration", type=int, default=100, metavar="PS", help="before the first frame (%(default)s)")
    add("--temperature", type=float, default=300.0, metavar="K", help="(%(default)s)")
    add("--seed", type=int, default=1, help="of velocities and thermostat (%(default)s)")
    add("--explicit", action="store_true", help="in TIP3P water, as published")
    add("--heavy-hydrogens", action="store_true", help="3 amu and a step of 4 fs: twice the speed")
    add("--platform", help="of OpenMM; Reference is the fastest for a few atoms without water on a CPU")
    add("--threads", type=int, help="of the CPU platform; all processors by default")
    add("-o", "--output", type=Path, required=True, help="DCD file of the solute")
    arguments = parser.parse_args()
    simulation, solute = make_simulation(arguments)
    steps_per_ps = 1000 // step_fs(arguments)
    simulation.step(arguments.equilibration * steps_per_ps)
    write_solute(simulation, solute, arguments.output.with_suffix(".pdb"))
    partial = arguments.output.with_suffix(".partial.dcd")
    every = steps_per_ps * arguments.frame_interval
    simulation.reporters.append(app.DCDReporter(str(partial), every, atomSubset=solute))
    frames = round(1000 * arguments.nanoseconds / arguments.frame_interval)
    for done in tqdm(range(0, frames, 100), unit=" x 100 frames", disable=not sys.stderr.isatty()):
        simulation.step(every * min(100, frames - done))
    simulation.reporters.clear()
    partial.rename(arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
