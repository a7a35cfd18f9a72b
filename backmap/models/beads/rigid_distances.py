"""The noise of beads that are atoms, from distances that bonds and bond angles fix."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import SLOT_C, SLOT_CB, SLOT_N
from backmap.chemistry.ideal_geometry import bond_table, ideal_geometry, span_tables
from backmap.models.beads.evidence import BeadTable
from backmap.models.chain import Chain

_SLOTS = SLOT_CB + 1
"""N, CA, C, O and CB: side chains differ more from ideal geometry."""

_FEWEST = 10
_LEAST_NOISE_NM = 0.0075
"""Atoms bear less noise without strain, and those of atomistic simulations look as if they had it."""

_MEDIAN_OF_SQUARE = 0.4549
"""Of a normally distributed number with variance 1."""


class RigidDistances:
    """Distances between beads that are backbone atoms or CB, one or two bonds apart.

    Parameters
    ----------
    table : BeadTable
        The beads.
    chain : Chain
        The sequence.
    """

    def __init__(self, table: BeadTable, chain: Chain) -> None:
        places = torch.full((chain.n_residues, _SLOTS), -1, device=chain.types.device)
        atoms = torch.nonzero((table.weights[:, :_SLOTS] == 1.0).any(dim=1)).squeeze(-1)
        places[table.residues[atoms], table.weights[atoms, :_SLOTS].argmax(dim=1)] = atoms
        within, across = _lengths()
        after = places[chain.following.clamp_min(0)].masked_fill(~chain.linked[:, None], -1)
        pairs, lengths = [], []
        for first in range(_SLOTS):
            for second in range(_SLOTS):
                own = torch.from_numpy(within[:, first, second]).to(places.device)[chain.types]
                next_one = own.new_full((chain.n_residues,), float(across[first, second]))
                for partner, length in ((places, own), (after, next_one)):
                    both = torch.stack([places[:, first], partner[:, second]], dim=1)
                    there = (both >= 0).all(dim=1) & ~length.isnan()
                    pairs.append(both[there])
                    lengths.append(length[there])
        self._pairs, self._lengths = torch.cat(pairs), torch.cat(lengths)

    def noise(self, beads: Tensor) -> Tensor:
        """Return the standard deviation of a coordinate (frames,) in nm; zero if the beads may well be exact.

        The median makes single residues with errors count little. Zero also if too few distances are known.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3)
            In nm.
        """
        if len(self._lengths) < _FEWEST:
            return beads.new_zeros(len(beads), dtype=torch.float64)
        first, second = self._pairs.unbind(dim=1)
        distance = torch.linalg.vector_norm((beads[:, first] - beads[:, second]).double(), dim=-1)
        squared = (distance - self._lengths).square().median(dim=1).values
        noise = (squared / _MEDIAN_OF_SQUARE / 2).sqrt()
        return noise * (noise > _LEAST_NOISE_NM)


def _lengths() -> tuple[np.ndarray, np.ndarray]:
    """Return lengths (20, slots, slots) in nm within residues, and (slots, slots) to the successor.

    NaN where neither a bond nor an angle fixes a distance, and below the diagonal of the former.
    """
    spans, across = span_tables()
    bonds = bond_table()
    within = np.where(np.isnan(bonds), spans, bonds)[:, :_SLOTS, :_SLOTS]
    across = across[:_SLOTS, :_SLOTS].copy()
    across[SLOT_C, SLOT_N] = ideal_geometry()["peptide"]["trans"]["C-N"]
    return np.where(np.triu(np.ones(within.shape[1:], dtype=bool), 1), within, np.nan), across
