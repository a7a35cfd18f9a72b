"""Windows of five nucleotides from simulations, of which the library of nucleic acids is made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backmap.chemistry.nucleotides import (
    BACKBONE_ATOMS,
    N_BACKBONE_SLOTS,
    NUCLEOTIDE_INDEX,
    PURINES,
    SLOT_C1,
    SLOT_C4,
    SLOT_C5,
    SLOT_O5,
    SLOT_OP1,
    SLOT_OP2,
    SLOT_P,
    base_letter,
    is_deoxy,
)

_WINDOW = 5
_PHOSPHATE, _BESIDE = [SLOT_P, SLOT_OP1, SLOT_OP2], [SLOT_O5, SLOT_C5, SLOT_C4]
"""Slots of P and its oxygens, which 5' ends lack, and of O5', C5' and C4' beside them.
There they are placed as in the next nucleotide."""

_MAY_BE_MISSING = {"dna": ("P", "OP1", "OP2", "O2'"), "rna": ("P", "OP1", "OP2")}
_SLOTS_COMPARED = (SLOT_P, SLOT_C4, SLOT_C1, *range(N_BACKBONE_SLOTS, N_BACKBONE_SLOTS + 3))
"""P, C4', C1' and the base's frame tell windows apart."""


def read_windows(trajectories: Sequence[tuple[Path, Path]], kind: str) -> np.ndarray:
    """Read windows of ``dna`` or ``rna`` from pairs of a trajectory and its topology.

    Returns
    -------
    ndarray, (windows, 5, 15, 3) float32
        Phosphate, sugar and the base's frame in nm; O2' is zero in DNA.
    """
    import mdtraj

    found = []
    for path, top in trajectories:
        trajectory = mdtraj.load(str(path), top=str(top))
        for chain in trajectory.topology.chains:
            rows = [_atoms_of(residue, kind) for residue in chain.residues]
            if None in rows or len(rows) < _WINDOW:
                continue
            index = np.array(rows)
            atoms = np.where((index < 0)[:, :, None], np.float32(0), trajectory.xyz[:, index.clip(0)])
            if index[0, SLOT_P] < 0:
                atoms[:, 0, _PHOSPHATE] = _placed(
                    atoms[:, 1, _PHOSPHATE], atoms[:, 1, _BESIDE], atoms[:, 0, _BESIDE]
                )
            found += [atoms[:, first : first + _WINDOW] for first in range(len(rows) - _WINDOW + 1)]
    return np.concatenate(found) if found else np.zeros((0, _WINDOW, len(BACKBONE_ATOMS) + 3, 3), np.float32)


def _placed(atoms: np.ndarray, frame: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Move atoms (frames, atoms, 3) from the axes of three atoms (frames, 3, 3) to those of others."""
    one, two = _axes(frame), _axes(other)
    local = np.einsum("fax,fyx->fay", atoms - frame[:, :1], one)
    return np.einsum("fay,fyx->fax", local, two) + other[:, :1]


def _axes(points: np.ndarray) -> np.ndarray:
    """Return orthonormal axes (frames, 3, 3) as rows, of three atoms (frames, 3, 3)."""
    x = points[:, 1] - points[:, 0]
    z = np.cross(x, points[:, 2] - points[:, 0])
    rows = [x, np.cross(z, x), z]
    return np.stack([row / np.linalg.norm(row, axis=-1, keepdims=True) for row in rows], axis=1)


def _atoms_of(residue: object, kind: str) -> list[int] | None:
    """Return the indices of the atoms of a residue, -1 for those it may lack; None if it is unusable."""
    name = residue.name  # type: ignore[attr-defined]
    if name not in NUCLEOTIDE_INDEX or is_deoxy(name) != (kind == "dna"):
        return None
    places = {atom.name: atom.index for atom in residue.atoms}  # type: ignore[attr-defined]
    frame = ("N9", "C4", "C8") if base_letter(name) in PURINES else ("N1", "C2", "C6")
    rows = [places.get(atom, -1) for atom in (*BACKBONE_ATOMS, *frame)]
    needed = [
        row
        for atom, row in zip((*BACKBONE_ATOMS, *frame), rows, strict=True)
        if atom not in _MAY_BE_MISSING[kind]
    ]
    return None if min(needed) < 0 else rows


def most_different(windows: np.ndarray, number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Choose windows that are far from each other, and count those that are nearest to each.

    The farthest window from all chosen ones is added next, by the distances between its atoms.

    Parameters
    ----------
    windows : ndarray, (windows, 5, 15, 3)
        In nm.
    number : int
        How many to choose.
    seed : int
        Chooses the first one.

    Returns
    -------
    chosen : ndarray, (number,) int64
        Indices of the windows.
    counts : ndarray, (number,) int64
        How many windows are nearest to each, itself included.
    """
    points = windows[:, :, _SLOTS_COMPARED].reshape(len(windows), -1, 3)
    one, other = np.triu_indices(points.shape[1], 1)
    features = np.linalg.norm(points[:, one] - points[:, other], axis=-1)
    chosen = [int(np.random.default_rng(seed).integers(len(windows)))]
    nearest = np.zeros(len(windows), dtype=np.int64)
    distance = np.full(len(windows), np.inf)
    while True:
        apart = np.linalg.norm(features - features[chosen[-1]], axis=1)
        closer = apart < distance
        nearest[closer] = len(chosen) - 1
        distance = np.minimum(distance, apart)
        if len(chosen) >= min(number, len(windows)):
            break
        chosen.append(int(distance.argmax()))
    return np.array(chosen), np.bincount(nearest, minlength=len(chosen))
