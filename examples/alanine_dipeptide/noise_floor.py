"""The noise of mapped forces: what no coarse-grained force field can leave less of.

    python noise_floor.py cg/cgschnet.safetensors enhanced.dcd

The mapped force on a bead varies while all beads stay where they are, because the other atoms move. This
variance is measured: in some frames of the trajectory the atoms that are beads are made so heavy that they do
not move, and the other atoms are simulated with the force field of the data. The mean over the frames is the
least mean square error of any force field of these beads. How far the model's forces are from the mean of the
mapped forces in these frames is what it has still to learn.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import app, unit
from safetensors import safe_open
from tqdm import tqdm

from backmap.cg.model import load_force_field

HEAVY = 1e9 * unit.dalton
STEP_FS, EQUILIBRATION_PS, INTERVAL_PS = 2, 2.0, 0.2
FORCE_UNIT = unit.kilojoules_per_mole / unit.nanometer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("force_field", type=Path, help="from `backmap train cgschnet`; its beads must be atoms")
    add("trajectory", type=Path, help="DCD file of all atoms")
    add("--top", type=Path, default=Path("alanine_dipeptide.pdb"), help="(%(default)s)")
    add("--frames", type=int, default=60, help="frames whose beads are held (%(default)s)")
    add("--samples", type=int, default=50, help="forces per frame (%(default)s)")
    add("--seed", type=int, default=1, help="of the thermostat (%(default)s)")
    arguments = parser.parse_args()

    force_field = load_force_field(arguments.force_field)
    with safe_open(arguments.force_field, "np") as file:
        weights = np.array(json.loads(file.metadata()["provenance"])["force_mapping"])
    beads = force_field.mapping.bead_atoms
    assert beads is not None, "beads that are means of atoms cannot be held"
    pdb = app.PDBFile(str(arguments.top))
    forces = app.ForceField("amber99sbildn.xml", "amber99_obc.xml")
    system = forces.createSystem(pdb.topology, constraints=app.HBonds)
    for atom in beads:
        system.setParticleMass(atom, HEAVY)
    temperature = force_field.config.temperature_kelvin * unit.kelvin
    integrator = openmm.LangevinMiddleIntegrator(
        temperature, 5 / unit.picosecond, STEP_FS * unit.femtoseconds
    )
    integrator.setRandomNumberSeed(arguments.seed)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(pdb.topology, system, integrator, platform)

    variances, errors = [], []
    for positions in tqdm(frames_of(arguments)):
        simulation.context.setPositions(positions)
        simulation.context.setVelocitiesToTemperature(temperature, arguments.seed)
        simulation.step(round(1000 * EQUILIBRATION_PS / STEP_FS))
        mapped = []
        for _ in range(arguments.samples):
            simulation.step(round(1000 * INTERVAL_PS / STEP_FS))
            state = simulation.context.getState(forces=True)
            mapped.append(weights @ state.getForces(asNumpy=True).value_in_unit(FORCE_UNIT))
        sampled = np.array(mapped)
        variances.append(sampled.var(axis=0, ddof=1).mean())
        at = torch.from_numpy(positions[list(beads)]).float().unsqueeze(0)
        model = force_field.energy_and_forces(at)[1][0].numpy()
        # The mean of the samples is itself uncertain, by the variance of their mean.
        errors.append(np.square(sampled.mean(axis=0) - model).mean() - variances[-1] / len(sampled))
    floor, left = np.mean(variances), np.mean(errors)
    spread = np.std(variances) / np.sqrt(len(variances)), np.std(errors) / np.sqrt(len(errors))
    print(f"noise of mapped forces: {floor:.0f} +- {spread[0]:.0f} (kJ/mol/nm)^2 per component")
    print(f"error of the model's mean force: {left:.0f} +- {spread[1]:.0f} (kJ/mol/nm)^2 per component")
    return 0


def frames_of(arguments: argparse.Namespace) -> list[np.ndarray]:
    """Frames (atoms, 3) in nm, equally far apart."""
    import mdtraj

    trajectory = mdtraj.load(str(arguments.trajectory), top=str(arguments.top))
    rows = np.linspace(0, len(trajectory) - 1, arguments.frames).round().astype(int)
    return list(trajectory.xyz[rows].astype(np.float64))


if __name__ == "__main__":
    raise SystemExit(main())
