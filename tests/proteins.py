"""The C-alphas of proteins as sites and lists, and the atoms of files in their slots."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import ATOM_SLOTS, SLOT_CA, Topology
from backmap.chemistry.sites import Sites
from backmap.io import AtomList, Source


def only_c_alphas(topology: Topology) -> np.ndarray:
    """(residues, 15) bool: the C-alphas."""
    return np.tile(np.arange(ATOM_SLOTS) == SLOT_CA, (topology.n_residues, 1))


def c_alpha_sites(topology: Topology) -> Sites:
    """Sites that a job builds from, if nothing but C-alphas is known."""
    return Sites.of_atoms(topology, only_c_alphas(topology))


def c_alpha_list(topology: Topology) -> AtomList:
    """Atoms of a file that holds only C-alphas."""
    return AtomList.of_protein(topology, only_c_alphas(topology))


def atoms_in_slots(source: Source, frames_per_chunk: int = 100) -> np.ndarray:
    """(frames, residues, 15, 3) positions of all frames of a source in nm, NaN where there is no atom."""
    positions = np.concatenate([chunk.coordinates for chunk in source.chunks(frames_per_chunk)])
    return source.sites.in_slots(positions)


def present_atoms(source: Source) -> np.ndarray:
    """(residues, 15) bool: atoms that a source has."""
    return source.sites.present
