"""Force matching: a coarse-grained force field whose forces are closest to those of atoms and of noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.cg.config import CgSchNetConfig
from backmap.cg.model import CgForceField
from backmap.cg.schnet import SchNet
from backmap.datasets.mapped_forces import ForceData, MappedForces
from backmap.models.configuration import Number
from backmap.training.cg_noise import ForcesAndNoise
from backmap.training.cg_prior import fit_prior
from backmap.training.loop import LoopConfig, Seed, Stage, train_stage

_REACH_NM = 0.1
"""Over which the network's energy changes by about its scale."""

_FRAMES_AT_ONCE = 2_000
_PRIOR, _SPREAD, _HELD_OUT, _EPOCHS = 3, 4, 5, 6
"""Purposes of noise."""


@dataclass(frozen=True)
class CgSchNetTrainingConfig:
    """How a coarse-grained force field is trained.

    Attributes
    ----------
    loop : LoopConfig
        Epochs, batch, learning rate.
    seed : int
        Decides weights and draws.
    start_frames : int
        Frames kept to start simulations from, drawn from the unbiased ensemble.
    """

    loop: LoopConfig
    seed: Seed = 0
    start_frames: Number = 200


class ForceErrors(NamedTuple):
    """Mean squares of forces, per component, in (kJ/mol/nm)^2.

    Attributes
    ----------
    target : float
        Of what the force field is fitted to: mapped forces, or these and the forces of noise.
    prior : float
        Of what the prior leaves.
    network : float
        Of what prior and network leave. No force field leaves less than the noise of the targets.
    """

    target: float
    prior: float
    network: float


@dataclass(frozen=True)
class CgSchNetTrainingResult:
    """The trained force field, its errors on held-out frames, and the history of its training.

    ``targets`` made the forces to learn from mapped forces and noise.
    """

    force_field: CgForceField
    targets: ForcesAndNoise
    errors: ForceErrors
    history: list[dict[str, float]]


def train_cgschnet(
    config: CgSchNetConfig,
    training: CgSchNetTrainingConfig,
    data: ForceData,
    folder: Path,
    device: torch.device,
    resume: bool,
) -> CgSchNetTrainingResult:
    """Fit the prior, then the network to the forces that the prior leaves.

    With ``config.noise_nm``, both learn from beads with noise, and the forces are those of
    :class:`~backmap.training.cg_noise.ForcesAndNoise`.

    Parameters
    ----------
    config, training
        Configurations.
    data : ForceData
        Frames of beads with forces.
    folder : Path
        Where the state is kept.
    device : torch.device
        Where to train.
    resume : bool
        Go on from the state in ``folder``.

    Raises
    ------
    ValueError
        With one sentence, if the beads of the molecule cannot be connected, or weights of biased frames
        leave too little to learn from noise.
    """
    torch.manual_seed(training.seed)
    force_field = CgForceField(config, data.molecule, data.mapping)
    frames = data.train
    targets = ForcesAndNoise.optimal(frames, config.noise_nm, force_field.kt)
    noisy, _ = targets.draw(frames.beads, frames.forces, np.random.default_rng((training.seed, _PRIOR)))
    fit_prior(force_field.prior, noisy, frames.weights)
    generator = np.random.default_rng((training.seed, 2))
    chosen = generator.choice(len(frames), training.start_frames, p=frames.weights / frames.weights.sum())
    force_field.start = torch.from_numpy(frames.beads[chosen])
    force_field.to(device)
    stage = ForceMatching(force_field, training, targets, frames, data.held_out, device)
    force_field.scale.copy_(stage.spread * _REACH_NM)
    history = train_stage(stage, folder / "cgschnet.state", resume)
    force_field.eval()
    return CgSchNetTrainingResult(force_field.cpu(), targets, stage.errors(), history)


class _Batch(NamedTuple):
    """Beads in nm, forces on them in kJ/mol/nm, and what these count in the fit."""

    beads: Tensor
    forces: Tensor
    confidence: Tensor


class ForceMatching(Stage[_Batch]):
    """Data and loss of a force field.

    Parameters
    ----------
    force_field : CgForceField
        What to train; its prior is fitted.
    config : CgSchNetTrainingConfig
        How.
    targets : ForcesAndNoise
        Makes the forces to learn; noise is new in every epoch.
    data, held_out : MappedForces
        Training and validation frames.
    device : torch.device
        Where to train.
    """

    def __init__(
        self,
        force_field: CgForceField,
        config: CgSchNetTrainingConfig,
        targets: ForcesAndNoise,
        data: MappedForces,
        held_out: MappedForces,
        device: torch.device,
    ) -> None:
        self.force_field, self.config, self.targets = force_field, config, targets
        self.network: SchNet = force_field.network
        self.loop = config.loop
        self.data, self.device = data, device
        self.spread = self._draw(data, _evenly(len(data)), _SPREAD).forces.square().mean().sqrt()
        self.held_out = self._draw(held_out, _evenly(len(held_out)), _HELD_OUT)
        self.target_square = _mean_square(self._targets(held_out, _evenly(len(held_out)), _HELD_OUT))

    def _targets(self, side: MappedForces, at: np.ndarray, *purpose: int) -> _Batch:
        """Draw beads and the forces to learn, with noise of a purpose of its own."""
        rows = self.targets.rows(side, at)
        generator = np.random.default_rng((self.config.seed, *purpose))
        drawn = self.targets.draw(side.beads[rows], side.forces[rows], generator)
        arrays = (*drawn, self.targets.confidence(side.forces[rows]))
        return _Batch(*(torch.from_numpy(array).to(self.device) for array in arrays))

    def _draw(self, side: MappedForces, at: np.ndarray, *purpose: int) -> _Batch:
        """Draw beads and the forces to learn, less those of the prior."""
        beads, forces, confidence = self._targets(side, at, *purpose)
        parts = [
            theirs - _forces(self.force_field.prior, some, False)
            for some, theirs in zip(beads.split(_FRAMES_AT_ONCE), forces.split(_FRAMES_AT_ONCE), strict=True)
        ]
        return _Batch(beads, torch.cat(parts), confidence)

    def loss(self, batch: _Batch) -> Tensor:
        """Mean square of the error of the forces, in units of what the prior leaves."""
        return self._error(batch, training=True) / self.spread.square()

    def _error(self, batch: _Batch, training: bool) -> Tensor:
        forces = self.force_field.scale * _forces(self.network, batch.beads, training)
        return (batch.confidence * (forces - batch.forces).square()).mean()

    def batches(self, epoch: int) -> Iterator[tuple[_Batch, int]]:
        """Frames in random order."""
        size = self.loop.batch
        n_frames = size * max(1, self.loop.drawn_per_epoch // size)
        at = np.random.default_rng((self.config.seed, 1, epoch)).random(n_frames)
        drawn = self._draw(self.data, at, _EPOCHS, epoch)
        for parts in zip(*(tensor.split(size) for tensor in drawn), strict=True):
            yield _Batch(*parts), size

    def validate(self, epoch: int) -> float:
        """Mean square of the error on held-out frames, in units of what the prior leaves."""
        parts = [
            _Batch(*part)
            for part in zip(*(tensor.split(_FRAMES_AT_ONCE) for tensor in self.held_out), strict=True)
        ]
        total = sum(float(self._error(part, training=False)) * len(part.beads) for part in parts)
        return total / len(self.held_out.beads) / float(self.spread) ** 2

    def errors(self) -> ForceErrors:
        """Mean squares of the forces on held-out frames."""
        return ForceErrors(
            self.target_square,
            _mean_square(self.held_out),
            self.validate(0) * float(self.spread) ** 2,
        )


def _mean_square(batch: _Batch) -> float:
    """Return the mean square of forces, each as much as it counts."""
    return float((batch.confidence * batch.forces.square()).mean())


def _evenly(n_frames: int) -> np.ndarray:
    """Return places (frames,) from 0 to 1, one per frame."""
    return (np.arange(n_frames) + 0.5) / n_frames


def _forces(energy: torch.nn.Module, beads: Tensor, training: bool) -> Tensor:
    """Return the forces of an energy; with ``training`` they have a gradient themselves."""
    with torch.enable_grad():
        at = beads.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(energy(at).sum(), at, create_graph=training)
    return -gradient
