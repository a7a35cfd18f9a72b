"""Geometry of the residue between two successive peptides: its angle N-CA-C, phi and psi."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

import backmap.ops  # noqa: F401  # registers the operators
from backmap.chemistry import NO_RESIDUE, RESIDUE_INDEX
from backmap.chemistry.ramachandran import RAMACHANDRAN_CLASSES, percentile_grids
from backmap.models.chain import Chain
from backmap.models.protein.geometry import MAX_CIS_CA_DISTANCE_NM


class Joints(NamedTuple):
    """Quantities that determine the penalty of each residue.

    Attributes
    ----------
    forms : Tensor, (frames, residues, 3, 5 or more, 3)
        Strain of N-CA-C in standard deviations of its cosine, sines of phi and psi, and their cosines (both
        up to a positive factor): coefficients of (1, cosine, sine) of the previous peptide's angle and of (1,
        cosine, sine) of the residue's own. Zero where a peptide is missing, which makes all classes equal.
        Further strains may follow.
    kinds : Tensor, (frames, residues) int64
        Index into ``RAMACHANDRAN_CLASSES``.
    """

    forms: Tensor
    kinds: Tensor


def ramachandran_penalties(rare: float, rarest: float) -> Tensor:
    """Return the penalties (6, 180, 180) in nats: log(rare / percentile) where this is positive.

    Parameters
    ----------
    rare : float
        Percentile above which nothing is penalised.
    rarest : float
        Percentile below which the penalty is constant.
    """
    percentiles = torch.tensor(percentile_grids()).clamp(rarest, rare)
    return torch.log(rare / percentiles).float()


class JointPenalty(nn.Module):
    """Penalty on a peptide's angle for N-CA-C, phi and psi of the residue before it.

    Parameters
    ----------
    hinge, hinge_deviation : float
        Mean and standard deviation of N-CA-C in radians.
    weight : float
        Factor on the penalty of phi and psi.
    rare, rarest : float
        See :func:`ramachandran_penalties`.
    """

    table: Tensor
    kind_of_type: Tensor
    proline: Final = RESIDUE_INDEX["PRO"]
    pre_proline: Final = RAMACHANDRAN_CLASSES.index("pre-proline")
    trans_proline: Final = RAMACHANDRAN_CLASSES.index("trans-proline")
    cis_proline: Final = RAMACHANDRAN_CLASSES.index("cis-proline")
    glycine: Final = RAMACHANDRAN_CLASSES.index("glycine")
    longest_cis_nm: Final = MAX_CIS_CA_DISTANCE_NM

    def __init__(
        self, hinge: float, hinge_deviation: float, weight: float, rare: float, rarest: float
    ) -> None:
        super().__init__()
        self.hinge_cosine = math.cos(hinge)
        self.cosine_deviation = math.sin(hinge) * hinge_deviation
        kinds = torch.full([NO_RESIDUE], RAMACHANDRAN_CLASSES.index("general"))
        kinds[RESIDUE_INDEX["GLY"]] = self.glycine
        kinds[RESIDUE_INDEX["PRO"]] = self.trans_proline
        kinds[[RESIDUE_INDEX["ILE"], RESIDUE_INDEX["VAL"]]] = RAMACHANDRAN_CLASSES.index("isoleucine-valine")
        self.register_buffer("table", weight * ramachandran_penalties(rare, rarest), persistent=False)
        self.register_buffer("kind_of_type", kinds, persistent=False)

    def describe(self, before: Tensor, plane: Tensor, distance: Tensor, chain: Chain) -> Joints:
        """Compute the quantities that determine the penalty.

        Parameters
        ----------
        before : Tensor, (frames, residues, 3, 6)
            C and N of the previous peptide in the frame of the residue's own, in nm, as coefficients of
            (1, cosine, sine) of its angle.
        plane : Tensor, (frames, residues, 3, 2)
            C, O and N of the residue's own peptide along and across its axis in nm, for N relative to the
            second C-alpha.
        distance : Tensor, (frames, residues)
            Length of the axis in nm.
        chain : Chain
            The sequence.
        """
        carbon, nitrogen = plane[:, :, 0], before[..., 3:]
        strain = self._strain(nitrogen, carbon)
        phi_sine, phi_cosine = _phi(before, carbon)
        psi_sine, psi_cosine = _psi(nitrogen, plane, distance)
        forms = torch.stack([strain, phi_sine, psi_sine, phi_cosine, psi_cosine], dim=3)
        there = chain.linked & chain.has_neighbour(-1)
        return Joints(torch.where(there[:, None, None, None], forms, 0.0), self.find_kinds(distance, chain))

    def _strain(self, nitrogen: Tensor, carbon: Tensor) -> Tensor:
        """Return the form (frames, residues, 3, 3) of the strain of N-CA-C."""
        # N keeps its distance from CA, because it rotates about an axis through CA.
        to_nitrogen = torch.linalg.vector_norm(nitrogen[:, :, 0] + nitrogen[:, :, 1], dim=-1)
        bonds = (to_nitrogen * torch.linalg.vector_norm(carbon, dim=-1)).clamp_min(1e-6)
        strain = nitrogen * _spread(carbon) / (bonds[..., None, None] * self.cosine_deviation)
        strain[:, :, 0, 0] -= self.hinge_cosine / self.cosine_deviation
        return strain

    def find_kinds(self, distance: Tensor, chain: Chain) -> Tensor:
        """Return the class (frames, residues) of residues; a previous peptide with a short axis is cis."""
        kinds = self.kind_of_type[chain.types]
        plain = (kinds != self.trans_proline) & (kinds != self.glycine)
        kinds = torch.where(plain & (chain.neighbour_types(1) == self.proline), self.pre_proline, kinds)
        cis = chain.shift(distance, -1, self.longest_cis_nm, dim=1) < self.longest_cis_nm
        return torch.where(cis & (kinds == self.trans_proline), self.cis_proline, kinds)

    def after_each(self, joints: Joints, cosine: Tensor, sine: Tensor, waves: Tensor) -> Tensor:
        """Return the penalty (..., previous, angles) in nats after each of several angles.

        Arguments are as for :meth:`forward`, but for cosines and sines (previous,), which all joints share.
        """
        shape = joints.kinds.shape + cosine.shape
        return torch.ops.backmap.joint_penalty(
            joints.forms, joints.kinds, self.table, cosine.expand(shape), sine.expand(shape), waves
        )

    def forward(self, joints: Joints, cosine: Tensor, sine: Tensor, waves: Tensor) -> Tensor:
        """Return the penalty (..., angles) in nats.

        Parameters
        ----------
        joints : Joints
            For joints (...).
        cosine, sine : Tensor, (...)
            Cosine and sine of the previous peptide's angle; leading dimensions broadcast.
        waves : Tensor, (3, angles)
            1, cosine and sine of the angles of the residue's own peptide.
        """
        shape = torch.broadcast_tensors(cosine, joints.kinds)[0].shape
        return torch.ops.backmap.joint_penalty(
            joints.forms.expand(shape + joints.forms.shape[-3:]),
            joints.kinds.expand(shape),
            self.table,
            cosine.expand(shape).unsqueeze(-1),
            sine.expand(shape).unsqueeze(-1),
            waves,
        ).squeeze(-2)


def _phi(before: Tensor, carbon: Tensor) -> tuple[Tensor, Tensor]:
    """Return the forms (frames, residues, 3, 3) of sine and cosine of phi; see docs/maths.md."""
    # C(i-1) and N rotate together about an axis through CA, and so do the normal of their plane and the part
    # of C(i-1) orthogonal to N: three angles determine their coefficients.
    constant, cosine, sine = before.unbind(dim=2)
    turned = torch.stack([constant + cosine, constant - cosine, constant + sine], dim=2)
    previous, nitrogen = turned[..., :3], turned[..., 3:]
    length = torch.linalg.vector_norm(nitrogen, dim=-1, keepdim=True)
    normal = length * torch.linalg.cross(previous, nitrogen, dim=-1)
    across = length.square() * previous - (previous * nitrogen).sum(dim=-1, keepdim=True) * nitrogen
    return _coefficients(normal) * _spread(carbon), _coefficients(across) * _spread(carbon)


def _psi(nitrogen: Tensor, plane: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the forms (frames, residues, 3, 3) of sine and cosine of psi; see docs/maths.md."""
    carbon, following = plane[:, :, 0], plane[:, :, 2]
    following = torch.stack([following[..., 0] + distance, following[..., 1]], dim=-1)
    length = torch.linalg.vector_norm(carbon, dim=-1, keepdim=True)
    across = length.square() * following - (carbon * following).sum(dim=-1, keepdim=True) * carbon
    area = length * (carbon[..., :1] * following[..., 1:] - carbon[..., 1:] * following[..., :1])
    x, y, z = nitrogen.unbind(dim=-1)
    sine = torch.stack([torch.zeros_like(x), -z, y], dim=-1) * area.unsqueeze(2)
    return sine, nitrogen * _spread(across)


def _spread(vectors: Tensor) -> Tensor:
    """Extend vectors (frames, residues, 2) along and across an axis to (along, across, across)."""
    return torch.cat([vectors, vectors[..., 1:]], dim=-1).unsqueeze(2)


def _coefficients(turned: Tensor) -> Tensor:
    """Return the coefficients of (1, cosine, sine) from vectors at 0, 180 and 90 degrees, in dimension 2."""
    none, half, quarter = turned.unbind(dim=2)
    constant = 0.5 * (none + half)
    return torch.stack([constant, none - constant, quarter - constant], dim=2)
