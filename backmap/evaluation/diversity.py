"""Distances between structures of one trace, and how far a set of samples spreads."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, RESIDUE_NAMES, SIDE_CHAIN, SLOT_CB, SLOT_OXT
from backmap.chemistry.residues import EQUIVALENT_ATOMS, HEAVY_ATOMS

from .regions import mean

ATOM_GROUPS: dict[str, slice] = {
    "rmsd": slice(0, SLOT_OXT),
    "rmsd_backbone": slice(0, SLOT_CB),
    "rmsd_side_chain": SIDE_CHAIN,
}
"""Slots of each RMSD. OXT is excluded: which of the two terminal oxygens is named O is arbitrary."""


def _swapped_slots() -> np.ndarray:
    slots = np.tile(np.arange(ATOM_SLOTS), (len(RESIDUE_NAMES), 1))
    for name, pairs in EQUIVALENT_ATOMS.items():
        for pair in pairs:
            first, second = (HEAVY_ATOMS[name].index(atom) for atom in pair)
            slots[RESIDUE_INDEX[name], [first, second]] = second, first
    return slots


_SWAPPED_SLOTS = _swapped_slots()


def squared_distances(
    first: np.ndarray, second: np.ndarray, residue_types: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Measure the squared distance of each atom between structures, without superposition.

    Equivalent atoms of Arg, Asp, Glu, Phe and Tyr are exchanged where that brings the residue closer, if all
    of them are present.

    Parameters
    ----------
    first, second : ndarray, (..., residues, 15, 3)
        nm; leading dimensions broadcast.
    residue_types : ndarray, (residues,) int64
    present : ndarray, (residues, 15) bool
        Atoms present on both sides.

    Returns
    -------
    ndarray, (..., residues, 15)
        nm^2; meaningless where an atom is absent.
    """
    squared = ((first - second) ** 2).sum(axis=-1)
    swaps = _SWAPPED_SLOTS[residue_types]
    moved = swaps != np.arange(ATOM_SLOTS)
    rows = np.flatnonzero(moved.any(axis=-1) & (present | ~moved).all(axis=-1))
    exchanged = np.take_along_axis(
        second[..., rows, :, :], swaps[rows, :, None][(None,) * (second.ndim - 3)], axis=-2
    )
    other = ((first[..., rows, :, :] - exchanged) ** 2).sum(axis=-1)
    same = squared[..., rows, :]
    closer = np.where(moved[rows], other - same, 0.0).sum(axis=-1) < 0
    squared[..., rows, :] = np.where(closer[..., None], other, same)
    return squared


def rmsd(squared: np.ndarray, present: np.ndarray, regions: np.ndarray, group: str = "rmsd") -> np.ndarray:
    """Average squared distances over the atoms of a group.

    Parameters
    ----------
    squared : ndarray, (..., residues, 15)
        nm^2, as returned by :func:`squared_distances`.
    present : ndarray, (residues, 15) bool
    regions : ndarray, (2, residues) bool
    group : str
        Key of ``ATOM_GROUPS``.

    Returns
    -------
    ndarray, (2, ...)
        nm; NaN where a region has no such atom.
    """
    slots = ATOM_GROUPS[group]
    counted = (regions[:, :, None] & present[:, slots]).reshape(len(regions), -1)
    selected = squared[..., slots]
    return np.sqrt(mean(selected.reshape(*selected.shape[:-2], -1), counted))


def diversity(to_reference: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Compare the spread of samples with their distance from the reference: DIV = 1 - RMSD_gen / RMSD_ref.

    Parameters
    ----------
    to_reference : ndarray, (..., samples, frames)
        RMSD of each sample to the reference.
    between : ndarray, (..., samples, samples, frames)
        RMSD between samples; the diagonal is not used.

    Returns
    -------
    ndarray, (..., frames)
        1 if all samples are identical, 0 if samples differ from each other as much as from the reference. NaN
        with fewer than two samples, or if the samples equal the reference.
    """
    count = to_reference.shape[-2]
    if count < 2:
        return np.full((*to_reference.shape[:-2], to_reference.shape[-1]), np.nan)
    rows, columns = np.triu_indices(count, 1)
    spread, distance = between[..., rows, columns, :].mean(axis=-2), to_reference.mean(axis=-2)
    return 1.0 - np.divide(spread, distance, out=np.full(distance.shape, np.nan), where=distance > 0)


def leave_one_out(to_reference: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Return the diversity, averaged over frames, with each sample left out in turn, for the jackknife.

    Returns
    -------
    ndarray, (samples, ...)
    """
    everyone = np.arange(to_reference.shape[-2])
    kept = [np.delete(everyone, sample) for sample in everyone]
    return np.stack(
        [
            diversity(to_reference[..., keep, :], between[..., keep[:, None], keep, :]).mean(axis=-1)
            for keep in kept
        ]
    )


def jackknife_error(values: np.ndarray) -> np.ndarray:
    """Return the standard error from leave-one-out values, (samples, ...)."""
    count = len(values)
    return np.sqrt((count - 1) / count * ((values - values.mean(axis=0)) ** 2).sum(axis=0))
