"""The torsions, groups of atoms and bonds of a protein whose motion is measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backmap.chemistry.residues import (
    CHI_ATOMS,
    CHI_SYMMETRIC,
    HEAVY_ATOMS,
    RESIDUE_INDEX,
    SLOT_CB,
)

from .dihedrals import dihedral_angles
from .shared_atoms import AtomKey, first_places, residue_names

if TYPE_CHECKING:
    import mdtraj

TORSIONS = ("chi1", "chi2", "chi3", "chi4", "phi", "psi")
GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "backbone N, C, O": dict.fromkeys(HEAVY_ATOMS, ("N", "C", "O")),
    "CB": dict.fromkeys(HEAVY_ATOMS, ("CB",)),
    "side chain beyond CB": {name: atoms[SLOT_CB + 1 :] for name, atoms in HEAVY_ATOMS.items()},
}
"""Names of atoms whose displacements are averaged, by group and residue type."""

METHYL_AXES: dict[str, tuple[tuple[str, str], ...]] = {
    "ALA": (("CA", "CB"),),
    "ILE": (("CB", "CG2"), ("CG1", "CD1")),
    "LEU": (("CG", "CD1"), ("CG", "CD2")),
    "MET": (("SD", "CE"),),
    "THR": (("CB", "CG2"),),
    "VAL": (("CB", "CG1"), ("CB", "CG2")),
}
"""Bonds about which methyl groups rotate, by residue type."""

FEWEST_FITTED = 3
VALUES_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Torsions:
    """Torsions of one kind.

    Attributes
    ----------
    atoms : ndarray, (torsions, 4) int64
    residues : ndarray, (torsions,) int64
        Index of the residue of each torsion.
    residue_types : ndarray, (torsions,) str
        Standard name of its residue.
    period : ndarray, (torsions,)
        Degrees: 360, or 180 if half a turn changes only names.
    """

    atoms: np.ndarray
    residues: np.ndarray
    residue_types: np.ndarray
    period: np.ndarray


@dataclass(frozen=True)
class Bonds:
    """Bonds of one kind.

    Attributes
    ----------
    labels : list of str
        Such as ``LEU20 CG-CD1``.
    atoms : ndarray, (bonds, 2) int64
    """

    labels: list[str]
    atoms: np.ndarray


@dataclass(frozen=True)
class MovingParts:
    """What is measured of one topology; kinds without any member are left out.

    Attributes
    ----------
    torsions : dict of str to Torsions
        By name: phi, psi, chi1 to chi4.
    groups : dict of str to ndarray, (atoms,) int64
        Atoms whose displacements are averaged.
    bonds : dict of str to Bonds
        By kind: ``N-H``, or ``C-O`` and ``CA-CB`` without hydrogens; ``methyl axes``.
    fitted : ndarray, (atoms,) int64
        Atoms on which frames are superposed: C-alphas, or the backbone if there are fewer than three.
    labels : list of str
        Name and number of each residue.
    """

    torsions: dict[str, Torsions]
    groups: dict[str, np.ndarray]
    bonds: dict[str, Bonds]
    fitted: np.ndarray
    labels: list[str]


def moving_parts(topology: mdtraj.Topology) -> MovingParts:
    """Find the moving parts of a protein, by the names of its residues and atoms."""
    atoms = _NamedAtoms(topology)
    torsions = {name: atoms.torsions(name) for name in TORSIONS}
    groups = {name: atoms.group(members) for name, members in GROUPS.items()}
    bonds = {**_backbone_bonds(atoms), "methyl axes": atoms.bonds(METHYL_AXES)}
    return MovingParts(
        torsions={name: found for name, found in torsions.items() if len(found.atoms)},
        groups={name: found for name, found in groups.items() if len(found)},
        bonds={name: found for name, found in bonds.items() if found.labels},
        fitted=_fitted(atoms),
        labels=atoms.labels,
    )


def torsion_angles(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Measure torsions, (frames, torsions), in degrees."""
    return np.concatenate(
        [dihedral_angles(some[:, None], atoms) for some in some_frames(positions, len(atoms))]
    )


def some_frames(positions: np.ndarray, n_values: int, *, overlap: int = 0) -> Iterator[np.ndarray]:
    """Cut a trajectory so that temporary arrays stay small; parts may share frames with the next."""
    step = max(1, VALUES_AT_ONCE // n_values)
    for start in range(0, len(positions), step):
        yield positions[start : start + step + overlap]


class _NamedAtoms:
    """The atoms of a topology by residue and name."""

    def __init__(self, topology: mdtraj.Topology) -> None:
        self.names = residue_names(topology)
        self.labels = [
            f"{name}{residue.resSeq}" for name, residue in zip(self.names, topology.residues, strict=True)
        ]
        self._places = first_places(topology)
        self._proteins = [index for index, name in enumerate(self.names) if name in RESIDUE_INDEX]
        self._neighbours = list(_neighbours(topology))

    def torsions(self, kind: str) -> Torsions:
        rows = self._chi(int(kind[3:])) if kind.startswith("chi") else self._backbone(kind)
        known = [(index, found) for index, found in rows if self.names[index] in RESIDUE_INDEX and found]
        types = [self.names[index] for index, _ in known]
        period = np.full(len(known), 360.0)
        if kind.startswith("chi"):
            period[CHI_SYMMETRIC[[RESIDUE_INDEX[name] for name in types], int(kind[3:]) - 1]] = 180.0
        atoms = np.array([found for _, found in known], dtype=np.int64).reshape(-1, 4)
        residues = np.array([index for index, _ in known], dtype=np.int64)
        return Torsions(atoms, residues, np.array(types, dtype=str), period)

    def group(self, members: Mapping[str, Sequence[str]]) -> np.ndarray:
        """Return the atoms that have these names, by residue type."""
        keys = [(index, name) for index in self._proteins for name in members[self.names[index]]]
        return np.array([self._places[key] for key in keys if key in self._places], dtype=np.int64)

    def bonds(self, pairs: Mapping[str, Sequence[tuple[str, str]]]) -> Bonds:
        """Return the bonds between atoms of these names, by residue type."""
        labels, atoms = [], []
        for index in self._proteins:
            for pair in pairs.get(self.names[index], ()):
                if found := self._find(*((index, name) for name in pair)):
                    labels.append(f"{self.labels[index]} {'-'.join(pair)}")
                    atoms.append(found)
        return Bonds(labels, np.array(atoms, dtype=np.int64).reshape(-1, 2))

    def named(self, *names: str) -> np.ndarray:
        """Return all atoms of these names, of any residue."""
        return np.array([place for key, place in self._places.items() if key[1] in names], dtype=np.int64)

    def _find(self, *keys: AtomKey) -> list[int] | None:
        """Return the indices of atoms, or None if one is missing."""
        return [self._places[key] for key in keys] if all(key in self._places for key in keys) else None

    def _chi(self, number: int) -> list[tuple[int, list[int] | None]]:
        return [
            (index, self._find(*((index, name) for name in CHI_ATOMS[self.names[index]][number - 1])))
            for index in self._proteins
            if len(CHI_ATOMS[self.names[index]]) >= number
        ]

    def _backbone(self, kind: str) -> list[tuple[int, list[int] | None]]:
        """Return phi or psi with the residue that each belongs to, caps included."""
        rows = []
        for before, after in self._neighbours:
            if kind == "phi":
                rows.append((after, self._find((before, "C"), (after, "N"), (after, "CA"), (after, "C"))))
            else:
                rows.append((before, self._find((before, "N"), (before, "CA"), (before, "C"), (after, "N"))))
        return rows


def _backbone_bonds(atoms: _NamedAtoms) -> dict[str, Bonds]:
    """Return the amide bonds to hydrogen; without hydrogens, C-O and CA-CB."""
    kinds = {
        "-".join(pair): atoms.bonds(dict.fromkeys(HEAVY_ATOMS, (pair,)))
        for pair in (("N", "H"), ("N", "HN"), ("C", "O"), ("CA", "CB"))
    }
    amides = {name: found for name, found in kinds.items() if name.startswith("N-") and found.labels}
    return amides or {name: kinds[name] for name in ("C-O", "CA-CB")}


def _fitted(atoms: _NamedAtoms) -> np.ndarray:
    c_alphas = np.sort(atoms.group(dict.fromkeys(HEAVY_ATOMS, ("CA",))))
    return c_alphas if len(c_alphas) >= FEWEST_FITTED else np.sort(atoms.named("N", "CA", "C"))


def _neighbours(topology: mdtraj.Topology) -> Iterator[tuple[int, int]]:
    """Give successive residues of each chain."""
    for chain in topology.chains:
        indices = [residue.index for residue in chain.residues]
        yield from zip(indices, indices[1:], strict=False)
