"""Latent codes: their leading direction against the energy, and the diversity of structures of one trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.errors import InputError

from .bond_angle_histograms import bond_lengths
from .bonds import BOND_TOLERANCE
from .distributions import require_finite

POINTS_DRAWN = 2000


@dataclass(frozen=True)
class LatentCorrelation:
    """The leading principal component of latent codes against the energy.

    Attributes
    ----------
    correlation : float
        Pearson correlation, non-negative by the choice of the component's sign.
    variance_share : float
        Fraction of the codes' variance along the component.
    component, energy : ndarray, (points,)
        Up to 2000 frames, evenly spaced in time, for plotting; energies in kJ/mol.
    """

    correlation: float
    variance_share: float
    component: np.ndarray
    energy: np.ndarray


@dataclass(frozen=True)
class CodeDiversity:
    """Structures from many latent codes of one coarse-grained frame.

    Attributes
    ----------
    n_samples : int
    spread : ndarray, (atoms,)
        Root-mean-square distance of each atom from its mean position, nm.
    rmsd : float
        Mean RMSD between two structures, over all pairs, without superposition, nm.
    rmsd_pairs : ndarray, (pairs,)
        RMSD of up to 2000 evenly chosen pairs, nm, for plotting.
    valid : float
        Percent of structures in which every bond is within 10 % of its usual length.
    """

    n_samples: int
    spread: np.ndarray
    rmsd: float
    rmsd_pairs: np.ndarray
    valid: float


def correlate_with_energy(codes: np.ndarray, energies: np.ndarray) -> LatentCorrelation:
    """Correlate the leading principal component of latent codes with the energy.

    Parameters
    ----------
    codes : ndarray, (frames, size)
        Latent codes.
    energies : ndarray, (frames,)
        Potential energies of the same frames, kJ/mol.

    Returns
    -------
    LatentCorrelation

    Raises
    ------
    InputError
        If the numbers of frames differ or are below three, a value is not finite, or nothing varies.
    """
    if codes.ndim != 2 or len(codes) != len(energies) or len(codes) < 3:
        raise InputError(
            f"the latent codes: shape {codes.shape} does not match {len(energies)} energies; "
            "give one row per frame, and at least three frames"
        )
    require_finite(codes, "the latent codes")
    require_finite(energies, "the energies of the latent codes")
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    component = centred @ directions[:, -1]
    deviation = component.std() * energies.std()
    if deviation == 0.0:
        raise InputError(
            "the latent codes: the codes or the energies do not vary, so no correlation is defined; "
            "give frames that differ"
        )
    correlation = float(((component - component.mean()) * (energies - energies.mean())).mean() / deviation)
    drawn = _evenly(len(codes))
    return LatentCorrelation(
        correlation=abs(correlation),
        variance_share=float(variances[-1] / variances.sum()),
        component=np.copysign(1.0, correlation) * component[drawn],
        energy=energies[drawn],
    )


def diversity_of_codes(structures: np.ndarray, bonds: np.ndarray, usual: np.ndarray) -> CodeDiversity:
    """Measure how much structures of one coarse-grained frame differ, and how many are sound.

    Parameters
    ----------
    structures : ndarray, (samples, atoms, 3)
        nm, all built from the same beads, and therefore compared without superposition.
    bonds : ndarray, (bonds, 2) int64
    usual : ndarray, (bonds,)
        Usual length of each bond, nm: the reference's mean.

    Returns
    -------
    CodeDiversity

    Raises
    ------
    InputError
        If there are fewer than two structures, or a position is not finite.
    """
    if len(structures) < 2:
        raise InputError("the structures of one frame: only one was given; give at least two")
    require_finite(structures, "the structures of one frame")
    positions = structures.astype(np.float64)
    from_mean = ((positions - positions.mean(axis=0)) ** 2).sum(axis=-1)
    pairs = np.concatenate(
        [
            np.sqrt(((positions[first + 1 :] - positions[first]) ** 2).sum(axis=-1).mean(axis=-1))
            for first in range(len(positions) - 1)
        ]
    )
    good = np.abs(bond_lengths(positions, bonds) - usual) <= BOND_TOLERANCE * usual
    return CodeDiversity(
        n_samples=len(structures),
        spread=np.sqrt(from_mean.mean(axis=0)),
        rmsd=float(pairs.mean()),
        rmsd_pairs=pairs[_evenly(len(pairs))],
        valid=100.0 * float(good.all(axis=1).mean()),
    )


def _evenly(count: int) -> np.ndarray:
    """Choose up to ``POINTS_DRAWN`` indices, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, POINTS_DRAWN)).round().astype(np.int64))
