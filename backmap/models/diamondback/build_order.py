"""In which order residues are built, and which of them may be built at once."""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.chemistry import RESIDUE_NAMES
from backmap.models.chain import Chain
from backmap.models.diamondback.representation import NEIGHBOURS, Pass, pass_kinds

_REACH_NM = {
    "ALA": 0.25, "ARG": 0.75, "ASN": 0.39, "ASP": 0.39, "CYS": 0.30, "GLN": 0.52, "GLU": 0.52, "GLY": 0.25,
    "HIS": 0.48, "ILE": 0.41, "LEU": 0.41, "LYS": 0.66, "MET": 0.56, "PHE": 0.53, "PRO": 0.26, "SER": 0.26,
    "THR": 0.27, "TRP": 0.70, "TYR": 0.67, "VAL": 0.27,
}  # fmt: skip
_MARGIN_NM = 0.15
_CONTACT_NM = 0.2


def build_order(chain: Chain, c_alpha: Tensor) -> list[Tensor]:
    """Group residues into turns, so that building turn by turn equals building one after the other.

    The order is that of the sequence, then all ends of segments. A residue need not wait for another that
    cannot be among its nearest, one whose C-alpha is further away than the fourteenth nearest C-alpha by more
    than the length of its side chain, unless their side chains could touch. Within a segment every residue
    waits for the one before.

    Parameters
    ----------
    chain : Chain
        The sequence.
    c_alpha : Tensor, (frames, residues, 3)
        In nm. Residues must not see each other in any of the frames.

    Returns
    -------
    list of Tensor, (residues of the turn,) int64
    """
    kind = pass_kinds(chain)
    interior = torch.nonzero(kind == Pass.INTERIOR).squeeze(-1)
    waits = _waits(chain, c_alpha)[interior][:, interior].cpu()
    turn = torch.zeros(len(interior), dtype=torch.int64)
    for number in range(1, len(interior)):
        earlier = turn[:number][waits[number, :number]]
        turn[number] = int(earlier.max()) + 1 if len(earlier) else 0
    turn = turn.to(interior.device)
    turns = [interior[turn == number] for number in range(int(turn.max()) + 1)]
    return [*turns, torch.nonzero(kind != Pass.INTERIOR).squeeze(-1)]


def _waits(chain: Chain, c_alpha: Tensor) -> Tensor:
    """(residues, residues) bool: the row's residue waits for the column's."""
    reach = c_alpha.new_tensor([_REACH_NM[name] + _MARGIN_NM for name in RESIDUE_NAMES])[chain.types]
    near = torch.zeros(chain.residues, chain.residues, dtype=torch.bool, device=c_alpha.device)
    nearest = min(NEIGHBOURS, chain.residues - 1)
    for frame in c_alpha:
        distance = torch.cdist(frame, frame)
        horizon = distance.kthvalue(nearest + 1, dim=1).values
        near |= (distance - reach <= horizon[:, None]) | (distance <= reach + reach[:, None] + _CONTACT_NM)
    # Atoms at the edge of a residue are placed in the passes of the residues before and behind it.
    linked = chain.linked[:-1]
    seen = near.clone()
    seen[:, 1:] |= near[:, :-1] & linked
    seen[:, :-1] |= near[:, 1:] & linked
    number = torch.arange(chain.residues, device=c_alpha.device)
    seen[number[1:], number[:-1]] |= linked
    return seen & (number[None, :] < number[:, None])
