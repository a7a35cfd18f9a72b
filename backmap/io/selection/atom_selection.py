"""Selections of the atoms of an output, in mdtraj's selection language."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backmap.errors import InputError

from ..atom_list import AtomList
from ..mdtraj_objects import mdtraj_topology


def select_listed(atoms: AtomList, text: str) -> np.ndarray:
    """Find atoms by a selection such as ``backbone`` or ``name CA CB and chainid 0``.

    Parameters
    ----------
    atoms : AtomList
        All atoms.
    text : str
        A selection in mdtraj's language.

    Returns
    -------
    ndarray, (selected,) int64
        Indices of the selected atoms, ascending.

    Raises
    ------
    InputError
        If mdtraj does not understand the selection, or no atom matches.
    """
    try:
        found = np.asarray(mdtraj_topology(atoms).select(text), dtype=np.int64)
    except Exception as error:  # its parser raises errors of every kind
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"atoms {text!r}: not a selection that mdtraj understands ({reason}); "
            "use backbone, for instance, or name CA CB"
        ) from error
    if not len(found):
        raise InputError(f"atoms {text!r}: matches no atom of the output; select other atoms")
    return found


def listed(atoms: AtomList, selected: np.ndarray) -> AtomList:
    """List only the selected atoms.

    Parameters
    ----------
    atoms : AtomList
        All atoms.
    selected : ndarray, (selected,) int64
        Indices of the selected atoms, ascending.
    """
    kept = np.zeros(atoms.n_atoms, dtype=bool)
    kept[selected] = True
    residues = []
    first = 0
    for residue in atoms.residues:
        places = np.flatnonzero(kept[first : first + len(residue.atom_names)])
        first += len(residue.atom_names)
        if len(places):
            names, elements = (
                tuple(entries[place] for place in places)
                for entries in (residue.atom_names, residue.elements)
            )
            residues.append(replace(residue, atom_names=names, elements=elements))
    number = np.cumsum(kept) - 1
    bonds = tuple((int(number[a]), int(number[b])) for a, b in atoms.bonds if kept[a] and kept[b])
    return AtomList(tuple(residues), atoms.chain_ids, bonds)
