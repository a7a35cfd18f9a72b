"""The compact network: the environment is read once per residue, perceptrons denoise at every step."""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from backmap import chemistry
from backmap.chemistry import RESIDUE_NAMES
from backmap.models.diamondback import layout
from backmap.models.diamondback.config import CompactConfig
from backmap.models.diamondback.layout import ENVIRONMENT_SLOTS, NEIGHBOURS, POINTS, Pass
from backmap.models.diamondback.noise_schedule import NoiseSchedule
from backmap.models.diamondback.representation import Sites, given_points, point_exists
from backmap.ops import in_panels

_DATA_DEVIATION_NM = 0.15
"""Typical deviation of generated coordinates; at this noise level, half of the network's input is data."""

_LENGTH_NM = 0.5
"""Unit of length of the networks' input."""

_CONTACT_NM = 0.2
"""Width of the Gaussian interaction between points and atoms of the environment."""


class Context(NamedTuple):
    """Features of n residues computed before the first step.

    Attributes
    ----------
    features : Tensor, (n, hidden)
        Condition for the first layer.
    modulation : Tensor, (n, layers, 2 hidden)
        Condition for the other layers.
    pairs : Tensor, (n, 4, 171)
        Mean and variance of scaled distances between points in residues of this type, strength of the pull
        towards the mean, and 1 if the type has both points, else 0.
    empty : Tensor, (n, 19) bool
        Generated points that are zero because the residue type lacks the atom.
    atoms : Tensor, (n, 3, 64)
        Nearest atoms of the environment, scaled by the contact width; missing ones are far away.
    """

    features: Tensor
    modulation: Tensor
    pairs: Tensor
    empty: Tensor
    atoms: Tensor


class _Level(NamedTuple):
    """Coefficients of the noise level for each part of the network, (n, 1) each."""

    signal: Tensor
    scale_in: Tensor
    skip: Tensor
    scale_out: Tensor
    distance_variance: Tensor
    contact_scale: Tensor
    noise: Tensor


class CompactDenoiser(nn.Module):
    """Predicts the noise in the points of residues.

    The clean sample is predicted as a mean of the noisy sample and the network's output, weighted by
    the noise level (Karras et al., NeurIPS 2022, table 1); the noise follows from it.

    Parameters
    ----------
    config : CompactConfig
        Sizes.
    schedule : NoiseSchedule
        Noise at each step.
    scale_nm : float
        Length by which coordinates are divided.
    """

    edges: Tensor
    levels: Tensor
    rows_at_once: Final = 64
    """Residues whose features fit the cache of a CPU."""
    contact_nm: Final = _CONTACT_NM
    far: Final = 30.0
    furthest: Final = 4.0
    contacts: Final = 64
    """Nearest atoms of the environment that interact with the points of a residue."""

    def __init__(self, config: CompactConfig, schedule: NoiseSchedule, scale_nm: float) -> None:
        super().__init__()
        self.scale_nm, self.schedule = scale_nm, schedule
        self.layers = config.layers
        self.encoder = EnvironmentEncoder(config)
        self.condition = nn.Linear(config.context_width, config.hidden)
        self.modulation = nn.Linear(config.context_width, 2 * config.hidden * config.layers)
        self.step_bias = nn.Embedding(schedule.steps, config.hidden)
        self.step_modulation = nn.Embedding(schedule.steps, 2 * config.hidden * config.layers)
        first, second = torch.triu_indices(POINTS, POINTS, offset=1)
        points = torch.eye(POINTS)
        self.register_buffer("edges", points[first] - points[second], persistent=False)
        self.entry = nn.Linear(7 * POINTS + len(self.edges), config.hidden)
        self.blocks = nn.ModuleList(_Block(config.hidden) for _ in range(config.layers))
        self.leave = nn.Linear(config.hidden, 3 * POINTS + len(self.edges))
        shape = len(RESIDUE_NAMES), len(self.edges)
        self.gain = nn.Parameter(torch.zeros(shape))
        self.distance_mean = nn.Parameter(torch.ones(shape), requires_grad=False)
        self.distance_variance = nn.Parameter(torch.ones(shape), requires_grad=False)
        self._set_levels(schedule, _DATA_DEVIATION_NM / scale_nm)

    def _set_levels(self, schedule: NoiseSchedule, deviation: float) -> None:
        signal, noise = schedule.signal, schedule.noise
        whole = (signal * deviation).square() + noise.square()
        levels = _Level(
            signal=signal,
            scale_in=whole.rsqrt(),
            skip=signal * deviation**2 / whole,
            scale_out=noise * deviation * whole.rsqrt(),
            distance_variance=2 * (noise / signal).square(),
            contact_scale=self.scale_nm / _CONTACT_NM / signal.clamp_min(0.1),
            noise=noise,
        )
        self.register_buffer("levels", torch.stack(levels, dim=-1), persistent=False)

    @torch.no_grad()
    def fit(self, sites: Sites) -> None:
        """Set the distances between points from residues whose points are known."""
        distance = torch.matmul(self.edges, sites.points / self.scale_nm).norm(dim=-1)
        known = self._pairs(sites.known)
        for kind in range(len(RESIDUE_NAMES)):
            here = (known & (sites.types == kind).unsqueeze(-1)).to(distance.dtype)
            count = here.sum(0).clamp_min(1.0)
            mean = (here * distance).sum(0) / count
            self.distance_mean[kind] = mean
            self.distance_variance[kind] = (here * (distance - mean).square()).sum(0) / count

    def _pairs(self, points: Tensor) -> Tensor:
        """Return pairs (n, 171) whose points (n, 19) are both true."""
        return torch.matmul(points.to(self.edges.dtype), self.edges.abs().T) > 1.5

    def encode(self, sites: Sites) -> Context:
        """Compute the features of the environment."""
        context = self.encoder(sites)
        exists = point_exists(sites.types)
        pairs = torch.stack([self.distance_mean, self.distance_variance, self.gain], dim=1)[sites.types]
        return Context(
            self.condition(context),
            self.modulation(context).unflatten(-1, (self.layers, -1)),
            torch.cat([pairs, self._pairs(exists).to(pairs.dtype).unsqueeze(1)], dim=1),
            sites.generated & ~exists,
            self._nearest_atoms(sites),
        )

    def prepare(self, ddim_steps: int) -> list[Tensor]:
        """Return tables of the steps, and weights as the operator reads them."""
        steps = self.schedule.steps_taken(ddim_steps)
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        for block in self.blocks:
            enter, leave = block.enter, block.leave
            # Submodules of a submodule, whose classes mypy does not know.
            weights.append(torch.stack([in_panels(enter.weight), in_panels(leave.weight)]))  # type: ignore
            biases.append(torch.stack([enter.bias, leave.bias]))  # type: ignore
        return [
            self.levels[steps, :-1],
            self.schedule.moves(ddim_steps),
            self.step_bias(steps) + self.entry.bias,
            self.step_modulation(steps).unflatten(-1, (self.layers, -1)),
            in_panels(self.entry.weight),
            torch.stack(weights),
            torch.stack(biases),
            in_panels(self.leave.weight),
            self.leave.bias,
        ]

    def remove_noise(self, sites: Sites, normals: Tensor, prepared: list[Tensor]) -> Tensor:
        """Draw scaled points (n, 57), without gradients; arguments as for ``DiamondbackModel.draw``."""
        context = self.encode(sites)
        levels, moves, step_features, step_modulation, entry, layers, layer_bias, leave, leave_bias = prepared
        # Call the operator directly: TorchScript cannot call functions with keywords only.
        drawn: Tensor = torch.ops.backmap.remove_noise(
            given_points(sites, self.scale_nm),
            sites.generated,
            context.empty,
            normals,
            context.features,
            context.modulation,
            context.pairs,
            context.atoms,
            levels,
            moves,
            step_features,
            step_modulation,
            entry,
            layers,
            layer_bias,
            leave,
            leave_bias,
            self.schedule.clip,
            self.furthest,
        )
        return drawn

    def forward(self, points: Tensor, step: Tensor, context: Context) -> Tensor:
        """Predict the noise (n, 57) in scaled points (n, 57) at steps (n,)."""
        signal, scale_in, skip, scale_out, distance, contact, noise = self.levels[step].split(1, dim=-1)
        level = _Level(signal, scale_in, skip, scale_out, distance, contact, noise)
        scaled = (points * level.scale_in).unflatten(-1, (layout.POINTS, 3))
        between = torch.matmul(self.edges, scaled)
        deviation = self._deviation(between, level, context)
        contacts = self._contacts(points, level, context)
        hidden = self.entry(torch.cat([scaled.flatten(1), deviation, contacts], dim=-1))
        hidden = hidden + context.features + self.step_bias(step)
        modulation = context.modulation + self.step_modulation(step).unflatten(-1, (self.layers, -1))
        for number, block in enumerate(self.blocks):
            hidden = block(hidden, modulation[:, number])
        move, pull = self.leave(hidden).split([3 * layout.POINTS, len(self.edges)], dim=-1)
        # Pairs of points pull at each other along the line between them, which preserves bond lengths.
        _, _, gain, has_pair = context.pairs.unbind(1)
        pull = (pull + gain * deviation) * has_pair
        move = move + torch.matmul(self.edges.T, pull.unsqueeze(-1) * between).flatten(1)
        clean = level.skip * points + level.scale_out * move
        clean = clean.masked_fill(context.empty.repeat_interleave(3, dim=-1), 0.0)
        return (points - level.signal * clean) / level.noise

    def _deviation(self, between: Tensor, level: _Level, context: Context) -> Tensor:
        """Return deviations (n, 171) of distances between points from their means, in standard deviations.

        The variance at a noise level is the sum of the variances of the data and of both points' noise.
        """
        distance = (between.square().sum(-1) + 1e-8).sqrt() / (level.signal * level.scale_in)
        mean, variance, _, has_pair = context.pairs.unbind(1)
        deviation = (distance - mean) * (variance + level.distance_variance).rsqrt()
        return deviation.clamp(-self.furthest, self.furthest) * has_pair

    def _contacts(self, points: Tensor, level: _Level, context: Context) -> Tensor:
        """Return the strength and direction of the environment's pressure on each point (n, 76)."""
        here = (points * level.contact_scale).unflatten(-1, (layout.POINTS, 3))
        # exp(-|a - b|^2 / 2) from the scalar product, so that pairs of atoms need one number each.
        square = context.atoms.square().sum(1).unsqueeze(1) + here.square().sum(-1).unsqueeze(2)
        weight = torch.exp(torch.baddbmm(square, here, context.atoms, beta=-0.5))
        total = weight.sum(-1)
        push = torch.matmul(weight, context.atoms.transpose(1, 2)) - total.unsqueeze(-1) * here
        return torch.cat([push.flatten(1), total], dim=-1)

    def _nearest_atoms(self, sites: Sites) -> Tensor:
        """Return the atoms (n, 3, 64) of the environment nearest to the frame's origin, in contact widths."""
        atoms = (sites.environment / self.contact_nm).flatten(1, 2)
        square = atoms.square().sum(-1).masked_fill(~sites.environment_known.flatten(1), 1e6)
        squares, nearest = square.topk(self.contacts, dim=1, largest=False, sorted=False)
        chosen = atoms.gather(1, nearest.unsqueeze(-1).expand(-1, -1, 3))
        return chosen.masked_fill((squares >= 1e6).unsqueeze(-1), self.far).transpose(1, 2).contiguous()


class EnvironmentEncoder(nn.Module):
    """Summarises the environment of a residue by attention queries that depend on the residue."""

    length_nm: Final = _LENGTH_NM

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.queries, self.dropout = config.queries, config.dropout
        width, slots = config.neighbour_width, len(ENVIRONMENT_SLOTS)
        own_width = len(RESIDUE_NAMES) + len(Pass) + 4 * POINTS
        self.enter = nn.Linear(5 * slots + 3 + NEIGHBOURS, width)
        self.inner = nn.Linear(width, width)
        self.query = nn.Linear(own_width, config.queries * width)
        self.gather = nn.Linear(config.queries * width + own_width, config.context_width)
        self.mix = nn.Linear(config.context_width, config.context_width)

    def forward(self, sites: Sites) -> Tensor:
        """Return the context (n, context_width)."""
        features = self._neighbours(sites)
        own = self._own(sites)
        query = self.query(own).unflatten(-1, (self.queries, -1))
        score = torch.matmul(query, features.transpose(1, 2)) * features.shape[-1] ** -0.5
        hidden = ~sites.environment_known[:, :, 0]
        if self.training:
            hidden = hidden | (torch.rand(hidden.shape, device=hidden.device) < self.dropout)
        score = score.masked_fill(hidden.unsqueeze(1), -1e4)
        gathered = torch.matmul(score.softmax(dim=-1), features).flatten(1)
        features = functional.silu(self.gather(torch.cat([gathered, own], dim=-1)))
        features = features + functional.silu(self.mix(features))
        return functional.dropout(features, self.dropout, self.training)

    def _neighbours(self, sites: Sites) -> Tensor:
        known = sites.environment_known.to(sites.environment.dtype)
        positions = sites.environment / self.length_nm
        distance = positions.square().sum(-1).add(1e-8).sqrt() * known
        direction = functional.normalize(positions[:, :, 0], dim=-1)
        rank = torch.eye(layout.NEIGHBOURS, device=known.device).expand(len(known), -1, -1)
        numbers = torch.cat([positions.flatten(2), distance, known, direction, rank], dim=-1)
        return functional.silu(self.inner(functional.silu(self.enter(numbers))))

    def _own(self, sites: Sites) -> Tensor:
        given = sites.known & ~sites.generated
        return torch.cat(
            [
                functional.one_hot(sites.types, len(chemistry.RESIDUE_NAMES)),
                functional.one_hot(sites.kind, layout.PASSES),
                given_points(sites, self.length_nm),
                given,
            ],
            dim=-1,
        )


class _Block(nn.Module):
    """x + W2 SiLU(scale (W1 norm(x)) + shift); scale and shift follow from step and environment."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.enter = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)

    def forward(self, hidden: Tensor, change: Tensor) -> Tensor:
        scale, shift = change.chunk(2, dim=-1)
        return hidden + self.leave(functional.silu(self.enter(self.norm(hidden)) * (1 + scale) + shift))
