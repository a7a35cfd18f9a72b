"""Proteins with hydrogens: those of the file if it has them all, otherwise placed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backmap.chemistry import ATOM_SLOTS, SLOT_OXT, Topology
from backmap.chemistry.residues import PLANAR_CARBONS, element
from backmap.chemistry.sites import atom_names
from backmap.errors import InputError, InputWarning
from backmap.io import AtomList
from backmap.postprocessing import Hydrogens

from .contacts import AtomKinds, ContactCounter

LONGEST_BOND_NM = 0.16
"""A hydrogen of a file belongs to the nearest heavy atom of its residue, which is closer than this."""

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
        Flat index ``residue * 15 + slot`` of each heavy atom.
    known : ndarray, (heavy atoms,) bool
        Those whose positions are known.
    elsewhere : ndarray, (heavy atoms, 3)
        Where the others stand, far away, nm.
    counter : ContactCounter
        Counts contacts between the known atoms.
    placer : Hydrogens, or None
        What places the hydrogens; None if they are those of the file.
    """

    heavy: np.ndarray
    known: np.ndarray
    elsewhere: np.ndarray
    counter: ContactCounter
    placer: Hydrogens | None

    def positions(self, atoms: np.ndarray, hydrogens: np.ndarray | None = None) -> np.ndarray:
        """Return all positions (frames, atoms, 3) in nm.

        Parameters
        ----------
        atoms : ndarray, (frames, residues, 15, 3)
            nm.
        hydrogens : ndarray, (frames, hydrogens, 3), optional
            Those of the file, nm.
        """
        flat = np.asarray(atoms, dtype=np.float64).reshape(len(atoms), -1, 3)[:, self.heavy]
        filled = np.where(self.known[:, None], flat, self.elsewhere)
        if self.placer is not None:
            return self.placer.apply(filled)
        assert hydrogens is not None  # there are some, or they would be placed
        return np.concatenate([filled, hydrogens], axis=1)

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
    listed = topology.atom_mask.copy()
    listed[:, SLOT_OXT] = present[:, SLOT_OXT]
    heavy, flat = np.flatnonzero(listed), np.asarray(frame, dtype=np.float64).reshape(-1, 3)
    known = present.reshape(-1)[heavy]
    elsewhere = flat[heavy[known]].max() + _far_away(len(heavy))
    atoms = AtomList.of_protein(topology, listed)
    filled = np.where(known[:, None], flat[heavy], elsewhere)
    if hydrogens is not None and hydrogen_residues is not None and len(hydrogens):
        kinds = _of_file(topology, heavy, linked, filled, hydrogens, hydrogen_residues)
        incomplete = _first_incomplete(kinds, known, topology.preceding(linked))
        if incomplete is None:
            return AllAtoms(heavy, known, elsewhere, ContactCounter(kinds, _counted(kinds, known)), None)
        _warn(
            f"{name}: {topology.describe(incomplete)} lacks hydrogens; those of the file are ignored, and "
            "hydrogens are placed on all residues"
        )
    try:
        placer = Hydrogens(atoms, filled)
    except InputError as error:
        _warn(f"{name}: no clash score, because hydrogens cannot be placed ({error})")
        return None
    kinds = _of_list(placer.atoms)
    return AllAtoms(heavy, known, elsewhere, ContactCounter(kinds, _counted(kinds, known)), placer)


def _far_away(n_atoms: int) -> np.ndarray:
    """Return places (atoms, 3) in nm far from a protein and from each other, for atoms that are not known.

    They are not on a line, on which OpenMM would not know where to place hydrogens.
    """
    along = 1.0 + np.arange(n_atoms)
    return _FAR_NM + np.stack([along, np.sin(along), np.cos(along)], axis=1)


def _counted(kinds: AtomKinds, known: np.ndarray) -> np.ndarray:
    """Mark (atoms,) bool the known heavy atoms, and hydrogens on those whose neighbours are known too."""
    counted = np.ones(len(kinds.elements), dtype=bool)
    counted[~kinds.is_hydrogen] = known
    whole = counted[kinds.neighbours].all(axis=1)
    return np.where(kinds.is_hydrogen, (counted & whole)[kinds.parents], counted)


def _of_list(atoms: AtomList) -> AtomKinds:
    """Describe listed atoms."""
    counts = [len(residue.atom_names) for residue in atoms.residues]
    return AtomKinds(
        tuple(residue.name for residue in atoms.residues),
        np.repeat(np.arange(len(counts)), counts),
        tuple(name for residue in atoms.residues for name in residue.atom_names),
        tuple(element for residue in atoms.residues for element in residue.elements),
        np.array(atoms.bonds, dtype=np.int64).reshape(-1, 2),
    )


def _of_file(
    topology: Topology,
    heavy: np.ndarray,
    linked: np.ndarray,
    positions: np.ndarray,
    hydrogens: np.ndarray,
    hydrogen_residues: np.ndarray,
) -> AtomKinds:
    """Describe heavy atoms and the hydrogens of a file, each bonded to the nearest atom of its residue."""
    residue_of = heavy // ATOM_SLOTS
    number = np.full(topology.n_residues * ATOM_SLOTS, -1)
    number[heavy] = np.arange(len(heavy))
    bonds = number[topology.bonds(linked)]
    bonds = bonds[(bonds >= 0).all(axis=1)]
    start = np.searchsorted(residue_of, np.arange(topology.n_residues + 1))
    parents = np.empty(len(hydrogens), dtype=np.int64)
    for atom, (place, residue) in enumerate(zip(hydrogens, hydrogen_residues, strict=True)):
        own = positions[start[residue] : start[residue + 1]]
        distance = np.linalg.norm(own - place, axis=-1)
        nearest = int(distance.argmin())
        parents[atom] = start[residue] + nearest if distance[nearest] < LONGEST_BOND_NM else -1
    bound = np.flatnonzero(parents >= 0)
    to_hydrogens = np.column_stack([parents[bound], len(heavy) + bound])
    residue_names = tuple(topology.residue_name(residue) for residue in range(topology.n_residues))
    names = [atom_names(residue_names[atom // ATOM_SLOTS])[atom % ATOM_SLOTS] for atom in heavy]
    sulfurs = np.array([atom for atom, name in enumerate(names) if name == "SG"], dtype=np.int64)
    return AtomKinds(
        residue_names,
        np.concatenate([residue_of, hydrogen_residues]),
        (*names, *["H"] * len(hydrogens)),
        (*map(element, names), *["H"] * len(hydrogens)),
        np.concatenate([bonds, to_hydrogens, _disulfides(positions, sulfurs)]),
    )


def _disulfides(positions: np.ndarray, sulfurs: np.ndarray) -> np.ndarray:
    """List pairs (bonds, 2) of sulfurs of cysteine that are within reach of a bond."""
    from scipy.spatial import cKDTree

    if len(sulfurs) < 2:
        return np.empty((0, 2), dtype=np.int64)
    return sulfurs[cKDTree(positions[sulfurs]).query_pairs(_DISULFIDE_NM, output_type="ndarray")]


def _first_incomplete(kinds: AtomKinds, known: np.ndarray, preceding: np.ndarray) -> int | None:
    """Return the first residue that lacks a hydrogen on carbon or on the nitrogen of its backbone, if any."""
    whole = np.append(known, np.ones(kinds.is_hydrogen.sum(), dtype=bool))[kinds.neighbours].all(axis=1)
    hydrogens = kinds.is_hydrogen[kinds.neighbours]
    itself = kinds.neighbours == np.arange(len(kinds.elements))[:, None]
    n_heavy, n_hydrogens = (~hydrogens & ~itself).sum(axis=1), (hydrogens & ~itself).sum(axis=1)
    for atom in np.flatnonzero(~kinds.is_hydrogen & whole):
        residue, name = int(kinds.residue_of[atom]), kinds.names[atom]
        kind = kinds.residue_names[residue]
        if kinds.elements[atom] == "C" and name != "C":
            wanted = (3 if name in PLANAR_CARBONS.get(kind, ()) else 4) - n_heavy[atom]
        else:
            wanted = int(name == "N" and kind != "PRO" and preceding[residue] >= 0)
        if n_hydrogens[atom] < wanted:
            return residue
    return None


def _warn(message: str) -> None:
    warnings.warn(message, InputWarning, stacklevel=3)
