"""Division of residues into chains, and their bonds: one rule for every format, applied once per file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.topology import can_be_bonded, number_steps

from .protein_selection import ProteinSelection
from .whole_molecules import neighbour_steps

_SPANNED_BY_A_BOND_NM = 0.38
_SLACK_NM = 0.1
_FARTHEST_SPANNED_NM = 5.0
_MOST_LEFT_OUT = 100
"""Gaps in the middle of a chain hardly ever have more residues, or span a longer distance."""


def divide_chains(
    selection: ProteinSelection, c_alpha: np.ndarray, box: np.ndarray
) -> tuple[Topology, np.ndarray]:
    """Decide where chains begin and where they break, from labels, numbers, distances and sequence together.

    A chain begins where the file's label changes; where the residue number decreases and the C-alphas are not
    bonded, or the sequence restarts with its first number; and, if chains have no names, at a distance that
    neither a bond nor the missing residues in between can span. Within a chain, all residues that can be
    bonded are bonded.

    Parameters
    ----------
    selection : ProteinSelection
        The residues, in the chains that the file distinguishes.
    c_alpha : ndarray, (residues, 3)
        Their C-alphas, or main beads, in one frame, in nm.
    box : ndarray, (3, 3)
        Box vectors in nm, zero where the frame is not periodic.

    Returns
    -------
    topology : Topology
        The residues in their chains; residues without a number are numbered from 1 in each chain.
    linked : ndarray, (residues,) bool
        True where a residue is bonded to the next one.
    """
    topology = selection.topology
    steps = number_steps(topology.residue_numbers, topology.insertion_codes)
    distance = neighbour_distances(c_alpha, box, steps)
    bonded = can_be_bonded(distance, steps, selection.reach_nm)
    begins = topology.chain_index[1:] != topology.chain_index[:-1]
    slack = _SLACK_NM + selection.reach_nm
    longest = np.minimum(_SPANNED_BY_A_BOND_NM * steps + slack, _FARTHEST_SPANNED_NM)
    spanned = (steps > 1) & (steps <= _MOST_LEFT_OUT) & (distance < longest)
    begins |= ~bonded & ((steps <= 0) | (~selection.labelled[1:] & ~spanned))
    begins = _with_copies(topology, begins, np.flatnonzero(bonded & (steps <= 0)))
    divided = _divided(topology, begins, selection.numbered)
    return divided, np.append(bonded & ~begins, False)


def neighbour_distances(c_alpha: np.ndarray, box: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return distances (residues - 1,) in nm between consecutive C-alphas (residues, 3), across the box."""
    ways, _ = neighbour_steps(c_alpha[None], box[None], steps)
    return np.linalg.norm(ways[0], axis=-1)


def _with_copies(topology: Topology, begins: np.ndarray, falls: np.ndarray) -> np.ndarray:
    """Add the starts of chains that repeat the sequence and first number of the chain before."""
    begins = begins.copy()
    types, numbers = topology.residue_types, topology.residue_numbers
    for fall in falls:
        start = int(np.flatnonzero(begins[:fall])[-1]) + 1 if begins[:fall].any() else 0
        first, length = fall + 1, fall + 1 - start
        copied = np.array_equal(types[first : first + length], types[start:first])
        begins[fall] |= copied and numbers[first] == numbers[start]
    return begins


def _divided(topology: Topology, begins: np.ndarray, numbered: np.ndarray) -> Topology:
    """Divide residues into chains, which begin after the marked residues."""
    chain_index = np.cumsum(np.append(False, begins)[: topology.n_residues]).astype(np.int64)
    first = np.append(0, np.flatnonzero(begins) + 1)
    numbers = topology.residue_numbers
    if not numbered.all():
        counted = 1 + np.arange(topology.n_residues) - first[chain_index]
        chain_numbered = np.bincount(chain_index, numbered) > 0
        numbers = np.where(chain_numbered[chain_index], numbers, counted)
    return replace(
        topology,
        chain_index=chain_index,
        chain_ids=tuple(topology.chain_ids[topology.chain_index[index]] for index in first),
        residue_numbers=numbers,
    )
