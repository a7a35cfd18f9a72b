"""Measure how four consecutive C-alphas stand in a structure corpus.

``python -m backmap.datasets.c_alpha_statistics CORPUS`` writes ``backmap/chemistry/c_alpha_prior.npz``.
"""

from __future__ import annotations

import sys

import numpy as np

from backmap.chemistry import SLOT_CA
from backmap.chemistry.c_alpha_prior import (
    FIRST_ANGLE,
    LAST_ANGLE,
    N_ANGLES,
    N_DIHEDRALS,
    N_WINDOW_KINDS,
    RESOURCE,
    window_kinds,
)
from backmap.datasets.corpus import Corpus, load_corpus
from backmap.datasets.geometry_statistics import bond_angle, bond_length, torsion

TRANS_NM = (0.36, 0.40)
"""Distances of C-alphas across a trans peptide: windows with a cis peptide are too few for a table."""

_BLURS = ((0.9, 0.7), (0.09, 1.75), (0.01, 4.2))
"""Shares and widths, in nodes, of the Gaussians that spread each observation: the widest leads back what is
far from all observations."""

_STEP_KT = 0.05


def measure_energies(corpus: Corpus) -> np.ndarray:
    """Energies of windows in kT, (kinds, 20, 36, 20), the lowest of each kind 0."""
    density = np.stack([_blurred(counts) for counts in _count_windows(corpus)])
    first, second = density.sum((2, 3)), density.sum((1, 2))
    volume = np.sin(np.linspace(FIRST_ANGLE, LAST_ANGLE, N_ANGLES))
    energy = -np.log(density)
    energy += 0.5 * (np.log(first * volume)[:, :, None, None] + np.log(second * volume)[:, None, None, :])
    return energy - energy.min((1, 2, 3), keepdims=True)


def _count_windows(corpus: Corpus) -> np.ndarray:
    c_alpha = corpus.coordinates[:, SLOT_CA].astype(np.float64)
    trans = np.zeros(len(c_alpha), dtype=bool)
    length = bond_length(c_alpha[:-1], c_alpha[1:])
    trans[:-1] = corpus.linked[:-1] & (length > TRANS_NM[0]) & (length < TRANS_NM[1])
    whole = trans[:-3] & trans[1:-2] & trans[2:-1]
    for offset in range(4):
        whole &= corpus.trusted[offset : len(c_alpha) - 3 + offset]
    start = np.flatnonzero(whole)
    points = [c_alpha[start + offset] for offset in range(4)]
    nodes = (
        window_kinds()[corpus.residue_types[start + 1], corpus.residue_types[start + 2]],
        _angle_node(bond_angle(*points[:3])),
        np.round((torsion(*points) + np.pi) / (2 * np.pi) * N_DIHEDRALS).astype(np.int64) % N_DIHEDRALS,
        _angle_node(bond_angle(*points[1:])),
    )
    counts = np.zeros((N_WINDOW_KINDS, N_ANGLES, N_DIHEDRALS, N_ANGLES))
    np.add.at(counts, nodes, 1.0)
    return counts


def _angle_node(angle: np.ndarray) -> np.ndarray:
    place = (angle - FIRST_ANGLE) / (LAST_ANGLE - FIRST_ANGLE) * (N_ANGLES - 1)
    return np.clip(np.round(place), 0, N_ANGLES - 1).astype(np.int64)


def _blurred(counts: np.ndarray) -> np.ndarray:
    """Density over the nodes, nowhere zero."""
    from scipy.ndimage import gaussian_filter

    modes = ("nearest", "wrap", "nearest")
    blurred = sum(share * gaussian_filter(counts, width, mode=modes) for share, width in _BLURS)
    density = blurred / counts.sum() + 1e-9
    return density / density.sum()


def main() -> None:
    """Write the resource that :mod:`backmap.chemistry.c_alpha_prior` reads."""
    energies = measure_energies(load_corpus(sys.argv[1], "train"))
    steps = np.round(energies / _STEP_KT).clip(0, 255).astype(np.uint8)
    np.savez_compressed(RESOURCE, energies=steps, step_kt=np.float64(_STEP_KT))


if __name__ == "__main__":
    main()
