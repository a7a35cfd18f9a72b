"""Disulfides of frames whose atoms are fitted to beads: springs, and no repulsion of bonded sulfurs."""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_INDEX
from backmap.chemistry.residues import CONTACT_RADII
from backmap.chemistry.topology import MAX_DISULFIDE_DISTANCE_NM
from backmap.models.chain import Chain
from backmap.models.protein.disulfide_closure import disulfide_statistics

_CYSTEINE = RESIDUE_INDEX["CYS"]
_CA, _CB, _SG = (HEAVY_ATOMS["CYS"].index(name) for name in ("CA", "CB", "SG"))
_ENDS = (_SG, _SG), (_CB, _SG), (_SG, _CB), (_CB, _CB), (_CA, _SG), (_SG, _CA)
"""Atoms of two bonded cysteines that are one, two or three bonds apart."""


class DisulfideSprings:
    """Energy of disulfides, and of the repulsion that it takes the place of.

    Frames may differ in their disulfides, which are found from the distances of sulfurs.

    Parameters
    ----------
    chain : Chain
        The sequence.
    bond_kt_per_nm2, angle_kt_per_nm2, repulsion_kt_per_nm2 : float
        Stiffness of bonds, of distances across angles, and of overlaps, as in
        :func:`backmap.ops.structure_penalty`.
    """

    def __init__(
        self, chain: Chain, bond_kt_per_nm2: float, angle_kt_per_nm2: float, repulsion_kt_per_nm2: float
    ) -> None:
        device = chain.types.device
        springs = disulfide_statistics()["springs"]
        bond, span = springs["SG-SG'"][0], springs["CB-SG'"][0]
        self._cysteines = torch.nonzero(chain.types == _CYSTEINE).squeeze(-1)
        self._ends = torch.tensor(_ENDS, device=device)
        self._rest = torch.tensor([bond, span, span, 0.0, 0.0, 0.0], device=device)
        self._stiffness = torch.tensor(
            [bond_kt_per_nm2, angle_kt_per_nm2, angle_kt_per_nm2, 0.0, 0.0, 0.0], device=device
        )
        self._contact = torch.from_numpy(CONTACT_RADII[_CYSTEINE]).float().to(device)[self._ends].sum(dim=1)
        self._repulsion = repulsion_kt_per_nm2

    def find(self, atoms: Tensor) -> Tensor:
        """Return pairs of atoms (disulfides, 6, 2) of frames (frames, residues, 15, 3).

        As indices of atoms through all frames. The first pair of each disulfide are its sulfurs.
        """
        sulfurs = atoms[:, self._cysteines, _SG]
        near = torch.cdist(sulfurs, sulfurs) < MAX_DISULFIDE_DISTANCE_NM
        frame, *sides = torch.nonzero(near.triu(1)).unbind(dim=1)
        residues = self._cysteines[torch.stack(sides, dim=1)] + (frame * atoms.shape[1])[:, None]
        return residues[:, None] * ATOM_SLOTS + self._ends

    def add(self, gradient: Tensor, atoms: Tensor, pairs: Tensor) -> Tensor:
        """Add the gradient (frames, residues, 15, 3) in kT/nm of the given pairs to another, in place."""
        points = atoms.flatten(0, 2)
        apart = points[pairs[..., 1]] - points[pairs[..., 0]]
        length = torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-6)
        slope = self._stiffness * (length - self._rest) + self._repulsion * (
            self._contact - length
        ).clamp_min(0)
        pull = (2 * slope / length)[..., None] * apart
        flat = gradient.flatten(0, 2)
        flat.index_add_(0, pairs[..., 0].flatten(), -pull.flatten(0, 1))
        flat.index_add_(0, pairs[..., 1].flatten(), pull.flatten(0, 1))
        return flat.view_as(gradient)
