"""TorchScript files: a model's code, weights, chemistry and card in one archive, for use without Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backmap.cg.model import CgForceField
from backmap.chemistry.bead_mapping import BeadMapping
from backmap.export.beads import ExportedBeads
from backmap.export.cgschnet import ExportedForceField
from backmap.export.diamondback import DiamondbackDrawer
from backmap.export.protein import ExportedProtein
from backmap.export.temporal import ExportedTemporal
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.protein.model import ProteinModel
from backmap.models.temporal.model import TemporalModel

FORMAT_VERSION = 1
"""Version of the exported file: its methods, their arguments and the extra files."""


def make_exportable(
    model: nn.Module, ddim_steps: int = 0, beads: tuple[BeadMapping, CAlphaEstimator | None] | None = None
) -> ExportedProtein | ExportedBeads | ExportedTemporal | ExportedForceField:
    """Wrap a model as a self-contained module on plain tensors.

    Parameters
    ----------
    model : nn.Module
        Trained model of any family.
    ddim_steps : int
        DiAMoNDBack models: steps of the DDIM sampler; 0 for the published sampler.
    beads : tuple of BeadMapping and CAlphaEstimator, optional
        Protein models: what the positions are, and what estimates C-alphas from them, if these are not among
        them; C-alphas by default.
    """
    if isinstance(model, CgForceField):
        return ExportedForceField(model)
    if isinstance(model, TemporalModel):
        return ExportedTemporal(model)
    if isinstance(model, DiamondbackModel):
        return ExportedProtein(DiamondbackDrawer(model, ddim_steps))
    assert isinstance(model, ProteinModel)
    if beads is not None:
        return ExportedBeads(model, *beads)
    return ExportedProtein(model)


def save_torchscript(
    path: Path,
    model: nn.Module,
    metadata: dict[str, Any],
    card: str,
    ddim_steps: int = 0,
    beads: tuple[BeadMapping, CAlphaEstimator | None] | None = None,
) -> None:
    """Compile a model and write it to a file.

    Parameters
    ----------
    path : Path
        File to write.
    model : nn.Module
        Trained model.
    metadata : dict
        Further entries of the file's ``metadata.json``; anything JSON can represent.
    card : str
        The model card.
    ddim_steps, beads
        As for :func:`make_exportable`.

    Notes
    -----
    Besides code and weights, the file contains the extra files (see ``torch.jit.load``) ``format`` (its
    version), ``metadata.json`` and ``card.md``.
    """
    exported = make_exportable(model, ddim_steps, beads).cpu().eval()
    described = {
        "format": FORMAT_VERSION,
        "family": exported.family,
        "units": {"length": exported.length_unit},
        **exported.describe(),
        **metadata,
    }
    extra = {"format": str(FORMAT_VERSION), "metadata.json": json.dumps(described, indent=2), "card.md": card}
    torch.jit.save(torch.jit.script(exported), str(path), _extra_files=extra)
