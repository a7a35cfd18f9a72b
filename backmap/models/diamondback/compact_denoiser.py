"""The compact network: the environment is read once a residue, perceptrons remove the noise at every step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from backmap.chemistry import RESIDUE_NAMES
from backmap.models.diamondback.config import CompactConfig
from backmap.models.diamondback.noise_schedule import NoiseSchedule
from backmap.models.diamondback.representation import (
    ENVIRONMENT_SLOTS,
    NEIGHBOURS,
    POINTS,
    Pass,
    Sites,
    given_points,
    point_exists,
)

_DATA_DEVIATION_NM = 0.15
"""Typical deviation of a generated coordinate: at this noise half of what the network sees is data."""

_CONTACT_NM = 0.2
"""Width of the Gaussian by which each point feels the atoms of the environment."""


class Context(NamedTuple):
    """What the denoiser knows of n residues before the first step.

    Attributes
    ----------
    features : Tensor, (n, hidden)
        The condition, as the first layer takes it.
    modulation : Tensor, (n, layers, 2 hidden)
        The condition, as the other layers take it.
    empty : Tensor, (n, 57) bool
        Generated numbers that are zero because the residue's type has no such atom.
    atoms : Tensor, (n, 154, 3)
        Atoms of the environment, scaled; far away where there is none.
    """

    features: Tensor
    modulation: Tensor
    empty: Tensor
    atoms: Tensor


class CompactDenoiser(nn.Module):
    """Predicts the noise in the points of residues.

    The clean sample is predicted as a mean of the noisy sample and the network's output, weighted by the
    noise level (Karras et al., NeurIPS 2022, table 1); the noise follows from it.

    Parameters
    ----------
    config : CompactConfig
        Sizes.
    schedule : NoiseSchedule
        Noise of each step.
    scale_nm : float
        Length by which coordinates are divided.
    """

    def __init__(self, config: CompactConfig, schedule: NoiseSchedule, scale_nm: float) -> None:
        super().__init__()
        self.scale_nm = scale_nm
        self.layers = config.layers
        self.encoder = EnvironmentEncoder(config, scale_nm)
        self.condition = nn.Linear(config.context_width, config.hidden)
        self.modulation = nn.Linear(config.context_width, 2 * config.hidden * config.layers)
        self.step_bias = nn.Embedding(schedule.steps, config.hidden)
        self.step_modulation = nn.Embedding(schedule.steps, 2 * config.hidden * config.layers)
        self.entry = nn.Linear(3 * POINTS + 4 * POINTS, config.hidden)
        self.blocks = nn.ModuleList(_Block(config.hidden) for _ in range(config.layers))
        self.leave = nn.Linear(config.hidden, 3 * POINTS)
        self._set_levels(schedule, _DATA_DEVIATION_NM / scale_nm)

    def _set_levels(self, schedule: NoiseSchedule, deviation: float) -> None:
        signal, noise = schedule.signal, schedule.noise
        whole = (signal * deviation).square() + noise.square()
        for name, values in (
            ("signal", signal),
            ("noise", noise),
            ("scale_in", whole.rsqrt()),
            ("skip", signal * deviation**2 / whole),
            ("scale_out", noise * deviation * whole.rsqrt()),
        ):
            self.register_buffer(name, values.clone(), persistent=False)

    def encode(self, sites: Sites) -> Context:
        """Read the environment."""
        context = self.encoder(sites)
        empty = sites.generated & ~point_exists(sites.types)
        atoms = (sites.environment / self.scale_nm).masked_fill(~sites.environment_known.unsqueeze(-1), 1e3)
        return Context(
            self.condition(context),
            self.modulation(context).unflatten(-1, (self.layers, -1)),
            empty.repeat_interleave(3, dim=-1),
            atoms.flatten(1, 2),
        )

    def forward(self, points: Tensor, step: Tensor, context: Context) -> Tensor:
        """Predict the noise (n, 57) in scaled points (n, 57) at steps (n,)."""
        scaled = points * self.scale_in[step, None]
        hidden = self.entry(torch.cat([scaled, self._contacts(points, step, context)], dim=-1))
        hidden = hidden + context.features + self.step_bias(step)
        modulation = context.modulation + self.step_modulation(step).unflatten(-1, (self.layers, -1))
        for block, change in zip(self.blocks, modulation.unbind(1), strict=True):
            hidden = block(hidden, change)
        clean = self.skip[step, None] * points + self.scale_out[step, None] * self.leave(hidden)
        clean = clean.masked_fill(context.empty, 0.0)
        return (points - self.signal[step, None] * clean) / self.noise[step, None]

    def _contacts(self, points: Tensor, step: Tensor, context: Context) -> Tensor:
        """How strongly, and from where, the environment's atoms press on each point (n, 76)."""
        here = (points / self.signal[step, None].clamp_min(0.1)).unflatten(-1, (POINTS, 3))
        away = here.unsqueeze(2) - context.atoms.unsqueeze(1)
        width = _CONTACT_NM / self.scale_nm
        weight = torch.exp(-away.square().sum(-1) / (2 * width * width))
        push = torch.matmul(weight.unsqueeze(2), away).squeeze(2) / width
        return torch.cat([push.flatten(1), weight.sum(-1)], dim=-1)


class EnvironmentEncoder(nn.Module):
    """Summarises what a residue is built from, by attention queries that depend on the residue."""

    def __init__(self, config: CompactConfig, scale_nm: float) -> None:
        super().__init__()
        self.scale_nm, self.queries = scale_nm, config.queries
        width, slots = config.neighbour_width, len(ENVIRONMENT_SLOTS)
        own_width = len(RESIDUE_NAMES) + len(Pass) + 4 * POINTS
        self.enter = nn.Linear(5 * slots + 3 + NEIGHBOURS, width)
        self.inner = nn.Linear(width, width)
        self.query = nn.Linear(own_width, config.queries * width)
        self.gather = nn.Linear(config.queries * width + own_width, config.context_width)
        self.mix = nn.Linear(config.context_width, config.context_width)

    def forward(self, sites: Sites) -> Tensor:
        """(n, context_width)."""
        features = self._neighbours(sites)
        own = self._own(sites)
        query = self.query(own).unflatten(-1, (self.queries, -1))
        score = torch.matmul(query, features.transpose(1, 2)) * features.shape[-1] ** -0.5
        score = score.masked_fill(~sites.environment_known[:, :, 0].unsqueeze(1), -1e4)
        gathered = torch.matmul(score.softmax(dim=-1), features).flatten(1)
        hidden = functional.silu(self.gather(torch.cat([gathered, own], dim=-1)))
        return hidden + functional.silu(self.mix(hidden))

    def _neighbours(self, sites: Sites) -> Tensor:
        known = sites.environment_known.to(sites.environment.dtype)
        positions = sites.environment / self.scale_nm
        distance = positions.square().sum(-1).add(1e-8).sqrt() * known
        direction = functional.normalize(positions[:, :, 0], dim=-1)
        rank = torch.eye(NEIGHBOURS, device=known.device).expand(len(known), -1, -1)
        numbers = torch.cat([positions.flatten(2), distance, known, direction, rank], dim=-1)
        return functional.silu(self.inner(functional.silu(self.enter(numbers))))

    def _own(self, sites: Sites) -> Tensor:
        given = sites.known & ~sites.generated
        return torch.cat(
            [
                functional.one_hot(sites.types, len(RESIDUE_NAMES)),
                functional.one_hot(sites.kind, len(Pass)),
                given_points(sites, self.scale_nm),
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
