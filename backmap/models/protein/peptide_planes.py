"""The backbone: one angle per peptide plane, drawn along the chain, each given the one before.

For neighbours i, i+1 the axis e1 runs from CA_i to CA_{i+1}, e2 is the part of CA_{i-1} - CA_i orthogonal to
it, e3 = e1 x e2. C, O and N lie in a plane through the axis; the angle is that of O about e1, from e2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from backmap.models.protein.chain import NO_RESIDUE, Chain, shift
from backmap.models.protein.config import PeptidePlaneConfig
from backmap.models.protein.geometry import PeptideTemplate
from backmap.models.protein.neighbourhood import (
    Neighbourhood,
    NeighbourhoodEncoder,
    Trunk,
    gather_neighbourhood,
)

_WINDOW = (-2, -1, 1, 2, 3)
_TYPE_WINDOW = (-1, 0, 1, 2)
_TYPE_WIDTH = 16
_OWN_WIDTH = len(_WINDOW) * 4 + len(_TYPE_WINDOW) * _TYPE_WIDTH


class PeptideSites(NamedTuple):
    """What the network knows of every residue's peptide to its successor, over frames x residues sites.

    Attributes
    ----------
    neighbourhood : Neighbourhood
        Nearest C-alphas of the middle of the axis.
    window : Tensor, (n, 20)
        C-alphas i-2 ... i+3 in the frame (nm, zero beyond a chain end) and whether they are there.
    types : Tensor, (n, 4) uint8
        Residue types i-1 ... i+2.
    before : Tensor, (n, 3, 7)
        Coefficients (constant, cosine, sine) of what the peptide before contributes: C and N of that peptide
        in this frame, as a function of its angle, and whether it exists.
    """

    neighbourhood: Neighbourhood
    window: Tensor
    types: Tensor
    before: Tensor


class PeptideFrames(NamedTuple):
    """Peptide frames: ``axes`` (frames, residues, 3, 3), rows e1, e2, e3; CA-CA ``distance`` in nm."""

    axes: Tensor
    distance: Tensor


def _triangle(c_alpha: Tensor, chain: Chain) -> Tensor:
    """Points (CA_{i-1}, CA_i, CA_{i+1}); where CA_{i-1} is missing CA_{i+2} stands in."""
    after = shift(c_alpha, 1, 0.0, dim=1)
    second = shift(c_alpha, 2, 0.0, dim=1)
    before = shift(c_alpha, -1, 0.0, dim=1)
    has_before, has_second = chain.has_neighbour(-1)[:, None], chain.has_neighbour(2)[:, None]
    reference = torch.where(has_before, before, torch.where(has_second, second, c_alpha))
    after = torch.where(chain.linked[:, None], after, c_alpha)
    return torch.stack([reference, c_alpha, after], dim=2)


def peptide_sites(
    c_alpha: Tensor, chain: Chain, neighbours: int, template: PeptideTemplate
) -> tuple[PeptideSites, PeptideFrames]:
    """Describe every residue's peptide from C-alphas alone.

    Parameters
    ----------
    c_alpha : Tensor, (frames, residues, 3)
        In nm.
    chain : Chain
        The sequence.
    neighbours : int
        Nearest C-alphas to take.
    template : PeptideTemplate
        Planar peptide geometry.
    """
    triangle = _triangle(c_alpha, chain)
    middle = 0.5 * (triangle[:, :, 1] + triangle[:, :, 2])
    neighbourhood, frame = gather_neighbourhood(c_alpha.unsqueeze(2), middle, triangle, chain, neighbours)
    axes = frame[:, :, :3]
    frames = PeptideFrames(axes, (triangle[:, :, 2] - triangle[:, :, 1]).norm(dim=-1))
    window = []
    for offset in _WINDOW:
        there = chain.has_neighbour(offset)[:, None].to(c_alpha.dtype)
        local = torch.matmul(axes, (shift(c_alpha, offset, 0.0, dim=1) - c_alpha).unsqueeze(-1)).squeeze(-1)
        window += [local * there, there.expand(local.shape[0], -1, -1)]
    types = torch.stack([chain.neighbour_types(offset) for offset in _TYPE_WINDOW], dim=-1).to(torch.uint8)
    sites = PeptideSites(
        neighbourhood,
        torch.cat(window, dim=-1).flatten(0, 1),
        types.expand(c_alpha.shape[0], -1, -1).flatten(0, 1),
        _before(c_alpha, frames, chain, template).flatten(0, 1),
    )
    return sites, frames


def _before(c_alpha: Tensor, frames: PeptideFrames, chain: Chain, template: PeptideTemplate) -> Tensor:
    """C and N of the previous peptide in this frame, as (constant, cosine, sine) of its angle."""
    plane = template(frames.distance)
    e1, e2, e3 = frames.axes.unbind(dim=2)
    backward = c_alpha - shift(c_alpha, 1, 0.0, dim=1)
    coefficients = []
    for atom, from_end in ((0, False), (2, True)):
        along, across = plane[:, :, atom, :1], plane[:, :, atom, 1:]
        constant = along * e1 if from_end else along * e1 + backward
        terms = torch.stack([constant, across * e2, across * e3], dim=2)
        terms = shift(terms, -1, 0.0, dim=1)
        coefficients.append(torch.matmul(terms, frames.axes.transpose(2, 3)))
    there = chain.has_neighbour(-1).to(c_alpha.dtype)
    flag = torch.zeros_like(coefficients[0][..., :1])
    flag[:, :, 0, 0] = there
    return torch.cat([*coefficients, flag], dim=-1) * there[:, None, None]


def place_peptides(
    c_alpha: Tensor, frames: PeptideFrames, angle: Tensor, template: PeptideTemplate
) -> Tensor:
    """Place C, O of residue i and N of residue i + 1 from the peptide's angle.

    Parameters
    ----------
    c_alpha : Tensor, (frames, residues, 3)
        In nm.
    frames : PeptideFrames
        From :func:`peptide_sites`.
    angle : Tensor, (..., frames, residues)
        In radians.
    template : PeptideTemplate
        Planar peptide geometry.

    Returns
    -------
    Tensor, (..., frames, residues, 3, 3)
        C and O of each residue and N of its successor, nm.
    """
    plane = template(frames.distance)
    e1, e2, e3 = (axis.unsqueeze(2) for axis in frames.axes.unbind(dim=2))
    outward = torch.cos(angle)[..., None, None] * e2 + torch.sin(angle)[..., None, None] * e3
    atoms = c_alpha.unsqueeze(2) + plane[..., :1] * e1 + plane[..., 1:] * outward
    step = torch.where(torch.tensor([False, False, True], device=angle.device)[:, None], 1.0, 0.0)
    return atoms + step * (frames.distance[..., None, None] * e1)


def measure_angle(frames: PeptideFrames, c_alpha: Tensor, oxygen: Tensor) -> Tensor:
    """Angle of O about the axis, (frames, residues) in (-pi, pi]."""
    local = torch.matmul(frames.axes, (oxygen - c_alpha).unsqueeze(-1)).squeeze(-1)
    return torch.atan2(local[..., 2], local[..., 1])


class PeptidePlaneNetwork(nn.Module):
    """Classifies the angle of each peptide, given C-alphas and the angle of the peptide before."""

    def __init__(self, config: PeptidePlaneConfig) -> None:
        super().__init__()
        self.config = config
        self.template = PeptideTemplate()
        self.type_embedding = nn.Embedding(NO_RESIDUE + 1, _TYPE_WIDTH)
        self.encoder = NeighbourhoodEncoder(1, config.neighbour_width, config.queries, _OWN_WIDTH)
        self.trunk = Trunk(
            config.queries * config.neighbour_width + _OWN_WIDTH, config.trunk_width, config.trunk_layers
        )
        self.context = nn.Linear(config.trunk_width, config.head_width)
        self.before = nn.Linear(7, config.head_width, bias=False)
        self.output = nn.Linear(config.head_width, config.classes)

    def encode(self, sites: PeptideSites) -> tuple[Tensor, Tensor]:
        """Do all work that does not need the previous angle.

        Returns
        -------
        Tensor, (n, head_width)
            What C-alphas say.
        Tensor, (n, 3, head_width)
            What the previous peptide adds: coefficients of (1, cosine, sine) of its angle.
        """
        own = torch.cat([sites.window, self.type_embedding(sites.types.long()).flatten(1)], dim=-1)
        seen = self.encoder(sites.neighbourhood, own)
        context = self.context(self.trunk(torch.cat([seen, own], dim=-1)))
        return context, self.before(sites.before / 0.15)

    def forward(self, sites: PeptideSites, previous_angle: Tensor) -> Tensor:
        """Unnormalised log-probabilities (n, classes), given the angles (n,) of the peptides before."""
        context, before = self.encode(sites)
        return self.logits(context, before, torch.cos(previous_angle), torch.sin(previous_angle))

    def logits(self, context: Tensor, before: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Combine what :meth:`encode` gave with the previous angle; leading dimensions broadcast."""
        constant, with_cosine, with_sine = before.unbind(dim=-2)
        hidden = context + constant + cosine.unsqueeze(-1) * with_cosine + sine.unsqueeze(-1) * with_sine
        return self.output(functional.silu(hidden))

    def classify(self, angle: Tensor) -> Tensor:
        """Bin of an angle in radians."""
        turn = torch.remainder(angle / (2 * math.pi) + 0.5, 1.0)
        return (turn * self.config.classes).long().clamp_max(self.config.classes - 1)


def draw_angles(network: PeptidePlaneNetwork, encoded: tuple[Tensor, Tensor], uniforms: Tensor) -> Tensor:
    """Draw the angles along the chain, each given the one before; exact ancestral sampling.

    Parameters
    ----------
    network : PeptidePlaneNetwork
        The trained network.
    encoded : tuple of Tensor
        From :meth:`PeptidePlaneNetwork.encode`, reshaped to (frames, residues, ...).
    uniforms : Tensor, (samples, frames, residues, 2)
        Random numbers in [0, 1): for the class, and for the place in its bin.

    Returns
    -------
    Tensor, (samples, frames, residues)
        In radians.
    """
    context, before = encoded
    angle = torch.zeros_like(uniforms[:, :, 0, 0])
    angles = []
    for residue in range(context.shape[1]):
        logits = network.logits(context[:, residue], before[:, residue], torch.cos(angle), torch.sin(angle))
        chosen = draw_class(logits, uniforms[:, :, residue, 0])
        angle = ((chosen + uniforms[:, :, residue, 1]) / network.config.classes - 0.5) * (2 * math.pi)
        angles.append(angle)
    return torch.stack(angles, dim=2)


def draw_class(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw a class by inverse cumulative probability: logits (..., classes), uniforms (...)."""
    cumulative = torch.softmax(logits, dim=-1).cumsum(dim=-1)
    threshold = uniforms * cumulative[..., -1]
    return (cumulative <= threshold.unsqueeze(-1)).sum(dim=-1).clamp_max(logits.shape[-1] - 1)
