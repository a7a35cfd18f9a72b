"""Hydrogens of a protein at a pH, chosen once by OpenMM."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from backmap.chemistry import HEAVY_ATOMS
from backmap.chemistry.nucleotides import NUCLEOTIDE_INDEX
from backmap.errors import InputError
from backmap.io import AtomList
from backmap.io.selection.disulfide_records import with_disulfides

from .openmm_topology import openmm_topology

LONGEST_PEPTIDE_BOND_NM = 0.2
HIGHEST_PH = 14.0
_OF_CHARGED_ENDS = ("H2", "H3")
"""Hydrogens at N of a charged end besides that of a peptide; proline has only these."""


def choose_hydrogens(atoms: AtomList, reference: np.ndarray, ph: float) -> list[list[tuple[str, str]]]:
    """Let OpenMM choose protonation states and tautomers.

    Parameters
    ----------
    atoms : AtomList
        Heavy atoms of a protein, from :func:`bonds_in_place`.
    reference : ndarray, (atoms, 3)
        Positions in nm; their hydrogen bonds decide the tautomers of histidine.
    ph : float
        The pH that decides protonation states.

    Returns
    -------
    list of list of (str, str)
        The hydrogens of each residue, each with the heavy atom it is bonded to.

    Raises
    ------
    InputError
        If the pH is out of range, OpenMM is missing, or a residue is not one of the twenty amino acids with
        all its heavy atoms and no others.
    """
    if not 0 <= ph <= HIGHEST_PH:
        raise InputError(f"ph {ph}: must be from 0 to {HIGHEST_PH:g}")
    _require_whole_residues(atoms)
    topology = openmm_topology(atoms, "adding hydrogens")
    from openmm import app, unit

    modeller = app.Modeller(topology, np.asarray(reference, dtype=np.float64) * unit.nanometer)
    with _same_random_numbers():
        modeller.addHydrogens(pH=ph)
    hydrogens: list[list[tuple[str, str]]] = [[] for _ in atoms.residues]
    in_peptides = _starts_of_rings(atoms)
    for parent, hydrogen in modeller.topology.bonds():
        if hydrogen.element is app.element.hydrogen:
            residue = parent.residue.index
            # OpenMM takes the first residue of every chain for a charged end.
            if residue not in in_peptides or hydrogen.name not in _OF_CHARGED_ENDS:
                hydrogens[residue].append((hydrogen.name, parent.name))
    return hydrogens


def _starts_of_rings(atoms: AtomList) -> set[int]:
    """Return the first residues of cyclic chains."""
    owner = [index for index, residue in enumerate(atoms.residues) for _ in residue.atom_names]
    return {owner[nitrogen] for _, nitrogen in atoms.closing_bonds}


def bonds_in_place(atoms: AtomList, reference: np.ndarray) -> AtomList:
    """Remove peptide bonds across chain breaks and add disulfide bonds, as found in a frame.

    Parameters
    ----------
    atoms : AtomList
        Heavy atoms of a protein.
    reference : ndarray, (atoms, 3)
        Their positions in nm.
    """
    names = [(residue.name, name) for residue in atoms.residues for name in residue.atom_names]

    def is_broken(first: int, second: int) -> bool:
        peptide = {names[first][1], names[second][1]} == {"C", "N"}
        return peptide and bool(
            np.linalg.norm(reference[first] - reference[second]) > LONGEST_PEPTIDE_BOND_NM
        )

    kept = [bond for bond in atoms.bonds if not is_broken(*bond)]
    return with_disulfides(replace(atoms, bonds=tuple(kept)), np.asarray(reference)[None])


def _require_whole_residues(atoms: AtomList) -> None:
    for index, residue in enumerate(atoms.residues):
        expected = HEAVY_ATOMS.get(residue.name)
        if residue.name in NUCLEOTIDE_INDEX:
            continue
        if expected is None or set(residue.atom_names) - {"OXT"} != set(expected):
            raise InputError(
                f"{atoms.describe(index)}: hydrogens can be added only to the twenty amino acids with all "
                "their heavy atoms and no others; leave out --hydrogens"
            )


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """Seed Python's random numbers, with which OpenMM places new hydrogens, and restore their state."""
    state = random.getstate()
    random.seed(0)
    try:
        yield
    finally:
        random.setstate(state)
