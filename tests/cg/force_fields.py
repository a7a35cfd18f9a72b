"""A small force field of alanine dipeptide, with a prior that fits it and a network that nothing trained."""

from __future__ import annotations

import numpy as np
import torch

from backmap.cg.config import CgSchNetConfig, SchNetConfig
from backmap.cg.model import CgForceField
from backmap.training.cg_prior import fit_prior
from tests.models.temporal.dipeptide import dipeptide, moving_dipeptide

CONFIG = CgSchNetConfig(network=SchNetConfig(features=8, blocks=2, basis=6, cutoff_nm=0.8))


def small_force_field(scale: float = 1.0, frames: int = 60) -> CgForceField:
    """Make the force field; ``scale`` is that of the network's energy, in kJ/mol."""
    molecule, mapping, _ = dipeptide()
    torch.manual_seed(3)
    force_field = CgForceField(CONFIG, molecule, mapping)
    beads = mapping.apply(moving_dipeptide(frames).coordinates).astype(np.float32)
    fit_prior(force_field.prior, beads, np.ones(frames))
    force_field.start = torch.from_numpy(beads)
    force_field.scale.fill_(scale)
    return force_field.eval()
