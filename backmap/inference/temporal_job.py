"""Everything that determines the frames of a rollout, as a value to send to other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from backmap.errors import InputError
from backmap.inference.refinement import Refinement, RefinementConfig
from backmap.inference.temporal import RolledFrames, TemporalBuilder
from backmap.models.model_file import ModelFile
from backmap.models.temporal.model import TemporalModel

State = dict[str, np.ndarray]
"""Everything that later frames depend on; each array has one entry per trajectory."""


@dataclass(frozen=True)
class TemporalJob:
    """How the trajectories of one molecule are rolled out.

    Parameters
    ----------
    model : ModelFile
        A temporal model.
    samples : int
        Independent rollouts of each trajectory.
    seed : int
        Seed of the random numbers.
    refine : int
        Simulation steps per frame with its beads held fixed; 0 for none.
    temperature_kelvin : float, optional
        Temperature of this simulation; by default that of the model's training data.
    library : ndarray, (frames, window, atoms, 3) float32, optional
        Frames to start from in nm, instead of the model's own.
    """

    model: ModelFile
    samples: int = 1
    seed: int = 0
    refine: int = 0
    temperature_kelvin: float | None = None
    library: np.ndarray | None = None

    def load(self, device: torch.device | str) -> TemporalModel:
        """Load the model on a device, with its start frames."""
        model = cast("TemporalModel", self.model.load(device))  # the family of the file chose the job
        if self.library is not None:
            model.library = torch.from_numpy(self.library).to(device)
        return model

    def open(self, device: torch.device | str) -> Roller:
        """Load the model on a device, ready for rollouts.

        Raises
        ------
        InputError
            If the model is invalid, or cannot refine frames although the job asks for it.
        """
        return Roller(self, self.load(device), torch.device(device))


class Roller:
    """Rolls out the trajectories of a job, some frames at a time; the caller keeps the state."""

    def __init__(self, job: TemporalJob, model: TemporalModel, device: torch.device) -> None:
        self.job, self.model, self._device = job, model, device
        self._refinement = make_refinement(model, job.model.name, job.refine, job.temperature_kelvin)

    def __call__(
        self,
        trajectories: Sequence[int],
        state: State | None,
        chunks: Sequence[np.ndarray],
        numbers: Sequence[np.ndarray],
    ) -> tuple[list[RolledFrames], State]:
        """Build the next frames of some trajectories.

        Parameters
        ----------
        trajectories : sequence of int
            Number of each trajectory; it determines the random numbers.
        state : dict of str to ndarray, optional
            State after the previous frames; None at the beginning.
        chunks, numbers
            Beads and numbers of the frames, as for :meth:`TemporalBuilder.reconstruct`.

        Returns
        -------
        rolled : list of RolledFrames
            One per trajectory.
        state : dict of str to ndarray
            State for the next frames.
        """
        roller = TemporalBuilder(
            self.model,
            samples=self.job.samples,
            seed=self.job.seed,
            trajectories=trajectories,
            refinement=self._refinement,
            device=self._device,
        )
        if state is not None:
            roller.restore(state)
        return roller.reconstruct(chunks, numbers), roller.state


def make_refinement(
    model: TemporalModel, name: str, steps: int, temperature_kelvin: float | None
) -> Refinement | None:
    """Create the refinement of a model's frames by its force field.

    Parameters
    ----------
    model : TemporalModel
        Source of the force field and the temperature.
    name : str
        Name of the model, for messages.
    steps : int
        Simulation steps per frame; 0 for none.
    temperature_kelvin : float, optional
        Temperature instead of that of the training data.

    Raises
    ------
    InputError
        If the model contains no force field, or its beads are not single atoms.
    """
    if not steps:
        if temperature_kelvin is not None:
            raise InputError(
                f"a temperature ({temperature_kelvin:g} K) applies to refined frames only; also set refine"
            )
        return None
    if model.force_field is None:
        raise InputError(
            f"{name}: contains no force field to refine frames with; "
            "train the model with an [energy] table that names one"
        )
    if model.mapping.bead_atoms is None:
        raise InputError(f"{name}: cannot refine frames, because its beads are not single atoms")
    temperature = model.config.temperature_kelvin if temperature_kelvin is None else temperature_kelvin
    config = RefinementConfig(
        steps=steps,
        temperature_kelvin=temperature,
        noise=model.config.refined_noise,
        draws=model.config.refined_draws,
    )
    device = next(model.buffers()).device
    return Refinement(model.force_field, list(model.mapping.bead_atoms), model.library[:, -1], config, device)
