"""All that decides the frames of a rollout, as a value that can be sent to other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backmap.errors import InputError
from backmap.inference.refinement import Refinement, RefinementConfig
from backmap.inference.temporal import RolledFrames, TemporalBuilder
from backmap.models.checkpoint import ModelFile
from backmap.models.temporal.model import TemporalModel

State = dict[str, np.ndarray]
"""What later frames depend on; every array has an entry for each trajectory."""


@dataclass(frozen=True)
class TemporalJob:
    """How trajectories of one molecule are rolled out.

    Parameters
    ----------
    model : ModelFile
        A temporal model.
    samples : int
        Independent rollouts of each trajectory.
    seed : int
        Seed of the random numbers.
    refine : int
        Steps of the simulation of every frame with its beads held; 0 for none.
    temperature_kelvin : float, optional
        Of that simulation; by default that of the model's training data.
    library : ndarray, (frames, window, atoms, 3) float32, optional
        Frames to start from instead of the model's own, in nm.
    """

    model: ModelFile
    samples: int = 1
    seed: int = 0
    refine: int = 0
    temperature_kelvin: float | None = None
    library: np.ndarray | None = None

    def load(self, device: torch.device | str) -> TemporalModel:
        """Load the model on a device, with the frames it starts from."""
        model = self.model.load(device)
        assert isinstance(model, TemporalModel)  # options choose the job by the model's family
        if self.library is not None:
            model.library = torch.from_numpy(self.library).to(device)
        return model

    def open(self, device: torch.device | str) -> Roller:
        """Load the model on a device, ready to roll.

        Raises
        ------
        InputError
            If the frames cannot be refined with it, or the file holds no model.
        """
        return Roller(self, self.load(device), torch.device(device))


class Roller:
    """Rolls trajectories as a job says, some frames at a time; what lies between is in the caller's hands."""

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
            Number of each, which its random numbers belong to.
        state : dict of str to ndarray, optional
            What came out after the frames before; nothing at the beginning.
        chunks, numbers
            Beads and numbers of the frames, as for :meth:`TemporalBuilder.reconstruct`.

        Returns
        -------
        rolled : list of RolledFrames
            One a trajectory.
        state : dict of str to ndarray
            For the frames to come.
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
    """Make the refinement of a model's frames, by the force field it holds.

    Parameters
    ----------
    model : TemporalModel
        Where its force field and temperature come from.
    name : str
        What the user calls the model.
    steps : int
        0 for none.
    temperature_kelvin : float, optional
        Instead of that of the training data.

    Raises
    ------
    InputError
        If the model holds no force field, or its beads are no atoms.
    """
    if not steps:
        if temperature_kelvin is not None:
            raise InputError(
                f"a temperature ({temperature_kelvin:g} K) has a meaning for refined frames alone"
            )
        return None
    if model.force_field is None:
        raise InputError(
            f"{name}: holds no force field to refine frames with; "
            "train the model with a table [energy] that names one"
        )
    if model.mapping.bead_atoms is None:
        raise InputError(f"{name}: its beads are means of atoms, and only beads that are atoms can be held")
    temperature = model.config.temperature_kelvin if temperature_kelvin is None else temperature_kelvin
    config = RefinementConfig(
        steps=steps,
        temperature_kelvin=temperature,
        noise=model.config.refined_noise,
        draws=model.config.refined_draws,
    )
    device = next(model.buffers()).device
    return Refinement(model.force_field, list(model.mapping.bead_atoms), model.library[:, -1], config, device)
