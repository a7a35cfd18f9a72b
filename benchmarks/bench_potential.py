"""How fast are potential energies of a batch of alanine dipeptide, against OpenMM frame by frame?"""

from argparse import Namespace
from functools import partial
from pathlib import Path

import openmm
import torch
from compare import arguments, every, measure, report
from openmm import app, unit

from backmap.physics import Potential
from backmap.physics.force_field import ForceField

STRUCTURE = Path(__file__).parents[1] / "examples" / "alanine_dipeptide" / "alanine_dipeptide.pdb"
FRAMES = 64
FORCE_FIELDS = {
    "in vacuum": ["amber99sbildn.xml"],
    "in implicit solvent": ["amber99sbildn.xml", "amber99_obc.xml"],
}


def frame_by_frame(context, frames, *, forces: bool) -> None:
    """What a training loop would ask of OpenMM."""
    for positions in frames:
        context.setPositions(positions)
        state = context.getState(energy=True, forces=forces)
        state.getPotentialEnergy()
        if forces:
            state.getForces(asNumpy=True)


def run(options: Namespace) -> None:
    structure = app.PDBFile(str(STRUCTURE))
    start = torch.tensor(structure.positions.value_in_unit(unit.nanometer))
    frames = start + 0.005 * torch.randn(FRAMES, *start.shape)
    for surroundings, files in FORCE_FIELDS.items():
        system = app.ForceField(*files).createSystem(structure.topology, nonbondedMethod=app.NoCutoff)
        force_field = ForceField.from_openmm(system)
        contexts = {
            name: openmm.Context(
                system,
                openmm.VerletIntegrator(0.001),
                openmm.Platform.getPlatformByName(name),
                {"Threads": str(options.threads)} if name == "CPU" else {},
            )
            for name in ("Reference", "CPU")
        }
        potentials = {
            "backmap, float32, compiled": Potential(force_field, compiled=True),
            "backmap, float32": Potential(force_field),
            "backmap, float64": Potential(force_field, torch.float64),
        }
        batch = frames.to(options.device)
        for forces, title in ((False, "energies"), (True, "energies and forces")):
            kind = "energy_and_gradient" if forces else "forward"
            calls = {
                name: partial(
                    getattr(potential.to(options.device), kind), batch.double() if "64" in name else batch
                )
                for name, potential in potentials.items()
            }
            for name, context in contexts.items():
                calls[f"OpenMM {name}"] = partial(
                    frame_by_frame, context, frames.double().numpy(), forces=forces
                )
            calls["backmap, float32, compiled"]()  # compiling is not what is measured
            timings = [measure(name, call, FRAMES, options) for name, call in calls.items()]
            report(
                f"{FRAMES} frames of alanine dipeptide {surroundings}, {title}", timings, "frames", options
            )


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
