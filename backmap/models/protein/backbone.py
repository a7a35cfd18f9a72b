"""The whole backbone from peptide angles: N, CA, C, O of every residue, ends of chains included."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from backmap.chemistry import RESIDUE_NAMES, SLOT_C, SLOT_CA, SLOT_N, SLOT_O
from backmap.chemistry.ideal_geometry import ideal_geometry
from backmap.models.chain import Chain, shift
from backmap.models.protein.geometry import (
    PeptideTemplate,
    angle_in_class,
    mean_backbone_angle,
    normalise,
    place_atom,
)
from backmap.models.protein.peptide_planes import PeptideFrames, place_peptides

END_CANDIDATES = 12
"""Trial torsions at each end; the one that overlaps least with the rest of the backbone stays."""

END_UNIFORMS = 3
"""Random numbers for each trial at each residue that is an end."""

_OVERLAP_DISTANCE_NM = 0.34


class Backbone(NamedTuple):
    """N, CA, C, O ``atoms`` (frames, residues, 4, 3) and ``terminal_oxygen`` (frames, residues, 3), nm.

    The terminal oxygen is given for every residue without a bonded successor and zero elsewhere.
    """

    atoms: Tensor
    terminal_oxygen: Tensor


class BackboneBuilder(nn.Module):
    """Builds backbones; holds ideal geometry as buffers and has no parameters."""

    psi_of_starts: Tensor
    phi_of_ends: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.template = PeptideTemplate()
        terminal = ideal_geometry()["terminal"]
        phi = [terminal["phi of proline" if name == "PRO" else "phi of ends"] for name in RESIDUE_NAMES]
        self.register_buffer("psi_of_starts", torch.tensor(terminal["psi of starts"]), persistent=False)
        self.register_buffer("phi_of_ends", torch.tensor(phi), persistent=False)
        self.mean_angle = mean_backbone_angle()

    def forward(
        self,
        c_alpha: Tensor,
        frames: PeptideFrames,
        angle: Tensor,
        twist: Tensor,
        chain: Chain,
        end_uniforms: Tensor,
    ) -> Backbone:
        """Build backbones.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3)
            In nm; returned unchanged in the CA slot.
        frames : PeptideFrames
            Of the peptide axes.
        angle : Tensor, (frames, residues)
            Peptide angles in radians; ignored where a residue has no bonded successor.
        twist : Tensor, (frames, residues)
            Turn of N out of its peptide's plane in radians; ignored likewise.
        chain : Chain
            The sequence.
        end_uniforms : Tensor, (frames, ends, END_CANDIDATES, END_UNIFORMS)
            Random numbers in [0, 1), one row for each of :func:`chain_ends`' residues.
        """
        peptides = place_peptides(c_alpha, frames, angle, twist, self.template)
        nitrogen = shift(peptides[:, :, 2], -1, 0.0, dim=1)
        atoms = torch.stack([nitrogen, c_alpha, peptides[:, :, 0], peptides[:, :, 1]], dim=2)
        oxt = torch.zeros_like(c_alpha)
        starts, ends = chain_ends(chain)
        here = end_uniforms.split([len(starts), len(ends)], dim=1)
        for residue, uniforms in zip(starts.tolist(), here[0].unbind(dim=1), strict=True):
            self._start(atoms, residue, bool(chain.linked[residue]), chain, uniforms)
        for residue, uniforms in zip(ends.tolist(), here[1].unbind(dim=1), strict=True):
            oxt[:, residue] = self._end(atoms, residue, chain, uniforms)
        return Backbone(atoms, oxt)

    def _start(self, atoms: Tensor, residue: int, linked: bool, chain: Chain, uniforms: Tensor) -> None:
        """Write N of the first residue of a segment; a lone residue gets C in a random direction first."""
        ideal = ideal_geometry()["peptide"]["trans"]
        c_alpha = atoms[:, residue, SLOT_CA]
        if linked:
            c, reference = atoms[:, residue, SLOT_C], atoms[:, residue + 1, SLOT_N]
        else:
            direction = _random_direction(uniforms[:, 0])
            c = c_alpha + ideal["CA-C"] * direction
            reference = c + _any_perpendicular(direction)
            atoms[:, residue, SLOT_C] = c
        psi = _inverse_cumulative(self.psi_of_starts, uniforms[:, :, 0], uniforms[:, :, 1])
        trial = place_atom(
            reference[:, None], c[:, None], c_alpha[:, None], ideal["N-CA"], self.mean_angle, psi
        )
        best = self._least_overlap(trial.unsqueeze(2), atoms, residue, chain)
        atoms[:, residue, SLOT_N] = _take(trial, best)

    def _end(self, atoms: Tensor, residue: int, chain: Chain, uniforms: Tensor) -> Tensor:
        """Write C and O of the last residue of a segment and give its terminal oxygen."""
        ideal, terminal = ideal_geometry()["peptide"]["trans"], ideal_geometry()["terminal"]
        n, c_alpha = atoms[:, residue, None, SLOT_N], atoms[:, residue, None, SLOT_CA]
        if chain.has_neighbour(-1)[residue]:
            before = atoms[:, residue - 1, None, SLOT_C]
            phi = _inverse_cumulative(
                self.phi_of_ends[chain.types[residue]], uniforms[:, :, 0], uniforms[:, :, 1]
            )
            c = place_atom(before, n, c_alpha, ideal["CA-C"], self.mean_angle, phi)
        else:
            c = atoms[:, residue, None, SLOT_C].expand(-1, uniforms.shape[1], -1)
        turn = (2 * math.pi) * uniforms[:, :, 2]
        o = place_atom(n, c_alpha, c, ideal["C-O"], ideal["angle CA-C-O"], turn)
        oxt = place_atom(n, c_alpha, c, terminal["C-OXT"], terminal["angle CA-C-OXT"], turn + math.pi)
        best = self._least_overlap(torch.stack([c, o, oxt], dim=2), atoms, residue, chain)
        atoms[:, residue, SLOT_C] = _take(c, best)
        atoms[:, residue, SLOT_O] = _take(o, best)
        return _take(oxt, best)

    def _least_overlap(self, trial: Tensor, atoms: Tensor, residue: int, chain: Chain) -> Tensor:
        """Index (frames,) of the trial (frames, trials, atoms, 3) that overlaps least with other residues."""
        other = torch.ones(chain.residues, dtype=torch.bool, device=atoms.device)
        other[max(residue - 1, 0) : residue + 2] = False
        if not bool(other.any()):
            return torch.zeros(len(atoms), dtype=torch.int64, device=atoms.device)
        distance = torch.cdist(trial.flatten(1, 2), atoms[:, other].flatten(1, 2))
        overlap = (_OVERLAP_DISTANCE_NM - distance).clamp_min(0).square().sum(-1)
        return overlap.view(trial.shape[:3]).sum(-1).argmin(dim=1)


def chain_ends(chain: Chain) -> tuple[Tensor, Tensor]:
    """Residues at which a segment starts, and residues at which one ends."""
    starts = torch.nonzero(~shift(chain.linked, -1, False)).squeeze(-1)
    return starts, torch.nonzero(~chain.linked).squeeze(-1)


def _take(trial: Tensor, best: Tensor) -> Tensor:
    return trial[torch.arange(len(trial), device=trial.device), best]


def _inverse_cumulative(cumulative: Tensor, class_uniform: Tensor, bin_uniform: Tensor) -> Tensor:
    chosen = (cumulative <= class_uniform.unsqueeze(-1)).sum(-1).clamp_max(len(cumulative) - 1)
    return angle_in_class(chosen, bin_uniform, len(cumulative))


def _random_direction(uniforms: Tensor) -> Tensor:
    """Uniform on the sphere from (frames, 2+) uniform numbers."""
    height, turn = 2 * uniforms[:, 0] - 1, (2 * math.pi) * uniforms[:, 1]
    radius = (1 - height * height).clamp_min(0).sqrt()
    return torch.stack([radius * torch.cos(turn), radius * torch.sin(turn), height], dim=-1)


def _any_perpendicular(direction: Tensor) -> Tensor:
    axis = torch.zeros_like(direction)
    axis.scatter_(-1, direction.abs().argmin(dim=-1, keepdim=True), 1.0)
    return normalise(torch.linalg.cross(direction, axis, dim=-1))
