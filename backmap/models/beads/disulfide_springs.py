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
        stiffness = [bond_kt_per_nm2, angle_kt_per_nm2, angle_kt_per_nm2]
        ends = torch.tensor(_ENDS)
        contact = torch.from_numpy(CONTACT_RADII[self.cysteine]).float()[ends].sum(dim=1)
        self.register_buffer("ends", ends, persistent=False)
        self.register_buffer("rest", torch.tensor([bond, span, span]), persistent=False)
        self.register_buffer("stiffness", torch.tensor(stiffness), persistent=False)
        self.register_buffer("contact", contact, persistent=False)
        self.repulsion = repulsion_kt_per_nm2

    def find(self, atoms: Tensor, types: Tensor) -> Tensor:
        """Return bonded residues (frames, disulfides, 2) in atoms (frames, residues, 15, 3); -1 for none.

        ``types`` (residues,) are the types of the residues.
        """
        cysteines = torch.nonzero(types == self.cysteine).squeeze(-1)
        sulfurs = atoms[:, cysteines, self.sulfur]
        near = (torch.cdist(sulfurs, sulfurs) < self.longest_nm).triu(1)
        found = torch.nonzero(near)
        number = near.sum(dim=(1, 2))
        place = torch.arange(len(found), device=atoms.device) - (number.cumsum(0) - number)[found[:, 0]]
        most = int(number.max()) if len(number) > 0 else 0
        residues = torch.full([len(atoms), most, 2], -1, dtype=torch.int64, device=atoms.device)
        residues[found[:, 0], place] = cysteines[found[:, 1:]]
        return residues

    def links(self, disulfides: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the springs of disulfides, as :func:`backmap.ops.descend_onto_beads` takes them.

        Returns
        -------
        Tensor, (frames, links, 2) int64
            Flat indices of atoms.
        Tensor, (frames, links)
            Lengths in nm.
        Tensor, (frames, links)
            Stiffness in kT/nm^2.
        """
        atoms = self._atoms(disulfides)[:, :, : len(self.rest)]
        shape = atoms.shape[:3]
        lengths, stiffness = (value.expand(shape).flatten(1) for value in (self.rest, self.stiffness))
        return atoms.flatten(1, 2), lengths, stiffness

    def add_release(self, gradient: Tensor, atoms: Tensor, disulfides: Tensor) -> Tensor:
        """Take the repulsion of bonded cysteines out of a gradient (frames, residues, 15, 3) in kT/nm."""
        pairs = self._atoms(disulfides)
        there = pairs[..., 0] >= 0
        frame = torch.nonzero(there)[:, 0]
        first, second = (frame * atoms[0, :, :, 0].numel() + pairs[there][:, end] for end in (0, 1))
        points = atoms.flatten(0, 2)
        apart = points[second] - points[first]
        length = torch.linalg.vector_norm(apart, dim=-1).clamp_min(1e-6)
        slope = self.repulsion * (self.contact.expand(there.shape)[there] - length).clamp_min(0)
        pull = (2 * slope / length)[:, None] * apart
        flat = gradient.flatten(0, 2).index_add(0, first, -pull)
        return flat.index_add_(0, second, pull).view_as(gradient)

    def _atoms(self, disulfides: Tensor) -> Tensor:
        """Return the atoms (frames, disulfides, 6, 2) of :data:`_ENDS` as flat indices; -1 for none."""
        residues = disulfides[:, :, None]
        return torch.where(residues >= 0, residues * self.slots + self.ends, -1)
