"""Force matching: a coarse-grained force field whose forces are closest to those of the atoms."""

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
from backmap.training.cg_prior import fit_prior
from backmap.training.loop import LoopConfig, Seed, Stage, train_stage

_REACH_NM = 0.1
"""Over which the network's energy changes by about its scale."""

_FRAMES_AT_ONCE = 2_000


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
    mapped : float
        Of the mapped forces themselves.
    prior : float
        Of what the prior leaves.
    network : float
        Of what prior and network leave. No force field leaves less than the noise of the mapped forces.
    """

    mapped: float
    prior: float
    network: float


@dataclass(frozen=True)
class CgSchNetTrainingResult:
    """The trained force field, its errors on held-out frames, and the history of its training."""

    force_field: CgForceField
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
        With one sentence, if the beads of the molecule cannot be connected.
    """
    torch.manual_seed(training.seed)
    force_field = CgForceField(config, data.molecule, data.mapping)
    frames = data.train
    fit_prior(force_field.prior, frames.beads, frames.weights)
    generator = np.random.default_rng((training.seed, 2))
    chosen = generator.choice(len(frames), training.start_frames, p=frames.weights / frames.weights.sum())
    force_field.start = torch.from_numpy(frames.beads[chosen])
    force_field.to(device)
    stage = ForceMatching(force_field, training, frames, data.held_out, device)
    force_field.scale.copy_(stage.spread * _REACH_NM)
    history = train_stage(stage, folder / "cgschnet.state", resume)
    force_field.eval()
    return CgSchNetTrainingResult(force_field.cpu(), stage.errors(), history)


class _Batch(NamedTuple):
    """Beads in nm, and the forces on them that the prior leaves, in kJ/mol/nm."""

    beads: Tensor
    forces: Tensor


class ForceMatching(Stage[_Batch]):
    """Data and loss of a force field.

    Parameters
    ----------
    force_field : CgForceField
        What to train; its prior is fitted.
    config : CgSchNetTrainingConfig
        How.
    data, held_out : MappedForces
        Training and validation frames; they are kept on the device.
    device : torch.device
        Where to train.
    """

    def __init__(
        self,
        force_field: CgForceField,
        config: CgSchNetTrainingConfig,
        data: MappedForces,
        held_out: MappedForces,
        device: torch.device,
    ) -> None:
        self.force_field, self.config = force_field, config
        self.network: SchNet = force_field.network
        self.loop = config.loop
        self.held_out_forces = held_out.forces
        self.data, self.held_out = (self._residual(side, device) for side in (data, held_out))
        self.spread = self.data.forces.square().mean().sqrt()

    def _residual(self, side: MappedForces, device: torch.device) -> _Batch:
        """Subtract the forces of the prior."""
        beads = torch.from_numpy(side.beads).to(device)
        forces = torch.from_numpy(side.forces).to(device)
        parts = [
            theirs - _forces(self.force_field.prior, at, False)
            for at, theirs in zip(beads.split(_FRAMES_AT_ONCE), forces.split(_FRAMES_AT_ONCE), strict=True)
        ]
        return _Batch(beads, torch.cat(parts))

    def loss(self, batch: _Batch) -> Tensor:
        """Mean square of the error of the forces, in units of what the prior leaves."""
        return self._error(batch, training=True) / self.spread.square()

    def _error(self, batch: _Batch, training: bool) -> Tensor:
        forces = self.force_field.scale * _forces(self.network, batch.beads, training)
        return (forces - batch.forces).square().mean()

    def batches(self, epoch: int) -> Iterator[tuple[_Batch, int]]:
        """Frames in random order."""
        generator = np.random.default_rng((self.config.seed, 1, epoch))
        size = self.loop.batch
        for _ in range(max(1, self.loop.drawn_per_epoch // size)):
            rows = torch.from_numpy(generator.integers(len(self.data.beads), size=size))
            rows = rows.to(self.data.beads.device)
            yield _Batch(self.data.beads[rows], self.data.forces[rows]), size

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
            float(np.square(self.held_out_forces).mean()),
            float(self.held_out.forces.square().mean()),
            self.validate(0) * float(self.spread) ** 2,
        )


def _forces(energy: torch.nn.Module, beads: Tensor, training: bool) -> Tensor:
    """Return the forces of an energy; with ``training`` they have a gradient themselves."""
    with torch.enable_grad():
        at = beads.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(energy(at).sum(), at, create_graph=training)
    return -gradient
