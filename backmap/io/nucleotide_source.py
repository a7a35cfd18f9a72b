"""Open any structure or trajectory as a stream of frames of its nucleotides' atoms."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from backmap.chemistry.nucleotides import NUCLEOTIDE_SLOTS, SLOT_C1, SLOT_O3, SLOT_O5, SLOT_P
from backmap.errors import InputError, InputWarning

from .frames import Frames
from .reader import EVERY_FRAME, FrameRange, FrameSource, OpenedFiles, open_files
from .selection.coordinate_checks import MAX_COORDINATE_NM, NOT_FINITE
from .selection.nucleotide_atoms import NucleotideAtoms, find_nucleotide_atoms
from .selection.whole_molecules import ChainsOfAtoms, make_whole, narrowest_width, periodic_boxes

_MAX_BOND_NM = 0.25
"""O3' and P that are farther apart are not bonded; bonds have 0.16 nm."""

_MAX_ACROSS_PHOSPHATE_NM = 0.35
"""O3' and O5' of bonded nucleotides are 0.25 nm apart."""

_MIN_BOX_WIDTH_NM = 1.5
"""In a narrower box the nearest image of the atoms of a nucleotide is ambiguous."""

_NAMES_SHOWN = 4


class NucleotideSource(FrameSource):
    """The nucleotides of an opened structure or trajectory of atoms, made by :func:`open_nucleotides`.

    Chunks have coordinates (frames, nucleotides, 23, 3) in nm, NaN where there is no atom, with strands made
    whole.

    Attributes
    ----------
    topology : NucleicTopology
        The nucleotides, with the bonds of the first sound frame.
    given : ndarray, (nucleotides, 23) bool
        Atoms that the file has.
    """

    def __init__(self, opened: OpenedFiles, found: NucleotideAtoms, frames: FrameRange) -> None:
        path = str(opened.files[0])
        super().__init__(path, opened.frames, frames=frames, skip_bad=False, files=opened.files)
        self.topology, self.given = found.topology, found.index >= 0
        self._index = found.index[self.given]
        rows, slots = np.nonzero(self.given)
        steps = np.ones(self.topology.n_nucleotides - 1, dtype=np.int64)
        self._chains = ChainsOfAtoms(rows, np.flatnonzero(slots == SLOT_C1), self.topology.chain_index, steps)
        first = self.first_frames(1)
        self.topology = replace(self.topology, linked=self._linked(first.coordinates[0]))

    def _linked(self, atoms: np.ndarray) -> np.ndarray:
        """Return which nucleotides are bonded to the next, given atoms (nucleotides, 23, 3)."""
        same = np.diff(self.topology.chain_index) == 0
        bond = np.linalg.norm(atoms[1:, SLOT_P] - atoms[:-1, SLOT_O3], axis=-1)
        across = np.linalg.norm(atoms[1:, SLOT_O5] - atoms[:-1, SLOT_O3], axis=-1)
        bare = np.flatnonzero(same & np.isnan(bond) & (across < _MAX_ACROSS_PHOSPHATE_NM))
        if len(bare):
            place = self.topology.describe(int(bare[0]) + 1)
            raise InputError(f"{self.name}: {place} has no atom P; complete the structure first")
        return np.append(same & (bond < _MAX_BOND_NM), False)  # a distance from NaN is not below

    def _take(self, raw: Frames) -> tuple[np.ndarray, np.ndarray]:
        positions = raw.coordinates[:, self._index]
        boxes = periodic_boxes(raw.periodic_box, len(raw))
        with np.errstate(invalid="ignore"):
            sound = (np.abs(positions) < MAX_COORDINATE_NM).all(axis=(1, 2))
        sound &= np.isfinite(boxes).all(axis=(1, 2)) & (narrowest_width(boxes) >= _MIN_BOX_WIDTH_NM)
        whole = make_whole(positions, np.where(sound[:, None, None], boxes, 0.0), self._chains)
        atoms = np.full((len(raw), self.topology.n_nucleotides, NUCLEOTIDE_SLOTS, 3), np.nan)
        atoms[:, self.given] = whole
        return atoms, sound

    def _refuse(self, raw: Frames, number: int) -> NoReturn:
        positions = raw.coordinates[0, self._index]
        with np.errstate(invalid="ignore"):
            plausible = (np.abs(positions) < MAX_COORDINATE_NM).all(axis=-1)
        if plausible.all():
            raise InputError(f"{self.name}: frame {number + 1}: its box is damaged or too narrow; repair it")
        place = self.topology.describe(int(np.nonzero(self.given)[0][plausible.argmin()]))
        raise InputError(f"{self.name}: frame {number + 1}, {place}: {NOT_FINITE}")


def open_nucleotides(
    path: str | Path,
    top: str | Path | None = None,
    *,
    skip_unknown: bool = False,
    frames: FrameRange = EVERY_FRAME,
    warn_of_others: bool = True,
) -> NucleotideSource:
    """Open the nucleotides of a structure or trajectory of atoms.

    Parameters
    ----------
    path, top, skip_unknown, frames
        As for :func:`backmap.io.open_source`.
    warn_of_others : bool
        Warn of residues that are not nucleotides, which are left out.

    Raises
    ------
    InputError
        If the file cannot be used, or a nucleotide is not known or not complete.
    """
    opened = open_files(path, top)
    opened.require_same_atoms("give the topology it was written with")
    file = str(opened.files[-1])
    found = find_nucleotide_atoms(opened.names.residues, file, skip_unknown=skip_unknown)
    if warn_of_others and found.others:
        counts = Counter(found.others).most_common()
        counted = ", ".join(f"{number} {name}" for name, number in counts[:_NAMES_SHOWN])
        more = " ..." if len(counts) > _NAMES_SHOWN else ""
        warnings.warn(
            f"{file}: left out residues that are not nucleotides: {counted}{more}", InputWarning, stacklevel=2
        )
    return NucleotideSource(opened, found, frames)
