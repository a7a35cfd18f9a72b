"""Hydrogens for frames of heavy atoms: chosen once, then placed in all frames at once."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from backmap.chemistry.hydrogen_sites import (
    MOST_CHOICES,
    PLANAR_ATOMS,
    Site,
    SiteAxes,
    along_axes,
    ideal_places,
)
from backmap.io import AtomList
from backmap.io.atom_list import ListedResidue

from .modified_residues import ModifiedResidues
from .protonation import bonds_in_place, choose_hydrogens
from .turning_hydrogens import ACCEPTOR_DISTANCE_NM, CONTACT_DISTANCES_NM, Surroundings, TurningHydrogens


class Hydrogens:
    """Adds hydrogens at a given pH to frames of heavy atoms.

    OpenMM chooses the hydrogens once, from a reference frame, so that all frames have the same atoms. They
    are placed at ideal bond lengths and angles; methyl and ammonium groups are staggered, and the hydrogens
    of OH and SH are rotated, frame by frame, to where they overlap least or form a hydrogen bond. Objects can
    be pickled, and used by several threads at once.

    Parameters
    ----------
    atoms : AtomList
        All heavy atoms of a protein.
    reference : ndarray, (atoms, 3)
        A frame in nm, which determines the protonation of histidines, the disulfide bonds and the chain
        breaks.
    ph : float
        The pH that decides protonation states.
    modified : ModifiedResidues, optional
        The step before, which turns ``atoms`` into modified residues. Their hydrogens are those of the amino
        acids they are made of, except where atoms were added.

    Attributes
    ----------
    atoms : AtomList
        All atoms; hydrogens follow the heavy atoms of their residue. The bonds include disulfide bonds, but
        not peptide bonds across chain breaks.

    Raises
    ------
    InputError
        If the pH is out of range, OpenMM is missing, or a residue is not one of the twenty amino acids with
        all its heavy atoms and no others.
    """

    atoms: AtomList

    def __init__(
        self,
        atoms: AtomList,
        reference: np.ndarray,
        *,
        ph: float = 7.0,
        modified: ModifiedResidues | None = None,
    ) -> None:
        resulting = reference
        if modified is not None:
            resulting = modified.apply(reference[None])[0]
            reference = modified.parents_of(reference[None])[0]
        atoms = bonds_in_place(atoms, reference)
        chosen = choose_hydrogens(atoms, reference, ph)
        kinds, planar = [residue.name for residue in atoms.residues], frozenset[tuple[int, str]]()
        if modified is not None:
            chosen = modified.hydrogens(chosen)
            atoms = bonds_in_place(modified.atoms, resulting)
            kinds, planar = list(modified.parents), modified.planar
        protein = _Protonated.of(atoms, chosen)
        self.atoms = protein.atoms
        self._heavy = protein.heavy
        sites = _find_sites(atoms, protein, kinds, planar)
        self._axes = SiteAxes(sites)
        self._fixed = _Places.of(sites, turning=False)
        self._turning = _Places.of(sites, turning=True)
        standing = np.setdiff1d(np.arange(self.atoms.n_atoms), self._turning.hydrogens)
        self._standing = standing
        turned = [sites[index] for index in self._turning.site]
        donors, neighbours = (
            np.searchsorted(standing, self._heavy[np.array(heavy, dtype=np.int64)])
            for heavy in ([site.atom for site in turned], [site.neighbours[0] for site in turned])
        )
        self._turn = TurningHydrogens(donors, neighbours, _surroundings(protein.atoms, kinds, standing))

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Add hydrogens to frames.

        Parameters
        ----------
        coordinates : ndarray, (frames, heavy atoms, 3) float64
            In nm.

        Returns
        -------
        ndarray, (frames, atoms, 3) float64
            In nm; heavy atoms are bitwise unchanged. The result of a frame does not depend on other frames.
        """
        coordinates = np.asarray(coordinates, dtype=np.float64)
        result = np.empty((len(coordinates), self.atoms.n_atoms, 3))
        result[:, self._heavy] = coordinates
        if not len(coordinates):
            return result
        axes = self._axes(coordinates)
        result[:, self._fixed.hydrogens] = self._fixed.around(coordinates, axes)[:, :, 0]
        if len(self._turning.hydrogens):
            candidates = self._turning.around(coordinates, axes)
            result[:, self._turning.hydrogens] = self._turn.choose(candidates, result[:, self._standing])
        return result


@dataclass(frozen=True)
class _Protonated:
    """A protein with hydrogens.

    Attributes
    ----------
    atoms : AtomList
        All atoms.
    heavy : ndarray, (heavy atoms,) int64
        Indices of the heavy atoms among all atoms.
    hydrogens : dict of int to list of int
        Hydrogens (indices among all atoms) of each heavy atom (index among heavy atoms).
    """

    atoms: AtomList
    heavy: np.ndarray
    hydrogens: dict[int, list[int]]

    @classmethod
    def of(cls, atoms: AtomList, chosen: list[list[tuple[str, str]]]) -> _Protonated:
        """Insert the chosen hydrogens after the heavy atoms of their residue."""
        residues: list[ListedResidue] = []
        heavy: list[int] = []
        hydrogens: dict[int, list[int]] = {}
        number = 0
        for residue, added in zip(atoms.residues, chosen, strict=True):
            names = residue.atom_names + tuple(name for name, _ in added)
            elements = residue.elements + ("H",) * len(added)
            residues.append(replace(residue, atom_names=names, elements=elements))
            first, count = len(heavy), len(residue.atom_names)
            heavy += range(number, number + count)
            for place, (_, parent) in enumerate(added):
                atom = first + residue.atom_names.index(parent)
                hydrogens.setdefault(atom, []).append(number + count + place)
            number += len(names)
        numbers = np.array(heavy, dtype=np.int64)
        bonds = [(heavy[first], heavy[second]) for first, second in atoms.bonds]
        bonds += [(heavy[atom], hydrogen) for atom, bonded in hydrogens.items() for hydrogen in bonded]
        listed = AtomList(tuple(residues), atoms.chain_ids, tuple(bonds))
        return cls(listed, numbers, hydrogens)


@dataclass(frozen=True)
class _Places:
    """Hydrogens, each with its site and its possible positions.

    Attributes
    ----------
    hydrogens : ndarray, (hydrogens,) int64
        Indices among all atoms.
    site, atom : ndarray, (hydrogens,) int64
        The site of each, and the index of its heavy atom among heavy atoms.
    places : ndarray, (hydrogens, choices, 3)
        Positions along the axes of the site in nm.
    """

    hydrogens: np.ndarray
    site: np.ndarray
    atom: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, sites: list[Site], *, turning: bool) -> _Places:
        """Collect the hydrogens with one choice, or those with several, repeated up to the maximum."""
        choices = MOST_CHOICES if turning else 1
        taken = [
            (hydrogen, index, site.atom, np.resize(site.places[:, place], (choices, 3)))
            for index, site in enumerate(sites)
            if (len(site.places) > 1) == turning
            for place, hydrogen in enumerate(site.hydrogens)
        ]
        hydrogens, site, atom = (np.array([entry[i] for entry in taken], dtype=np.int64) for i in range(3))
        return cls(hydrogens, site, atom, np.array([entry[3] for entry in taken]).reshape(-1, choices, 3))

    def around(self, coordinates: np.ndarray, axes: np.ndarray) -> np.ndarray:
        """Return positions (frames, hydrogens, choices, 3) in nm, given heavy atoms and axes of all sites."""
        return coordinates[:, self.atom, None] + along_axes(self.places, axes[:, self.site, None])


def _find_sites(
    atoms: AtomList, protein: _Protonated, kinds: Sequence[str], planar: Set[tuple[int, str]]
) -> list[Site]:
    """Find every heavy atom with hydrogens and how it is bonded, given the amino acid of each residue."""
    of_residue = [
        (index, name) for index, residue in enumerate(atoms.residues) for name in residue.atom_names
    ]
    bonded: list[list[int]] = [[] for _ in of_residue]
    for first, second in atoms.bonds:
        bonded[first].append(second)
        bonded[second].append(first)

    def is_planar(atom: int) -> bool:
        residue, name = of_residue[atom]
        peptide = name == "N" and len(protein.hydrogens.get(atom, ())) == 1
        return peptide or (residue, name) in planar or name in PLANAR_ATOMS.get(kinds[residue], ())

    elements = [element for residue in atoms.residues for element in residue.elements]
    sites = []
    for atom, hydrogens in protein.hydrogens.items():
        neighbours = sorted(bonded[atom])
        residue, name = of_residue[atom]
        if (kinds[residue], name) == ("PRO", "CD"):
            neighbours.reverse()  # N sorts first, but CG is closer to the main chain along the side chain
        alone = len(neighbours) == 1
        places = ideal_places(
            elements[atom],
            len(neighbours),
            len(hydrogens),
            planar=is_planar(atom),
            next_planar=alone and is_planar(neighbours[0]),
        )
        behind = next(other for other in sorted(bonded[neighbours[0]]) if other != atom) if alone else -1
        sites.append(Site(atom, tuple(neighbours), behind, tuple(hydrogens), places))
    return sites


def _surroundings(atoms: AtomList, kinds: Sequence[str], standing: np.ndarray) -> Surroundings:
    """Collect how close a hydrogen may come to each placed atom, and whether the atom is an acceptor."""
    elements = [element for residue in atoms.residues for element in residue.elements]
    named = zip(kinds, atoms.residues, strict=True)
    names = [(kind, name) for kind, residue in named for name in residue.atom_names]
    protonated = {
        heavy for bond in atoms.bonds for heavy in bond if "H" in (elements[bond[0]], elements[bond[1]])
    }
    imidazole = {("HIS", "ND1"), ("HIS", "NE2")}
    contact = np.array([CONTACT_DISTANCES_NM[element] for element in elements])
    accepts = np.array([element == "O" for element in elements])
    for atom, name in enumerate(names):
        if name in imidazole and atom not in protonated:
            contact[atom], accepts[atom] = ACCEPTOR_DISTANCE_NM, True
    return Surroundings(contact[standing], accepts[standing])
