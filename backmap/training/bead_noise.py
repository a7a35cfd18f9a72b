"""Distances between beads of structures with and without noise, for :mod:`backmap.models.beads.noise`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.beads.evidence import BeadTable
from backmap.models.chain import Chain

_NOISE_NM = 0.02
_FEWEST_DISTANCES = 15
_LARGEST_VARIANCE_NM2, _LEAST_VARIANCE_NM2 = 0.03**2, 1e-7
_QUANTILE = 0.98
"""Larger deviations from the median count as much as this quantile of them: a few crystals have errors."""


class BeadBatch(NamedTuple):
    """Beads (1, beads, 3) of some structures, their C-alphas (residues, 3), and which to learn from."""

    beads: Tensor
    table: BeadTable
    chain: Chain
    c_alpha: Tensor
    counted: Tensor


def measure_distances(network: CAlphaEstimator, batches: Sequence[BeadBatch], seed: int) -> None:
    """Measure distances of each kind in structures without noise, and how noise widens them.

    Parameters
    ----------
    network : CAlphaEstimator
        Trained; its :class:`NoiseEstimator` gets what is measured.
    batches : sequence of BeadBatch
        Structures without noise.
    seed : int
        Seed of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    kinds, exact, noisy = [], [], []
    for batch in batches:
        shaken = batch.beads + _NOISE_NM * torch.randn(batch.beads.shape, generator=generator).to(batch.beads)
        before, kind, counted = _distances(network, batch)
        after, _, still = _distances(network, batch._replace(beads=shaken))
        counted = counted & still
        kinds.append(kind[counted])
        exact.append(before[counted])
        noisy.append(after[counted])
    every_kind, found, widened = (torch.cat(part).cpu().numpy() for part in (kinds, exact, noisy))
    expected = np.zeros(network.noise.expected.shape)
    order = np.argsort(every_kind, kind="stable")
    bounds = np.searchsorted(every_kind[order], np.arange(len(expected) + 1))
    for number, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        own = order[first:last]
        if len(own) >= _FEWEST_DISTANCES:
            expected[number] = _expected(found[own].astype(float), widened[own].astype(float))
    network.noise.expected.copy_(torch.from_numpy(expected))


def chance_noise(network: CAlphaEstimator, batch: BeadBatch) -> float:
    """Return the noise in nm that a structure without noise seems to have, if there is evidence of it."""
    c_alpha, _ = network(batch.beads, batch.table, batch.chain)
    beads, table = _whole(batch)
    noise, evidence = network.noise(beads, c_alpha, table, batch.chain)
    return float(noise * (evidence > network.noise.least_evidence))


def _expected(exact: np.ndarray, noisy: np.ndarray) -> tuple[float, float, float]:
    """Return mean, variance and gain of one kind of distances (n,) in nm; zeros if they vary too much."""
    middle = float(np.median(exact))
    squared = (exact - middle) ** 2
    variance = float(np.minimum(squared, np.quantile(squared, _QUANTILE)).mean())
    if variance > _LARGEST_VARIANCE_NM2:
        return 0.0, 0.0, 0.0
    gain = float(((noisy - middle) ** 2 - squared).mean()) / _NOISE_NM**2
    return middle, max(variance, _LEAST_VARIANCE_NM2), max(gain, 0.0)


def _distances(network: CAlphaEstimator, batch: BeadBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return distances (n,) in nm, their kinds, and which of them count."""
    c_alpha, _ = network(batch.beads, batch.table, batch.chain)
    beads, table = _whole(batch)
    distance, kind, counted = network.noise.distances(beads, c_alpha, table, batch.chain)
    return distance[0], kind, counted[0] & (kind < len(network.noise.expected))


def _whole(batch: BeadBatch) -> tuple[Tensor, BeadTable]:
    """Return the beads of residues that are whole."""
    kept = batch.counted[batch.table.residues]
    return batch.beads[:, kept], BeadTable(*(part[kept] for part in batch.table))
