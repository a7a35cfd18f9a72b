"""Disulfides of frames whose atoms are fitted to beads: springs, and no repulsion of bonded sulfurs."""

from typing import Final

import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_INDEX
from backmap.chemistry.residues import CONTACT_RADII
from backmap.chemistry.topology import MAX_DISULFIDE_DISTANCE_NM
from backmap.models.protein.disulfide_closure import disulfide_statistics

_CA, _CB, _SG = (HEAVY_ATOMS["CYS"].index(name) for name in ("CA", "CB", "SG"))
_ENDS = (_SG, _SG), (_CB, _SG), (_SG, _CB), (_CB, _CB), (_CA, _SG), (_SG, _CA)
"""Atoms of two bonded cysteines that are one, two or three bonds apart."""


class DisulfideSprings(nn.Module):
    """Energy of disulfides, and of the repulsion that it takes the place of. Can be compiled by TorchScript.

    Frames may differ in their disulfides, which are found from the distances of sulfurs.

    Parameters
    ----------
    bond_kt_per_nm2, angle_kt_per_nm2, repulsion_kt_per_nm2 : float
        Stiffness of bonds, of distances across angles, and of overlaps, as in
        :func:`backmap.ops.structure_penalty`.
    """

    ends: Tensor
    rest: Tensor
    stiffness: Tensor
    contact: Tensor
    cysteine: Final = RESIDUE_INDEX["CYS"]
    sulfur: Final = _SG
    slots: Final = ATOM_SLOTS
    longest_nm: Final = MAX_DISULFIDE_DISTANCE_NM

    def __init__(self, bond_kt_per_nm2: float, angle_kt_per_nm2: float, repulsion_kt_per_nm2: float) -> None:
        super().__init__()
        springs = disulfide_statistics()["springs"]
        bond, span = springs["SG-SG'"][0], springs["CB-SG'"][0]
        stiffness = [bond_kt_per_nm2, angle_kt_per_nm2, angle_kt_per_nm2, 0.0, 0.0, 0.0]
        ends = torch.tensor(_ENDS)
        contact = torch.from_numpy(CONTACT_RADII[self.cysteine]).float()[ends].sum(dim=1)
        self.register_buffer("ends", ends, persistent=False)
        self.register_buffer("rest", torch.tensor([bond, span, span, 0.0, 0.0, 0.0]), persistent=False)
        self.register_buffer("stiffness", torch.tensor(stiffness), persistent=False)
        self.register_buffer("contact", contact, persistent=False)
        self.repulsion = repulsion_kt_per_nm2

    def find(self, atoms: Tensor, types: Tensor) -> Tensor:
        """Return pairs of atoms (disulfides, 6, 2) of frames (frames, residues, 15, 3) of residue types.

        As indices of atoms through all frames. The first pair of each disulfide are its sulfurs.
        """
        cysteines = torch.nonzero(types == self.cysteine).squeeze(-1)
        sulfurs = atoms[:, cysteines, self.sulfur]
        near = torch.cdist(sulfurs, sulfurs) < self.longest_nm
        found = torch.nonzero(near.triu(1))
        residues = cysteines[found[:, 1:]] + (found[:, 0] * atoms.shape[1])[:, None]
        return residues[:, None] * self.slots + self.ends

    def add(self, gradient: Tensor, atoms: Tensor, pairs: Tensor) -> Tensor:
        """Add the gradient (frames, residues, 15, 3) in kT/nm of the given pairs to another, in place."""
        points = atoms.flatten(0, 2)
        apart = points[pairs[..., 1]] - points[pairs[..., 0]]
        length = torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-6)
        slope = self.stiffness * (length - self.rest)
        slope = slope + self.repulsion * (self.contact - length).clamp_min(0)
        pull = (2 * slope / length)[..., None] * apart
        flat = gradient.flatten(0, 2)
        flat.index_add_(0, pairs[..., 0].flatten(), -pull.flatten(0, 1))
        flat.index_add_(0, pairs[..., 1].flatten(), pull.flatten(0, 1))
        return flat.view_as(gradient)
