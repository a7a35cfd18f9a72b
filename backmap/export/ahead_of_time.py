"""Ahead-of-time packages: one step of a temporal model as machine code (torch.export, AOTInductor)."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backmap.errors import InputError
from backmap.export.torchscript import FORMAT_VERSION
from backmap.models.counter_random import trajectory_keys
from backmap.models.temporal.config import Representation
from backmap.models.temporal.model import TemporalModel
from backmap.models.temporal.watched_steps import WatchedSteps

MOST_TRAJECTORIES = 1 << 20


class TemporalStep(nn.Module):
    """One draw of the next frame of any number of trajectories, without loops or branches.

    Parameters
    ----------
    model : TemporalModel
        Trained model.
    """

    def __init__(self, model: TemporalModel) -> None:
        super().__init__()
        self.steps = WatchedSteps(model, redraws=0)

    def forward(
        self, beads: Tensor, previous: Tensor, frame: Tensor, seed: Tensor, attempt: Tensor, numbers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw frames.

        Parameters
        ----------
        beads : Tensor, (trajectories, beads, 3) float64
            In nm.
        previous : Tensor, (trajectories, previous_frames, atoms, 3) float64
            Previous frames in nm, the newest last.
        frame, seed : Tensor, () int64
            Number of the frame, and seed of the random numbers.
        attempt : Tensor, () int64
            0 at first; increment it to redraw an unphysical frame with other random numbers.
        numbers : Tensor, (trajectories,) int64
            Numbers of the trajectories; they determine the random numbers.

        Returns
        -------
        Tensor, (trajectories, atoms, 3) float64
            In nm.
        Tensor, (trajectories, previous_frames, atoms, 3) float64
            ``previous`` for the next frame.
        Tensor, (trajectories,) bool
            Whether each frame is physical.
        """
        origin = beads[:, :1]
        # Tensors where an int is declared: torch.export would make a constant of an int.
        keys = trajectory_keys(seed, numbers, 1, frame.expand(1)).flatten()  # type: ignore[arg-type]
        near, past = (beads - origin).float(), (previous - origin.unsqueeze(1)).float()
        drawn, physical = self.steps.draw(near, past, keys, attempt)  # type: ignore[arg-type]
        atoms = drawn.double() + origin
        return atoms, torch.cat([previous[:, 1:], atoms.unsqueeze(1)], dim=1), physical


def save_ahead_of_time(path: Path, model: nn.Module, metadata: dict[str, Any], card: str) -> None:
    """Compile a step of a temporal model for this machine's processor and write the package.

    Parameters
    ----------
    path : Path
        File to write; its name must end in ``.pt2``.
    model : nn.Module
        Trained model.
    metadata : dict
        Further entries of the package's metadata; anything JSON can represent.
    card : str
        The model card.

    Raises
    ------
    InputError
        If the model cannot be compiled ahead of time.
    """
    if not isinstance(model, TemporalModel):
        raise InputError(
            "only temporal models can be compiled ahead of time, because the others branch on their input; "
            "use --format torchscript"
        )
    if model.config.representation == Representation.VOXELS:
        raise InputError(
            "voxel models cannot be compiled ahead of time, because they call backmap's operators; use "
            "--format torchscript"
        )
    frames = model.library[:2].double()
    if len(frames) < 2:
        raise InputError("the model contains no frames to start from and cannot be compiled ahead of time")
    # Each input is its own tensor: torch.export would merge identical ones.
    counts = [torch.tensor(0) for _ in ("frame", "seed", "attempt")]
    inputs = (model.beads_of(frames[:, -1]), frames[:, :-1].clone(), *counts, torch.arange(2))
    rows = {0: torch.export.Dim("trajectories", min=1, max=MOST_TRAJECTORIES)}
    shapes = (rows, rows, None, None, None, rows)
    described = {"format": FORMAT_VERSION, "family": "temporal", "units": {"length": "nm"}, **metadata}
    extra = {"format": str(FORMAT_VERSION), "metadata.json": json.dumps(described), "card.md": card}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(TemporalStep(model).eval(), inputs, dynamic_shapes=shapes)
        _compile(program, path, extra)


def _compile(program: torch.export.ExportedProgram, path: Path, metadata: dict[str, str]) -> None:
    settings = {"aot_inductor.metadata": metadata}
    try:
        torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
    except torch._inductor.exc.InductorError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the package could not be compiled ({reason}): it needs a C++ compiler") from None
