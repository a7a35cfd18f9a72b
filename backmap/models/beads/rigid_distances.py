"""The noise of beads that are atoms, from distances that bonds and bond angles fix. For TorchScript, too."""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from backmap.chemistry import SLOT_C, SLOT_CB, SLOT_N
from backmap.chemistry.ideal_geometry import bond_table, ideal_geometry, span_tables
from backmap.models.beads.evidence import BeadTable
from backmap.models.chain import Chain

_SLOTS = SLOT_CB + 1
"""N, CA, C, O and CB: side chains differ more from ideal geometry."""


class RigidPairs(NamedTuple):
    """Beads whose distance hardly varies.

    Attributes
    ----------
    beads : Tensor, (pairs, 2) int64
        Which beads.
    lengths : Tensor, (pairs,) float64
        Their distance in nm.
    """

    beads: Tensor
    lengths: Tensor


class RigidDistances(nn.Module):
    """Distances between beads that are backbone atoms or CB, one or two bonds apart; has no parameters."""

    within: Tensor
    across: Tensor
    slots: Final = _SLOTS
    fewest: Final = 10
    least_noise_nm: Final = 0.0075
    """Atoms bear less noise without strain, and those of atomistic simulations look as if they had it."""
    median_of_square: Final = 0.4549
    """Of a normally distributed number with variance 1."""

    def __init__(self) -> None:
        super().__init__()
        within, across = _lengths()
        self.register_buffer("within", torch.from_numpy(within), persistent=False)
        self.register_buffer("across", torch.from_numpy(across), persistent=False)

    def find(self, table: BeadTable, chain: Chain) -> RigidPairs:
        """Find the distances between the beads of a protein."""
        n_residues, slots = chain.n_residues, self.slots
        places = torch.full([n_residues, slots], -1, device=chain.types.device)
        atoms = torch.nonzero((table.weights[:, :slots] == 1.0).any(dim=1)).squeeze(-1)
        places[table.residues[atoms], table.weights[atoms, :slots].argmax(dim=1)] = atoms
        after = places[chain.following.clamp_min(0)].masked_fill(~chain.linked[:, None], -1)
        pairs: list[Tensor] = []
        lengths: list[Tensor] = []
        for partners, length in (
            (places, self.within[chain.types]),
            (after, self.across.expand(n_residues, -1, -1)),
        ):
            shape = [n_residues, slots, slots]
            both = torch.stack([places[:, :, None].expand(shape), partners[:, None].expand(shape)], dim=-1)
            there = (both >= 0).all(dim=-1) & ~length.isnan()
            pairs.append(both[there])
            lengths.append(length[there])
        return RigidPairs(torch.cat(pairs), torch.cat(lengths))

    def noise(self, beads: Tensor, pairs: RigidPairs) -> Tensor:
        """Return the standard deviation of a coordinate (frames,) in nm; zero if the beads may well be exact.

        The median makes single residues with errors count little. Zero also if too few distances are known.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3)
            In nm.
        pairs : RigidPairs
            From :meth:`find`.
        """
        if len(pairs.lengths) < self.fewest:
            return torch.zeros([beads.shape[0]], dtype=torch.float64, device=beads.device)
        first, second = pairs.beads.unbind(dim=1)
        distance = torch.linalg.vector_norm((beads[:, first] - beads[:, second]).double(), dim=-1)
        squared = (distance - pairs.lengths).square().median(dim=1)[0]
        noise = (squared / self.median_of_square / 2).sqrt()
        return noise * (noise > self.least_noise_nm)


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
