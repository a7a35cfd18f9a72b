"""Simulate alanine dipeptide with OpenMM: the data that a temporal model learns from and is judged by.

    python simulate.py --nanoseconds 2 --seed 1 -o train.dcd

The force field is AMBER ff99SB-ILDN at 300 K, one frame a picosecond. The solvent is OBC2 (quick); --explicit
puts the molecule into a box of TIP3P water, as published (J. Phys. Chem. A 2022, 126, 9124), and writes the
solute without the water.
"""

import argparse
import sys
from pathlib import Path

import openmm
from openmm import app, unit
from tqdm import tqdm

STRUCTURE = Path(__file__).with_name("alanine_dipeptide.pdb")
TEMPERATURE = 300 * unit.kelvin
STEP = 2 * unit.femtoseconds
STEPS_PER_FRAME = 500
EQUILIBRATION_PS = 100


def make_simulation(explicit: bool, seed: int, platform: str | None) -> tuple[app.Simulation, list[int]]:
    """A minimised simulation with random velocities, and the indices of the solute's atoms."""
    structure = app.PDBFile(str(STRUCTURE))
    modeller = app.Modeller(structure.topology, structure.positions)
    solute = list(range(modeller.topology.getNumAtoms()))
    if explicit:
        force_field = app.ForceField("amber99sbildn.xml", "tip3p.xml")
        modeller.addSolvent(force_field, padding=1.0 * unit.nanometers, model="tip3p")
        system = force_field.createSystem(
            modeller.topology,
            nonbondedMethod=app.PME,
            nonbondedCutoff=0.9 * unit.nanometers,
            constraints=app.HBonds,
        )
    else:
        force_field = app.ForceField("amber99sbildn.xml", "amber99_obc.xml")
        system = force_field.createSystem(
            modeller.topology, nonbondedMethod=app.NoCutoff, constraints=app.HBonds
        )
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 1 / unit.picosecond, STEP)
    integrator.setRandomNumberSeed(seed)
    chosen = (openmm.Platform.getPlatformByName(platform),) if platform else ()
    simulation = app.Simulation(modeller.topology, system, integrator, *chosen)
    simulation.context.setPositions(modeller.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, seed)
    return simulation, solute


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanoseconds", type=float, default=2.0, help="length (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of velocities and thermostat (%(default)s)")
    parser.add_argument("--explicit", action="store_true", help="in TIP3P water, as published")
    parser.add_argument("--platform", help="OpenMM platform; Reference is the fastest without water on a CPU")
    parser.add_argument("-o", "--output", type=Path, required=True, help="DCD file of the solute")
    arguments = parser.parse_args()
    default = None if arguments.explicit else "Reference"
    simulation, solute = make_simulation(arguments.explicit, arguments.seed, arguments.platform or default)
    simulation.step(round(EQUILIBRATION_PS * unit.picoseconds / STEP))
    partial = arguments.output.with_suffix(".partial.dcd")
    simulation.reporters.append(app.DCDReporter(str(partial), STEPS_PER_FRAME, atomSubset=solute))
    frames = round(1000 * arguments.nanoseconds)
    for done in tqdm(range(0, frames, 100), unit=" x 100 ps", disable=not sys.stderr.isatty()):
        simulation.step(STEPS_PER_FRAME * min(100, frames - done))
    simulation.reporters.clear()
    partial.rename(arguments.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
