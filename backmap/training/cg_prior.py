"""The prior of a coarse-grained force field, fitted to frames of beads by Boltzmann inversion."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import Tensor

from backmap.cg.prior import (
    HARMONICS,
    Prior,
    bond_angles,
    bond_lengths,
    fourier_terms,
    handedness,
    torsion_angles,
)

_BINS = 72
_LEAST_SHARE = 1e-4
"""Of the weight, in a bin of a torsion that counts."""
_SMALLEST_SPREAD = 1e-4
"""Of a value that hardly varies, so that its force constant is finite."""
_CLOSEST = 0.001
"""Share of frames in which a pair of beads is nearer than its sigma."""


def fit_prior(prior: Prior, beads: np.ndarray, weights: np.ndarray) -> None:
    """Set the parameters of a prior.

    Bonds, angles and handedness get the mean and the variance of the frames, k = kT / variance; torsions the
    Fourier series closest to -kT ln p, shared among the torsions about one bond; pairs the distance below
    which they hardly come.

    Parameters
    ----------
    prior : Prior
        Changed in place.
    beads : ndarray, (frames, beads, 3)
        In nm.
    weights : ndarray, (frames,)
        Weights of the frames, 1 on average.
    """
    positions = torch.from_numpy(beads).to(torch.float64)
    shares = torch.from_numpy(weights / weights.sum())
    for name, values in (
        ("bond", bond_lengths(positions, prior.bonds)),
        ("angle", bond_angles(positions, prior.angles)),
        ("centre", handedness(positions, prior.centres)),
    ):
        mean = shares @ values
        variance = shares @ (values - mean).square()
        stiffness = prior.kt / variance.clamp(min=_SMALLEST_SPREAD**2)
        getattr(prior, f"{name}_parameters").copy_(torch.stack([mean, stiffness], dim=1))
    about = Counter(tuple(row[1:3]) for row in prior.torsions.tolist())
    for row, torsion in enumerate(prior.torsions.tolist()):
        angles = torsion_angles(positions, prior.torsions[row : row + 1])[:, :, 0]
        series = _fourier_series(angles, shares, prior.kt)
        prior.torsion_parameters[row] = series / about[tuple(torsion[1:3])]
    if len(prior.pairs):
        prior.pair_sigma.copy_(
            torch.quantile(bond_lengths(positions, prior.pairs)[:100_000], _CLOSEST, dim=0)
        )


def _fourier_series(cosine_sine: Tensor, shares: Tensor, kt: float) -> Tensor:
    """Fit coefficients (2 HARMONICS,) to the free energy of a torsion with cosine and sine (2, frames)."""
    angle = torch.atan2(cosine_sine[1], cosine_sine[0]).numpy()
    histogram, edges = np.histogram(angle, _BINS, (-np.pi, np.pi), weights=shares.numpy())
    known = histogram > _LEAST_SHARE
    middle = torch.from_numpy(0.5 * (edges[1:] + edges[:-1])[known])
    terms = fourier_terms(torch.stack([middle.cos(), middle.sin()])).T.numpy()
    design = np.column_stack([np.ones(len(terms)), terms])
    root = np.sqrt(histogram[known])[:, None]
    energy = -kt * np.log(histogram[known])
    ridge = 0.03 * np.eye(2 * HARMONICS + 1)[1:]
    fitted = np.linalg.lstsq(
        np.vstack([root * design, ridge]),
        np.concatenate([root[:, 0] * energy, np.zeros(2 * HARMONICS)]),
        rcond=None,
    )[0]
    return torch.from_numpy(fitted[1:])
