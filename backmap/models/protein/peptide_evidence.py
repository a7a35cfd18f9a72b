"""Information from given atoms: peptide angles, and the likelihood of the angles of other peptides.

Can be compiled by TorchScript.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from backmap import chemistry
from backmap.chemistry import HEAVY_ATOMS, RESIDUE_NAMES, SLOT_C, SLOT_CA, SLOT_CB, SLOT_N
from backmap.chemistry.ideal_geometry import bond_table, span_tables
from backmap.models.chain import Chain
from backmap.models.protein.geometry import normalise
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.peptide_planes import PeptideFrames


class BetaEvidence(nn.Module):
    """Information on peptide angles from given CB; has no parameters.

    A given CB tells of the peptides on both sides by the angles N-CA-CB and C-CA-CB and by its handedness.
    """

    to_n: Tensor
    to_c: Tensor
    spread: Final = math.sin(math.radians(110.0)) * math.radians(4.0)
    """Standard deviation of the cosines of both angles, which are as certain as a class of peptide angles."""

    def __init__(self) -> None:
        super().__init__()
        for name, end in (("to_n", SLOT_N), ("to_c", SLOT_C)):
            self.register_buffer(name, _beta_cosines(end), persistent=False)

    def forward(
        self,
        support: Tensor,
        frames: PeptideFrames,
        c_alpha: Tensor,
        chain: Chain,
        given: Given,
        waves: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Add the information from given CB.

        Parameters
        ----------
        support : Tensor, (frames, residues, classes)
            Log-likelihood of the other given atoms for each class of the angle.
        frames : PeptideFrames
            Frames of the peptide axes.
        c_alpha : Tensor, (frames, residues, 3)
            In nm.
        chain : Chain
            The sequence.
        given : Given
            From :func:`usable`.
        waves : Tensor, (3, classes)
            1, cosine and sine of the middles of the classes.

        Returns
        -------
        Tensor, (frames, residues, classes)
            Log-likelihood of all given atoms.
        Tensor, (frames, residues, 3)
            Direction of a given CB from CA in the peptide's frame; zero if CB is not given.
        """
        slot = chemistry.SLOT_CB
        to_beta = normalise(given.atoms[:, :, slot] - c_alpha) * given.present[:, slot, None]
        own = _turned(frames, to_beta)
        following = _turned(frames, chain.shift(to_beta, 1, 0.0, dim=1)) * chain.linked[:, None]
        to_n, to_c = self.to_n[chain.types], self.to_c[chain.types]
        for beta, atom, ideal in (
            (own, frames.plane[:, :, 0], to_c),
            (following, frames.plane[:, :, 2], chain.shift(to_n, 1, 0.0, 0)),
        ):
            cosine = _cosines(normalise(atom), beta, waves[1:])
            off = (cosine - ideal[:, None]) / self.spread
            support = support - 0.5 * beta.square().sum(dim=-1, keepdim=True) * off.square()
        return support, own


def measured_angle(frames: PeptideFrames, c_alpha: Tensor, chain: Chain, given: Given) -> Tensor:
    """Return the angles (frames, residues) that best fit given C, O and N; NaN where there are none."""
    ahead, present = chain.shift(given.atoms, 1, 0.0, dim=1), chain.shift(given.present, 1, 0.0, 0)
    c, o, n = chemistry.SLOT_C, chemistry.SLOT_O, chemistry.SLOT_N
    total = torch.zeros_like(c_alpha)
    for atom, atoms, there in (
        (0, given.atoms[:, :, c], given.present[:, c]),
        (1, given.atoms[:, :, o], given.present[:, o]),
        (2, ahead[:, :, n], present[:, n]),
    ):
        weight = frames.plane[:, :, atom, 1] * (there & chain.linked)
        total += weight.unsqueeze(-1) * _turned(frames, atoms - c_alpha)
    angle = torch.atan2(total[..., 2], total[..., 1])
    known = chain.linked & (given.present[:, c] | given.present[:, o] | present[:, n])
    return torch.where(known, angle, torch.nan)


def _turned(frames: PeptideFrames, vectors: Tensor) -> Tensor:
    """Return vectors (frames, residues, 3) in the frames of the peptides."""
    return torch.matmul(frames.axes, vectors.unsqueeze(-1)).squeeze(-1)


def _cosines(atom: Tensor, direction: Tensor, waves: Tensor) -> Tensor:
    """Return cosines (..., classes) of a direction and an atom (along, across) rotated to each class."""
    sideways = torch.matmul(direction[..., 1:], waves)
    return atom[..., :1] * direction[..., :1] + atom[..., 1:] * sideways


def _beta_cosines(end: int) -> Tensor:
    """Return the ideal cosine (20,) of the angle at CA between an atom and CB; for glycine, of alanine."""
    bonds, (spans, _) = bond_table(), span_tables()
    sides, long, across = bonds[:, SLOT_CA, end], bonds[:, SLOT_CA, SLOT_CB], spans[:, end, SLOT_CB]
    cosines = torch.from_numpy((sides**2 + long**2 - across**2) / (2 * sides * long)).float()
    without = [index for index, name in enumerate(RESIDUE_NAMES) if "CB" not in HEAVY_ATOMS[name]]
    cosines[without] = cosines[0].clone()
    return cosines
