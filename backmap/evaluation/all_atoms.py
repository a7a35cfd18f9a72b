"""Proteins with hydrogens: those of the file if it has them all, otherwise placed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backmap.chemistry import ATOM_SLOTS, SLOT_OXT, Topology
from backmap.chemistry.sites import atom_names
from backmap.errors import InputError, InputWarning
from backmap.io import AtomList
from backmap.postprocessing import Hydrogens

from .contacts import AtomKinds, ContactCounter

LONGEST_BOND_NM = 0.16
"""A hydrogen of a file belongs to the nearest heavy atom of its residue, which is closer than this."""

_PLANAR_CARBONS = {
    "ARG": "CZ", "ASN": "CG", "ASP": "CG", "GLN": "CD", "GLU": "CD", "HIS": "CG CD2 CE1",
    "PHE": "CG CD1 CD2 CE1 CE2 CZ", "TRP": "CG CD1 CD2 CE2 CE3 CZ2 CZ3 CH2", "TYR": "CG CD1 CD2 CE1 CE2 CZ",
}  # fmt: skip
_FAR_NM = 100.0
_DISULFIDE_NM = 0.25


class Contacts(NamedTuple):
    """Contacts of samples of one structure.

    Attributes
    ----------
    counts : ndarray, (samples, frames, residues) float64
        See :meth:`ContactCounter.count`.
    n_atoms : ndarray, (samples, residues) int64
        Number of atoms of each residue, including hydrogens.
    """

    counts: np.ndarray
    n_atoms: np.ndarray


@dataclass(frozen=True, eq=False)
class AllAtoms:
    """The atoms of a protein with hydrogens, whose positions follow from those of the heavy atoms or a file.

    Attributes
    ----------
    heavy : ndarray, (heavy atoms,) int64
        Flat index ``residue * 15 + slot`` of each known heavy atom.
    counter : ContactCounter
        Its atoms are the heavy atoms, then the hydrogens.
    placing : tuple of (Hydrogens, ndarray, ndarray, ndarray), or None
        What places the hydrogens, the heavy atoms that it takes, where those stand that are not known, and
        which of its atoms are counted; None if the hydrogens are those of the file.
    """

    heavy: np.ndarray
    counter: ContactCounter
    placing: tuple[Hydrogens, np.ndarray, np.ndarray, np.ndarray] | None

    def positions(self, atoms: np.ndarray, hydrogens: np.ndarray | None = None) -> np.ndarray:
        """Return all positions (frames, atoms, 3) in nm.

        Parameters
        ----------
        atoms : ndarray, (frames, residues, 15, 3)
            nm.
        hydrogens : ndarray, (frames, hydrogens, 3), optional
            Those of the file, nm.
        """
        flat = np.asarray(atoms, dtype=np.float64).reshape(len(atoms), -1, 3)
        if self.placing is None:
            assert hydrogens is not None  # there are some, or they would be placed
            return np.concatenate([flat[:, self.heavy], hydrogens], axis=1)
        placer, taken, elsewhere, counted = self.placing
        filled = np.where(np.isin(taken, self.heavy)[:, None], flat[:, taken], elsewhere)
        return placer.apply(filled)[:, counted]

    def contacts(
        self, atoms: np.ndarray, hydrogens: np.ndarray | None = None, box: np.ndarray | None = None
    ) -> np.ndarray:
        """Count the contacts (frames, residues) of frames; see :meth:`ContactCounter.count`."""
        return self.counter.count(self.positions(atoms, hydrogens), box)


def with_hydrogens(
    topology: Topology,
    present: np.ndarray,
    linked: np.ndarray,
    frame: np.ndarray,
    hydrogens: np.ndarray | None = None,
    hydrogen_residues: np.ndarray | None = None,
    *,
    name: str = "the structure",
) -> AllAtoms | None:
    """Describe a protein with its hydrogens, from one frame.

    Parameters
    ----------
    topology : Topology
    present : ndarray, (residues, 15) bool
        Known heavy atoms.
    linked : ndarray, (residues,) bool
        Residues bonded to their successor.
    frame : ndarray, (residues, 15, 3)
        nm.
    hydrogens : ndarray, (hydrogens, 3), optional
        The hydrogens of the file in nm. If some are missing, all are placed, with a warning.
    hydrogen_residues : ndarray, (hydrogens,) int64, optional
        Their residues.
    name : str
        Name of the file, for messages.

    Returns
    -------
    AllAtoms, or None
        None, with a warning, if hydrogens can be neither read nor placed.
    """
    if hydrogens is not None and hydrogen_residues is not None and len(hydrogens):
        kinds = _of_file(topology, present, linked, frame, hydrogens, hydrogen_residues)
        incomplete = _first_incomplete(topology, present, linked, kinds)
        if incomplete is None:
            return AllAtoms(np.flatnonzero(present), ContactCounter(kinds), None)
        _warn(
            f"{name}: {topology.describe(incomplete)} lacks hydrogens; those of the file are ignored, and "
            "hydrogens are placed on all residues"
        )
    try:
        return _placed(topology, present, frame)
    except InputError as error:
        _warn(f"{name}: no clash score, because hydrogens cannot be placed ({error})")
        return None


def _placed(topology: Topology, present: np.ndarray, frame: np.ndarray) -> AllAtoms:
    """Choose hydrogens; atoms that are not known stand far away, and their neighbours get none."""
    listed = topology.atom_mask.copy()
    listed[:, SLOT_OXT] = present[:, SLOT_OXT]
    taken = np.flatnonzero(listed)
    known = present.reshape(-1)[taken]
    flat = np.asarray(frame, dtype=np.float64).reshape(-1, 3)
    elsewhere = np.zeros((len(taken), 3))
    elsewhere[:, 0] = flat[taken[known]].max() + _FAR_NM + np.arange(len(taken))
    placer = Hydrogens(
        AtomList.of_protein(topology, listed), np.where(known[:, None], flat[taken], elsewhere)
    )
    atoms = placer.atoms
    elements = np.array([element for residue in atoms.residues for element in residue.elements])
    names = [name for residue in atoms.residues for name in residue.atom_names]
    owner = np.repeat(np.arange(len(atoms.residues)), [len(residue.atom_names) for residue in atoms.residues])
    bonds = np.array(atoms.bonds, dtype=np.int64).reshape(-1, 2)
    kept = np.ones(len(elements), dtype=bool)
    kept[elements != "H"] = known
    beside_missing = np.zeros(len(elements), dtype=bool)
    for first, second in (bonds.T, bonds.T[::-1]):
        beside_missing[first[~kept[second]]] = True
    for first, second in (bonds.T, bonds.T[::-1]):
        bound = elements[first] == "H"
        kept[first[bound]] = (kept & ~beside_missing)[second[bound]]
    order = np.concatenate(
        [np.flatnonzero(kept & (elements != "H")), np.flatnonzero(kept & (elements == "H"))]
    )
    number = np.full(len(elements), -1)
    number[order] = np.arange(len(order))
    kinds = AtomKinds(
        tuple(residue.name for residue in atoms.residues),
        owner[order],
        tuple(names[atom] for atom in order),
        tuple(elements[order].tolist()),
        number[bonds[kept[bonds].all(axis=1)]],
    )
    return AllAtoms(taken[known], ContactCounter(kinds), (placer, taken, elsewhere, order))


def _of_file(
    topology: Topology,
    present: np.ndarray,
    linked: np.ndarray,
    frame: np.ndarray,
    hydrogens: np.ndarray,
    hydrogen_residues: np.ndarray,
) -> AtomKinds:
    """Describe heavy atoms and the hydrogens of a file, each bonded to the nearest atom of its residue."""
    heavy = np.flatnonzero(present)
    residue_of = heavy // ATOM_SLOTS
    number = np.full(present.size, -1)
    number[heavy] = np.arange(len(heavy))
    bonds = number[topology.bonds(linked)]
    bonds = bonds[(bonds >= 0).all(axis=1)]
    start = np.searchsorted(residue_of, np.arange(topology.n_residues + 1))
    flat = np.asarray(frame, dtype=np.float64).reshape(-1, 3)[heavy]
    parents = np.empty(len(hydrogens), dtype=np.int64)
    for atom, (place, residue) in enumerate(zip(hydrogens, hydrogen_residues, strict=True)):
        own = slice(start[residue], start[residue + 1])
        distance = np.linalg.norm(flat[own] - place, axis=-1)
        nearest = int(distance.argmin())
        parents[atom] = start[residue] + nearest if distance[nearest] < LONGEST_BOND_NM else -1
    bound = np.flatnonzero(parents >= 0)
    to_hydrogens = np.column_stack([parents[bound], len(heavy) + bound])
    kinds = [atom_names(topology.residue_name(residue)) for residue in range(topology.n_residues)]
    names = [kinds[atom // ATOM_SLOTS][atom % ATOM_SLOTS] for atom in heavy]
    sulfurs = np.array([atom for atom, label in enumerate(names) if label == "SG"], dtype=np.int64)
    return AtomKinds(
        tuple(topology.residue_name(residue) for residue in range(topology.n_residues)),
        np.concatenate([residue_of, hydrogen_residues]),
        (*names, *["H"] * len(hydrogens)),
        (*[label[0] for label in names], *["H"] * len(hydrogens)),
        np.concatenate([bonds, to_hydrogens, _disulfides(flat, sulfurs)]),
    )


def _disulfides(positions: np.ndarray, sulfurs: np.ndarray) -> np.ndarray:
    """List pairs (bonds, 2) of sulfurs of cysteine that are within reach of a bond."""
    from scipy.spatial import cKDTree

    if len(sulfurs) < 2:
        return np.empty((0, 2), dtype=np.int64)
    return sulfurs[cKDTree(positions[sulfurs]).query_pairs(_DISULFIDE_NM, output_type="ndarray")]


def _first_incomplete(
    topology: Topology, present: np.ndarray, linked: np.ndarray, kinds: AtomKinds
) -> int | None:
    """Return the first residue that lacks a hydrogen on carbon or on the nitrogen of its backbone, if any."""
    complete = np.flatnonzero((present | ~topology.atom_mask)[:, :SLOT_OXT].all(axis=1))
    n_heavy = np.zeros(len(kinds.elements), dtype=np.int64)
    heavy_bonds = kinds.bonds[~kinds.is_hydrogen[kinds.bonds].any(axis=1)]
    np.add.at(n_heavy, heavy_bonds.reshape(-1), 1)
    n_hydrogens = np.bincount(kinds.parents[kinds.is_hydrogen], minlength=len(kinds.elements))
    after_break = ~np.append(False, linked[:-1])
    for atom in np.flatnonzero(~kinds.is_hydrogen & np.isin(kinds.residue_of, complete)):
        residue, name = int(kinds.residue_of[atom]), kinds.names[atom]
        kind = kinds.residue_names[residue]
        if kinds.elements[atom] == "C" and name != "C":
            wanted = (3 if name in _PLANAR_CARBONS.get(kind, "").split() else 4) - n_heavy[atom]
        else:
            wanted = int(name == "N" and kind != "PRO" and not after_break[residue])
        if n_hydrogens[atom] < wanted:
            return residue
    return None


def _warn(message: str) -> None:
    warnings.warn(message, InputWarning, stacklevel=3)
