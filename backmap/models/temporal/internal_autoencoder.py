"""Networks on internal coordinates: a conditional autoencoder without a grid.

Each internal coordinate is scaled by its spread, so that rigid bonds count as much as soft torsions. The
input of the networks is invariant to rotations and translations. The decoder predicts the mean of a normal
distribution with a learned variance for each coordinate and draws from it (sigma-VAE: Rybkin, Daniilidis and
Levine, ICML 2021).
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from backmap.chemistry import LinearMapping, Molecule
from backmap.models.temporal.autoencoder import Decoded, Observation, Posterior
from backmap.models.temporal.config import InternalConfig
from backmap.models.temporal.internal_coordinates import InternalCoordinates, InternalValues
from backmap.models.temporal.regression import Regression
from backmap.models.temporal.residual_network import ResidualNetwork

_RIGID_NM = 1e-4
"""Bonds with a smaller spread are constrained and kept at their mean."""

_FREE_TORSION = 0.7
"""Torsions with a larger spread (radians) are represented by cosine and sine."""

_LOG_VARIANCE = (-14.0, 4.0)


class ScaledCoordinates(nn.Module):
    """Converts internal coordinates to numbers of mean 0 and variance 1, and back.

    Parameters
    ----------
    placed : int
        Number of atoms that are placed.
    """

    length_mean: Tensor
    length_spread: Tensor
    angle_mean: Tensor
    angle_spread: Tensor
    torsion_mean: Tensor
    torsion_spread: Tensor
    rigid: Tensor
    free: Tensor
    circle_scale: Final = math.sqrt(2.0)

    def __init__(self, placed: int) -> None:
        super().__init__()
        for name in ("length_mean", "angle_mean", "torsion_mean"):
            self.register_buffer(name, torch.zeros(placed))
        for name in ("length_spread", "angle_spread", "torsion_spread"):
            self.register_buffer(name, torch.ones(placed))
        self.register_buffer("rigid", torch.zeros(placed, dtype=torch.bool))
        self.register_buffer("free", torch.zeros(placed, dtype=torch.bool))

    @torch.no_grad()
    def fit(self, values: InternalValues) -> None:
        """Set means and spreads from data (frames, placed)."""
        self.length_mean.copy_(values.length.mean(0))
        self.length_spread.copy_(values.length.std(0))
        self.rigid.copy_(self.length_spread < _RIGID_NM)
        self.angle_mean.copy_(values.angle.mean(0))
        self.angle_spread.copy_(values.angle.std(0).clamp(min=1e-4))
        self.torsion_mean.copy_(torch.atan2(values.torsion.sin().mean(0), values.torsion.cos().mean(0)))
        self.torsion_spread.copy_(_wrap(values.torsion - self.torsion_mean).std(0))
        self.free.copy_(self.torsion_spread > _FREE_TORSION)

    def encode(self, values: InternalValues) -> Tensor:
        """Return scaled coordinates (batch, 4 placed): length, angle, and one or two numbers per torsion.

        Constant numbers (rigid bonds, the second number of a narrow torsion) are zero.
        """
        length = ((values.length - self.length_mean) / self.length_spread).masked_fill(self.rigid, 0.0)
        angle = (values.angle - self.angle_mean) / self.angle_spread
        turn = _wrap(values.torsion - self.torsion_mean)
        first = torch.where(self.free, self.circle_scale * turn.cos(), turn / self.torsion_spread)
        second = (self.circle_scale * turn.sin()).masked_fill(~self.free, 0.0)
        return torch.cat([length, angle, first, second], dim=-1)

    def decode(self, scaled: Tensor) -> InternalValues:
        """Return internal coordinates from scaled ones (batch, 4 placed)."""
        length, angle, first, second = scaled.chunk(4, dim=-1)
        turn = torch.where(self.free, torch.atan2(second, first), first * self.torsion_spread)
        return InternalValues(
            self.length_mean + (length * self.length_spread).masked_fill(self.rigid, 0.0),
            self.angle_mean + angle * self.angle_spread,
            self.torsion_mean + turn,
        )

    @property
    def varies(self) -> Tensor:
        """Scaled coordinates (4 placed,) that are not constant."""
        always = torch.ones_like(self.rigid)
        return torch.cat([~self.rigid, always, always, self.free])


class InternalAutoencoder(nn.Module):
    """Conditional autoencoder of internal coordinates.

    Parameters
    ----------
    config : InternalConfig
        Sizes.
    molecule : Molecule
        Atoms and bonds.
    mapping : LinearMapping
        Beads, each a single atom.
    previous_frames : int
        Previous frames that the networks see.
    """

    lowest_log_sigma: Final = -3.5
    highest_log_sigma: Final = 1.0

    def __init__(
        self, config: InternalConfig, molecule: Molecule, mapping: LinearMapping, previous_frames: int
    ) -> None:
        super().__init__()
        self.config = config
        self.latent = config.latent
        self.coordinates = InternalCoordinates(molecule, mapping)
        self.scale = ScaledCoordinates(self.coordinates.placed)
        self.shape = BeadShape(mapping.n_beads)
        self.bead_atoms = list(mapping.bead_atoms or ())
        size = 4 * self.coordinates.placed
        condition = (1 + previous_frames) * self.shape.size + previous_frames * size
        self.normals_per_frame = size
        self.regression = Regression(condition, size) if config.regression else None
        self.encoder = self._network(condition + size, 2 * config.latent)
        outputs = 2 * size if config.regression else size
        self.decoder = self._network(condition + config.latent, outputs)
        self.log_sigma = nn.Parameter(torch.full((size,), -0.5))

    @torch.no_grad()
    def fit(self, frame: Tensor, previous: Tensor) -> None:
        """Fit the parts that are not trained to training frames: means, spreads and the regression.

        Parameters
        ----------
        frame : Tensor, (frames, atoms, 3)
        previous : Tensor, (frames, previous_frames, atoms, 3)
        """
        beads = frame[:, self.bead_atoms]
        self.scale.fit(self.coordinates.measure(frame))
        self.shape.fit(beads)
        if self.regression is not None:
            condition = self.condition(beads, previous)
            self.regression.fit(condition, self._scaled(frame), self.scale.varies)
            self._begin_at_regression()

    def observe(self, frame: Tensor, beads: Tensor, previous: Tensor) -> Observation:
        """Return the decoder's target (scaled coordinates or innovations) and the condition."""
        condition = self.condition(beads, previous)
        target = self._scaled(frame)
        if self.regression is not None:
            target = self.regression.innovations(target, condition)
        return Observation(torch.cat([target, condition], dim=-1), condition)

    def condition(self, beads: Tensor, previous: Tensor) -> Tensor:
        """Return shapes of present and previous beads, and scaled coordinates of the previous frames."""
        parts = [self.shape(beads)]
        for frame in previous.unbind(1):
            parts += [self.shape(frame[:, self.bead_atoms]), self._scaled(frame)]
        return torch.cat(parts, dim=-1)

    def encode(self, observation: Observation) -> Posterior:
        """Return the distribution of the latent code."""
        mean, log_variance = self.encoder(observation.everything).chunk(2, dim=-1)
        return Posterior(mean, log_variance.clamp(*_LOG_VARIANCE))

    def decode(
        self, code: Tensor, condition: Tensor, beads: Tensor, normals: Tensor | None = None
    ) -> Decoded:
        """Return the frame of a latent code on its beads: the most likely, or a random one with `normals`."""
        output = self.decoder(torch.cat([code, condition], dim=-1))
        mean, log_sigma = self._mean_and_log_sigma(output)
        scaled = mean if normals is None else mean + log_sigma.exp() * normals
        if self.regression is not None:
            scaled = self.regression.coordinates(scaled * self.scale.varies, condition)
        return Decoded(self.coordinates.place(beads, self.scale.decode(scaled)), output)

    def reconstruction_loss(self, decoded: Decoded, frame: Tensor, observation: Observation) -> Tensor:
        """Return the mean negative log-likelihood of a frame's scaled coordinates, in nats."""
        mean, log_sigma = self._mean_and_log_sigma(decoded.output)
        target = observation.everything[:, : mean.shape[1]]
        deviation = (mean - target) * torch.exp(-log_sigma)
        terms = 0.5 * deviation.square() + log_sigma + 0.5 * math.log(2 * math.pi)
        if self.regression is not None:
            terms = terms + self.regression.factor.diagonal().log()
        return (terms * self.scale.varies).sum(dim=-1).mean()

    def _network(self, size_in: int, size_out: int) -> ResidualNetwork:
        config = self.config
        return ResidualNetwork(size_in, size_out, config.hidden, config.layers, config.dropout)

    def _mean_and_log_sigma(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log sigma of the normal distribution of each target."""
        mean: Tensor = output
        log_sigma: Tensor = self.log_sigma
        if self.regression is not None:
            mean, change = output.chunk(2, dim=-1)
            log_sigma = log_sigma + change
        return mean, log_sigma.clamp(self.lowest_log_sigma, self.highest_log_sigma)

    def _begin_at_regression(self) -> None:
        """Make untrained networks add nothing to the regression: innovations have variance 1."""
        nn.init.zeros_(self.decoder.leave.weight)
        nn.init.zeros_(self.decoder.leave.bias)
        nn.init.zeros_(self.log_sigma)

    def _scaled(self, frame: Tensor) -> Tensor:
        return self.scale.encode(self.coordinates.measure(frame))


class BeadShape(nn.Module):
    """The shape of a set of beads: all distances, and cosines and sines of consecutive torsions."""

    pairs: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, beads: int) -> None:
        super().__init__()
        pairs = torch.triu_indices(beads, beads, offset=1)
        self.register_buffer("pairs", pairs, persistent=False)
        self.size = pairs.shape[1] + 2 * max(beads - 3, 0)
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("spread", torch.ones(self.size))

    @torch.no_grad()
    def fit(self, beads: Tensor) -> None:
        """Set mean and spread from data (frames, beads, 3)."""
        described = self._describe(beads)
        self.mean.copy_(described.mean(0))
        self.spread.copy_(described.std(0).clamp(min=1e-4))

    def forward(self, beads: Tensor) -> Tensor:
        """Return the scaled shape (batch, size) of beads (batch, beads, 3) in nm."""
        return (self._describe(beads) - self.mean) / self.spread

    def _describe(self, beads: Tensor) -> Tensor:
        first, second = self.pairs.unbind(0)
        apart = beads.index_select(1, first) - beads.index_select(1, second)
        distances = torch.linalg.vector_norm(apart, dim=-1)
        step = beads[:, 1:] - beads[:, :-1]
        normal = torch.linalg.cross(step[:, :-1], step[:, 1:])
        before, after, axis = normal[:, :-1], normal[:, 1:], functional.normalize(step[:, 1:-1], dim=-1)
        cosine = (before * after).sum(-1)
        sine = (torch.linalg.cross(before, after) * axis).sum(-1)
        size = torch.hypot(cosine, sine).clamp(min=1e-12)
        return torch.cat([distances, cosine / size, sine / size], dim=-1)


def _wrap(angle: Tensor) -> Tensor:
    """Wrap angles to [-pi, pi]."""
    return torch.atan2(angle.sin(), angle.cos())
