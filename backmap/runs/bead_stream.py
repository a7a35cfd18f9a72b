"""Frames of beads on their way from atoms to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backmap.chemistry.residues import element
from backmap.io import AtomList, Frames
from backmap.io.atom_list import ListedResidue
from backmap.io.selection.other_molecules import NO_ELEMENT


@dataclass(frozen=True)
class BeadStream:
    """Beads of the frames of a file.

    Parameters
    ----------
    listed : AtomList
        The beads.
    inputs : tuple of Path
        Files that are read.
    frame_interval_ps : float or None
        Time between frames, if it is known.
    frames_per_chunk : int
        Frames that fit into memory together.
    read : callable
        Yields chunks of this many frames with coordinates (frames, beads, 3) in nm.
    """

    listed: AtomList
    inputs: tuple[Path, ...]
    frame_interval_ps: float | None
    frames_per_chunk: int
    read: Callable[[int], Iterator[Frames]]

    def followed_by(self, other: BeadStream) -> BeadStream:
        """Return these beads and then other beads of the same frames."""

        def read(frames_per_chunk: int) -> Iterator[Frames]:
            pairs = zip(self.read(frames_per_chunk), other.read(frames_per_chunk), strict=True)
            for own, further in pairs:
                yield replace(own, coordinates=np.concatenate([own.coordinates, further.coordinates], axis=1))

        inputs = tuple(dict.fromkeys([*self.inputs, *other.inputs]))
        fitting = min(self.frames_per_chunk, other.frames_per_chunk)
        return BeadStream(
            self.listed.followed_by(other.listed), inputs, self.frame_interval_ps, fitting, read
        )


def listed_beads(
    residues: Sequence[ListedResidue],
    chain_ids: tuple[str, ...],
    names: Sequence[str],
    owners: np.ndarray,
    weights: np.ndarray,
) -> AtomList:
    """List beads for writing.

    A bead of one atom has the element of the atom, and a bead of several is a virtual site.

    Parameters
    ----------
    residues : sequence of ListedResidue
        Residues, with the atom of each slot. Those without beads are left out.
    chain_ids : tuple of str
        Name of each chain.
    names : sequence of str
        Name of each bead.
    owners : ndarray, (beads,) int64
        Residue of each bead, ascending.
    weights : ndarray, (beads, slots)
        Weight of each atom of its residue.
    """
    first = np.searchsorted(owners, np.arange(len(residues) + 1))
    single, slots = np.count_nonzero(weights, axis=1) == 1, weights.argmax(axis=1)
    listed = []
    for residue, begin, end in zip(residues, first[:-1].tolist(), first[1:].tolist(), strict=True):
        elements = tuple(
            element(residue.atom_names[slot]) if is_atom else NO_ELEMENT
            for slot, is_atom in zip(slots[begin:end].tolist(), single[begin:end].tolist(), strict=True)
        )
        if elements:
            listed.append(replace(residue, atom_names=tuple(names[begin:end]), elements=elements))
    return AtomList(tuple(listed), chain_ids, ())
