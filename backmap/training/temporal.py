"""Training of temporal models: the autoencoder, then the mixture of its latent codes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import LinearMapping, Molecule
from backmap.datasets.frame_pairs import FramePairs
from backmap.limits import Real
from backmap.models.configuration import Count, Factor, Number, Share
from backmap.models.temporal.autoencoder import Decoded, Observation, Posterior
from backmap.models.temporal.config import TemporalConfig
from backmap.models.temporal.internal_autoencoder import InternalAutoencoder
from backmap.models.temporal.latent_mixture import LatentMixture
from backmap.models.temporal.losses import (
    bead_loss,
    coordinate_loss,
    distance_loss,
    divergence,
    energy_loss,
)
from backmap.models.temporal.model import TemporalModel, make_autoencoder
from backmap.models.temporal.voxel_autoencoder import VoxelAutoencoder
from backmap.training.loop import LoopConfig, Seed, Stage, train_stage

Energy = Callable[[Tensor], Tensor]
"""Potential energies (batch,) in kJ/mol of frames (batch, atoms, 3) in nm, with a gradient."""

Sampler = Callable[[TemporalModel, int], None]
"""Writes samples of the current model, given the number of epochs."""


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss; 0 leaves a term out.

    Attributes
    ----------
    reconstruction : float
        Of the densities' squared error, or of the likelihood of the internal coordinates.
    coordinates, beads, distances : float
        Of the squared errors of centred coordinates, of beads, and of distance matrices.
    energy : float
        Top of the energy's weight.
    divergence : float
        Of the divergence of the posterior.
    free_nats : float
        Divergence of each dimension of the code that costs nothing, so that dimensions stay in use.
    divergence_by_data : bool
        Multiply the divergence by batch / number of training frames too, as the published code does.
    """

    reconstruction: Factor = 1.0
    coordinates: Factor = 1.0
    beads: Factor = 1.0
    distances: Factor = 1.0
    energy: Factor = 0.0
    divergence: Factor = 1.0
    free_nats: Factor = 0.0
    divergence_by_data: bool = False


@dataclass(frozen=True)
class DivergenceSchedule:
    """Weight of the divergence over the steps.

    Attributes
    ----------
    cycles : int
        Times it goes from ``start`` to 1; after them, and if 0, it is 1.
    steps_per_cycle : int
        In the first half of a cycle it changes linearly, in the second it is 1.
    start : float
        Where a cycle begins: 0 as published. Above 1, the code is left unused until the networks have learned
        what the condition says, so that codes depend little on it and may be drawn without it.
    """

    cycles: Count = 0
    steps_per_cycle: Number = 25_000
    start: Factor = 0.0

    def weight(self, step: int) -> float:
        """Weight at a step (Fu et al., NAACL 2019)."""
        cycle, within = divmod(step, self.steps_per_cycle)
        gone = 1.0 if cycle >= self.cycles else min(1.0, 2 * within / self.steps_per_cycle)
        return self.start + (1.0 - self.start) * gone


@dataclass(frozen=True)
class EnergySchedule:
    """Weight of the energy over the steps: nothing, then an exponential rise to 1.

    Attributes
    ----------
    start_step : int
        Where the rise begins.
    rise_steps : int
        How long it takes.
    first_weight : float
        Where it rises from.
    gradient_clip : float
        Largest norm of the gradient from ``start_step`` on.
    limit : float
        Standardised energies count as lying at most so far from their mean.
    """

    start_step: Count = 200_000
    rise_steps: Count = 1_250_000
    first_weight: Share = 1e-6
    gradient_clip: Factor = 0.1
    limit: Factor = 20.0

    def weight(self, step: int) -> float:
        """Weight at a step."""
        if step < self.start_step:
            return 0.0
        risen = min(1.0, (step - self.start_step) / max(self.rise_steps, 1))
        return self.first_weight ** (1.0 - risen)


@dataclass(frozen=True)
class TemporalTrainingConfig:
    """How a temporal model is trained.

    Attributes
    ----------
    loop : LoopConfig
        Epochs, batch, learning rate.
    seed : int
        Decides weights, draws, rotations and noise.
    weights : LossWeights
        Terms of the loss.
    divergence_schedule, energy_schedule
        Their course.
    previous_noise_nm : float
        Standard deviation of noise added to the previous frames, so that a rollout forgives its own errors.
    mixed_precision : bool
        Half precision in the networks, on CUDA.
    mixture_codes : int
        Codes that the mixture is fitted to.
    """

    loop: LoopConfig
    seed: Seed = 0
    weights: LossWeights = LossWeights()
    divergence_schedule: DivergenceSchedule = DivergenceSchedule()
    energy_schedule: EnergySchedule = EnergySchedule()
    previous_noise_nm: Annotated[float, Real(0.0, 1.0)] = 0.0
    mixed_precision: bool = True
    mixture_codes: Number = 50_000


@dataclass(frozen=True)
class TemporalTrainingResult:
    """The trained model, and the history of its training."""

    model: TemporalModel
    history: list[dict[str, float]]


def train_temporal(
    config: TemporalConfig,
    training: TemporalTrainingConfig,
    molecule: Molecule,
    mapping: LinearMapping,
    data: FramePairs,
    held_out: FramePairs,
    folder: Path,
    device: torch.device,
    resume: bool,
    energy: Energy | None = None,
    write_samples: Sampler | None = None,
) -> TemporalTrainingResult:
    """Train a model.

    Parameters
    ----------
    config, training
        Configurations.
    molecule, mapping
        What the frames are, and their beads.
    data, held_out : FramePairs
        Training and validation frames.
    folder : Path
        Where the state is kept.
    device : torch.device
        Where to train.
    resume : bool
        Go on from the state in ``folder``.
    energy : callable, optional
        Potential energy, if the loss has a weight for it.
    write_samples : callable, optional
        Called after each validation.

    Raises
    ------
    ValueError
        With one sentence, if the configuration does not suit the molecule.
    """
    if training.weights.energy and energy is None:
        raise ValueError("the loss weighs the energy, but no force field is given")
    torch.manual_seed(training.seed)
    autoencoder = make_autoencoder(config, molecule, mapping).to(device)
    autoencoder.fit(*(torch.from_numpy(part).to(device) for part in data.take(data.present)))
    model = TemporalModel(config, molecule, mapping, autoencoder).to(device)
    stage = TemporalStage(model, training, data, held_out, device, energy, write_samples)
    history = train_stage(stage, folder / "temporal.state", resume)
    model.eval()
    stage.complete()
    return TemporalTrainingResult(model.cpu(), history)


def radius_of(frames: Tensor) -> float:
    """Largest distance (nm) of an atom from the mean of its frame, of frames (frames, atoms, 3)."""
    return float((frames - frames.mean(dim=1, keepdim=True)).norm(dim=-1).max())


class _Batch(NamedTuple):
    """Present and previous frames on the device, and the step they belong to."""

    frame: Tensor
    previous: Tensor
    step: int


class TemporalStage(Stage[_Batch]):
    """Data and loss of a temporal model.

    Parameters
    ----------
    model : TemporalModel
        What to train, with the scale of its internal coordinates set.
    config : TemporalTrainingConfig
        How.
    data, held_out : FramePairs
        Training and validation frames; they are kept on the device.
    device : torch.device
        Where to train.
    energy, write_samples : callable, optional
        See :func:`train_temporal`.
    """

    def __init__(
        self,
        model: TemporalModel,
        config: TemporalTrainingConfig,
        data: FramePairs,
        held_out: FramePairs,
        device: torch.device,
        energy: Energy | None,
        write_samples: Sampler | None,
    ) -> None:
        self.model, self.config, self.device = model, config, device
        self.network: VoxelAutoencoder | InternalAutoencoder = model.autoencoder
        self.loop = config.loop
        self.data, self.held_out = _DeviceFrames(data, device), _DeviceFrames(held_out, device)
        self.energy, self.write_samples = energy, write_samples
        self.totals: dict[str, float] = {}
        self.taken = 0
        if energy is not None:
            generator = np.random.default_rng((config.seed, 3))
            known = torch.cat([energy(self.data.frames[rows]) for rows in _some_rows(data, 4096, generator)])
            self.energy_mean, self.energy_spread = known.mean().detach(), known.std().detach()

    def loss(self, batch: _Batch) -> Tensor:
        """Weighted sum of the terms, as the schedules have it at the batch's step."""
        terms = self._terms(batch)
        for name, value in terms.items():
            self.totals[name] = self.totals.get(name, 0.0) + float(value.detach())
        self.taken += 1
        return self._weigh(terms, batch)

    def _weigh(self, terms: dict[str, Tensor], batch: _Batch) -> Tensor:
        weights = self.config.weights
        by_data = len(batch.frame) / len(self.data.present) if weights.divergence_by_data else 1.0
        factors = {
            "energy": self.config.energy_schedule.weight(batch.step),
            "divergence": self.config.divergence_schedule.weight(batch.step) * by_data,
        }
        return sum(getattr(weights, name) * factors.get(name, 1.0) * value for name, value in terms.items())

    def _terms(self, batch: _Batch) -> dict[str, Tensor]:
        """The terms of the loss that have a weight."""
        weights, frame = self.config.weights, batch.frame
        beads = self.model.beads_of(frame)
        observation, posterior, decoded = self._reconstruct(frame, beads, batch.previous)
        guess = decoded.coordinates
        terms = {
            "reconstruction": lambda: self.network.reconstruction_loss(decoded, frame, observation),
            "coordinates": lambda: coordinate_loss(guess, frame),
            "beads": lambda: bead_loss(self.model.beads_of(guess), beads),
            "distances": lambda: distance_loss(guess, frame),
            "divergence": lambda: divergence(posterior, weights.free_nats),
        }
        values = {name: term() for name, term in terms.items() if getattr(weights, name)}
        if weights.energy and self.config.energy_schedule.weight(batch.step):
            values["energy"] = self._energy_loss(guess, frame)
        return values

    def _reconstruct(
        self, frame: Tensor, beads: Tensor, previous: Tensor
    ) -> tuple[Observation, Posterior, Decoded]:
        half = self.config.mixed_precision and self.device.type == "cuda"
        observation = self.network.observe(frame, beads, previous)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            posterior = Posterior(*(part.float() for part in self.network.encode(observation)))
            code = posterior.mean + (0.5 * posterior.log_variance).exp() * torch.randn_like(posterior.mean)
            decoded = self.network.decode(code, observation.condition, beads)
        return observation, posterior, decoded

    def _energy_loss(self, guess: Tensor, frame: Tensor) -> Tensor:
        assert self.energy is not None  # only models with a force field have this loss
        limit = self.config.energy_schedule.limit
        return energy_loss(
            self.energy(guess), self.energy(frame), self.energy_mean, self.energy_spread, limit
        )

    # ---- Epochs --------------------------------------------------------------------------------

    @property
    def _steps_per_epoch(self) -> int:
        return max(1, self.loop.drawn_per_epoch // self.loop.batch)

    def batches(self, epoch: int) -> Iterator[tuple[_Batch, int]]:
        """Frames in random order and random orientations."""
        self.totals, self.taken = {}, 0
        generator = np.random.default_rng((self.config.seed, 1, epoch))
        rows = generator.choice(self.data.present, self.loop.drawn_per_epoch)
        for step in range(self._steps_per_epoch):
            part = rows[step * self.loop.batch : (step + 1) * self.loop.batch]
            frame, previous = self.data.take(part)
            turn = random_rotations(len(frame), self.device)
            noise = self.config.previous_noise_nm * torch.randn_like(previous)
            turned = (previous + noise) @ turn.unsqueeze(1)
            yield _Batch(frame @ turn, turned, epoch * self._steps_per_epoch + step), self.loop.batch

    def gradient_clip(self, epoch: int) -> float:
        """Largest norm of the gradient, another one once the loss has a weight for the energy."""
        schedule = self.config.energy_schedule
        risen = self.config.weights.energy and epoch * self._steps_per_epoch >= schedule.start_step
        return schedule.gradient_clip if risen else self.loop.gradient_clip

    @torch.no_grad()
    def validate(self, epoch: int) -> float:
        """Loss on held-out frames with all weights at their top, and samples if wanted."""
        if self.write_samples is not None:
            self.write_samples(self.model, epoch)
        generator = np.random.default_rng((self.config.seed, 2))
        whole, total, count = 10**12, 0.0, 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            for rows in _some_rows(self.held_out.pairs, 4096, generator):
                batch = _Batch(*self.held_out.take(rows), whole)
                total += float(self._weigh(self._terms(batch), batch)) * len(rows)
                count += len(rows)
        return total / count

    def describe(self) -> dict[str, float]:
        """Mean of each term over the epoch that ended."""
        return {name: total / max(self.taken, 1) for name, total in self.totals.items()}

    # ---- After the last epoch ------------------------------------------------------------------

    @torch.no_grad()
    def complete(self) -> None:
        """Fit the mixture of latent codes, keep a library of frames, and learn what is physical."""
        generator = np.random.default_rng((self.config.seed, 4))
        model = self.model
        codes = self._codes(generator)
        components = min(model.config.mixture_components, max(1, len(codes) // (2 * model.config.latent)))
        model.mixture = fit_mixture(codes.cpu().numpy(), components, self.config.seed).to(self.device)
        count = min(model.config.library_frames, len(self.data.present))
        frame, previous = self.data.take(np.sort(generator.choice(self.data.present, count, replace=False)))
        library = torch.cat([previous, frame.unsqueeze(1)], dim=1)
        model.library = library - library.mean(dim=(1, 2), keepdim=True)
        first, second = model.bonds.unbind(1)
        length = (self.data.frames[:, first] - self.data.frames[:, second]).norm(dim=-1)
        margin = 0.1 * length.mean(dim=0)
        model.bond_range = torch.stack([length.amin(0) - margin, length.amax(0) + margin], dim=-1)
        model.residual_limit = 2 * self._largest_residual(generator) + 1e-4

    def _codes(self, generator: np.random.Generator) -> Tensor:
        """Latent codes of training frames, drawn from their posteriors."""
        codes = []
        torch.manual_seed(self.config.seed)
        for rows in _some_rows(self.data.pairs, self.config.mixture_codes, generator):
            frame, previous = self.data.take(rows)
            observation = self.network.observe(frame, self.model.beads_of(frame), previous)
            mean, log_variance = self.network.encode(observation)
            codes.append(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
        return torch.cat(codes)

    def _largest_residual(self, generator: np.random.Generator) -> Tensor:
        """Largest distance of a drawn frame from its beads, over held-out frames."""
        residuals = []
        for rows in _some_rows(self.held_out.pairs, 1024, generator):
            frame, previous = self.held_out.take(rows)
            beads = self.model.beads_of(frame)
            uniforms = torch.rand(len(rows), self.model.uniforms_per_frame, device=self.device)
            residuals.append(self.model.residual(self.model.step(beads, previous, uniforms), beads))
        return torch.cat(residuals).max()


class _DeviceFrames:
    """Frames on the device, taken by index."""

    def __init__(self, pairs: FramePairs, device: torch.device) -> None:
        self.pairs = pairs
        self.present = pairs.present
        self.frames = torch.from_numpy(np.ascontiguousarray(pairs.coordinates)).to(device)
        self.before = torch.arange(pairs.previous_frames, 0, -1, device=device)

    def take(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """Frames and those before them; see :meth:`backmap.datasets.frame_pairs.FramePairs.take`."""
        index = torch.from_numpy(rows).to(self.frames.device)
        return self.frames[index], self.frames[index.unsqueeze(1) - self.before]


def fit_mixture(codes: np.ndarray, components: int, seed: int) -> LatentMixture:
    """Fit Gaussians to codes (count, latent)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = GaussianMixture(components, reg_covar=1e-4, random_state=seed).fit(codes.astype(np.float64))
    factors = np.linalg.cholesky(fitted.covariances_)
    arrays = fitted.weights_, fitted.means_, factors
    return LatentMixture(*(torch.from_numpy(array).to(torch.float32) for array in arrays))


def random_rotations(count: int, device: torch.device) -> Tensor:
    """Rotations (count, 3, 3), uniformly distributed, from torch's generator: unit quaternions."""
    q = torch.nn.functional.normalize(torch.randn(count, 4, device=device), dim=-1)
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).view(count, 3, 3)


def _some_rows(
    pairs: FramePairs, count: int, generator: np.random.Generator, batch: int = 512
) -> list[np.ndarray]:
    """Up to `count` different frames, in batches."""
    count = min(count, len(pairs.present))
    rows = np.sort(generator.choice(pairs.present, count, replace=False))
    return np.array_split(rows, math.ceil(count / batch))
