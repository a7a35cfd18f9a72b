"""How fast are short simulations of alanine dipeptide in implicit solvent, against steps taken in PyTorch?"""

from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path

import mdtraj
import numpy as np
import torch
from compare import arguments, every, measure, report

from backmap.physics import force_field_from_files
from backmap.physics.langevin import LangevinDynamics, LangevinSettings

STRUCTURE = Path(__file__).parents[1] / "examples" / "alanine_dipeptide" / "alanine_dipeptide.pdb"
FILES = ["amber99sbildn.xml", "amber99_obc.xml"]
STEPS = 50
SETTINGS = LangevinSettings(step_ps=0.002, friction_per_ps=50.0, kt=2.5, largest_move_nm=0.002)


@torch.inference_mode()
def run(options: Namespace) -> None:
    structure = mdtraj.load(str(STRUCTURE))
    force_field = force_field_from_files(structure.topology, FILES, constrain_hydrogens=True)
    inverse = 1 / torch.from_numpy(force_field.masses).float().clamp(min=3.0)
    # A harmonic torsion, which the operator does not have, though it has no strength here.
    other = replace(
        force_field,
        harmonic_torsions=np.array([[4, 6, 8, 14]]),
        harmonic_torsion_parameters=np.zeros((1, 2)),
    )
    for frames in (1, 64):
        atoms = torch.from_numpy(structure.xyz).repeat(frames, 1, 1)
        normals = torch.randn(frames, STEPS, *atoms.shape[1:])
        given = [tensor.to(options.device) for tensor in (atoms, torch.zeros_like(atoms), normals)]
        timings = []
        for name, field in (("backmap", force_field), ("PyTorch, step by step", other)):
            dynamics = LangevinDynamics(field, inverse, SETTINGS).to(options.device)
            timings.append(measure(name, partial(dynamics, *given), frames * STEPS, options))
        report(f"{frames} frames, {STEPS} steps", timings, "steps", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
