"""The order in which residues are built, and which of them can be built at once."""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.models.chain import Chain
from backmap.models.diamondback import layout
from backmap.models.diamondback.layout import Pass
from backmap.models.diamondback.representation import pass_kinds


def build_order(chain: Chain, c_alpha: Tensor) -> list[Tensor]:
    """Group residues into turns, so that building turn by turn equals building one by one.

    The order is the sequence, followed by all ends of segments. A residue does not wait for residues that
    cannot be among its nearest, whose C-alpha is further away than the fourteenth nearest C-alpha by more
    than the length of their side chain, unless the side chains could touch. Within a segment, each residue
    waits for the previous one.

    Parameters
    ----------
    chain : Chain
        The sequence.
    c_alpha : Tensor, (frames, residues, 3)
        In nm. Residues that share a turn are independent in all of these frames.

    Returns
    -------
    list of Tensor, (residues of the turn,) int64
    """
    is_interior = pass_kinds(chain) == Pass.INTERIOR.value
    interior = torch.nonzero(is_interior).squeeze(-1)
    waits = _waits(chain, c_alpha)[interior][:, interior].cpu()
    turn = torch.zeros(len(interior), dtype=torch.int64)
    for number in range(1, len(interior)):
        earlier = turn[:number][waits[number, :number]]
        turn[number] = int(earlier.max()) + 1 if len(earlier) else 0
    turn = turn.to(interior.device)
    turns = [interior[turn == number] for number in range(int(turn.max()) + 1)]
    turns.append(torch.nonzero(~is_interior).squeeze(-1))
    return turns


def _waits(chain: Chain, c_alpha: Tensor) -> Tensor:
    """Return whether the residue of each row waits for the residue of each column."""
    reach = torch.tensor(layout.REACH_NM, dtype=c_alpha.dtype, device=c_alpha.device)[chain.types]
    near = torch.zeros(chain.n_residues, chain.n_residues, dtype=torch.bool, device=c_alpha.device)
    nearest = min(layout.NEIGHBOURS, chain.n_residues - 1)
    for frame in c_alpha.unbind(0):
        distance = torch.cdist(frame, frame)
        horizon = distance.kthvalue(nearest + 1, dim=1).values
        near |= (distance - reach <= horizon[:, None]) | (
            distance <= reach + reach[:, None] + layout.CONTACT_NM
        )
    # Atoms at the edge of a residue are placed in the passes of the previous and next residues.
    linked = chain.linked[:-1]
    seen = near.clone()
    # Not |=, which TorchScript passes over.
    seen[:, 1:] = seen[:, 1:] | (near[:, :-1] & linked)
    seen[:, :-1] = seen[:, :-1] | (near[:, 1:] & linked)
    number = torch.arange(chain.n_residues, device=c_alpha.device)
    own, before = number[1:], number[:-1]
    seen[own, before] = seen[own, before] | linked
    return seen & (number[None, :] < number[:, None])
