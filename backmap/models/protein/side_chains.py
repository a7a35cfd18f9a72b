"""Side chains: torsions drawn one after the other, atoms placed on ideal bonds."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from backmap.chemistry import (
    ATOM_SLOTS,
    CHI_MASK,
    CHI_SLOTS,
    CHI_SYMMETRIC,
    HEAVY_ATOMS,
    RESIDUE_INDEX,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CA,
    SLOT_CB,
    SLOT_N,
    SLOT_O,
)
from backmap.chemistry.ideal_geometry import PLACEMENTS, ideal_geometry
from backmap.chemistry.residues import MAX_CHI
from backmap.models.chain import NO_RESIDUE, Chain, shift
from backmap.models.protein.config import SideChainConfig
from backmap.models.protein.geometry import (
    angle_in_class,
    place_atom,
    place_c_beta,
    place_proline_ring,
    torsion_angle,
)
from backmap.models.protein.neighbourhood import (
    Neighbourhood,
    NeighbourhoodEncoder,
    Trunk,
    gather_neighbourhood,
)
from backmap.models.protein.peptide_planes import draw_class

_QUERY_DISTANCE_NM = 0.24
_TYPE_WINDOW = (-1, 0, 1)
_TYPE_WIDTH = 24
_OWN_WIDTH = 6 + len(_TYPE_WINDOW) * _TYPE_WIDTH
_PROLINE_IMPROPER = math.radians(-119.5)
_PROLINE = RESIDUE_INDEX["PRO"]
_GLYCINE = RESIDUE_INDEX["GLY"]


class SideChainSites(NamedTuple):
    """What the network knows of every residue, over frames x residues sites.

    Attributes
    ----------
    neighbourhood : Neighbourhood
        CA, CB and O of the nearest residues of a point 0.24 nm beyond CA towards CB.
    torsions : Tensor, (n, 6)
        Sine, cosine and presence of phi and psi.
    types : Tensor, (n, 3) uint8
        Residue types i-1, i, i+1.
    """

    neighbourhood: Neighbourhood
    torsions: Tensor
    types: Tensor


class CBetaGeometry(nn.Module):
    """Places CB (for glycine, where it would be): backbone (..., residues, 4, 3) to (..., residues, 3)."""

    direction: Tensor
    length: Tensor

    def __init__(self) -> None:
        super().__init__()
        residues = ideal_geometry()["residues"]
        like = [residues[name if name != "GLY" else "ALA"] for name in RESIDUE_NAMES]
        direction = torch.tensor([entry["c_beta"] for entry in like])
        length = torch.tensor([entry["bonds"]["CA-CB"] for entry in like])
        self.register_buffer("direction", direction, persistent=False)
        self.register_buffer("length", length, persistent=False)
        self.proline_length = residues["PRO"]["bonds"]["CA-CB"]
        self.proline_angle, self.proline_torsion = math.radians(103.2), _PROLINE_IMPROPER

    def forward(self, backbone: Tensor, types: Tensor) -> Tensor:
        n, c_alpha, c = (backbone[..., slot, :] for slot in (SLOT_N, SLOT_CA, SLOT_C))
        c_beta = place_c_beta(n, c_alpha, c, self.direction[types], self.length[types])
        # The angle N-CA-CB is part of proline's ring and must hold even where N-CA-C is strained.
        torsion = torch.full_like(c_beta[..., 0], self.proline_torsion)
        in_ring = place_atom(c, n, c_alpha, self.proline_length, self.proline_angle, torsion)
        return torch.where((types == _PROLINE).unsqueeze(-1), in_ring, c_beta)


def side_chain_sites(backbone: Tensor, c_beta: Tensor, chain: Chain, neighbours: int) -> SideChainSites:
    """Describe every residue from a whole backbone.

    Parameters
    ----------
    backbone : Tensor, (frames, residues, 4, 3)
        N, CA, C, O in nm.
    c_beta : Tensor, (frames, residues, 3)
        In nm.
    chain : Chain
        The sequence.
    neighbours : int
        Nearest residues to take.
    """
    n, c_alpha, c, o = backbone.unbind(dim=2)
    toward = (c_beta - c_alpha) / (c_beta - c_alpha).norm(dim=-1, keepdim=True).clamp_min(1e-6)
    points = torch.stack([c_alpha, c_beta, o], dim=2)
    triangle = torch.stack([n, c_alpha, c], dim=2)
    query = c_alpha + _QUERY_DISTANCE_NM * toward
    neighbourhood, _ = gather_neighbourhood(points, query, triangle, chain, neighbours)
    phi = torsion_angle(shift(c, -1, 0.0, dim=1), n, c_alpha, c)
    psi = torsion_angle(n, c_alpha, c, shift(n, 1, 0.0, dim=1))
    torsions = []
    for angle, offset in ((phi, -1), (psi, 1)):
        there = chain.has_neighbour(offset).to(angle.dtype).expand_as(angle)
        torsions += [torch.sin(angle) * there, torch.cos(angle) * there, there]
    types = torch.stack([chain.neighbour_types(offset) for offset in _TYPE_WINDOW], dim=-1).to(torch.uint8)
    return SideChainSites(
        neighbourhood,
        torch.stack(torsions, dim=-1).flatten(0, 1),
        types.expand(backbone.shape[0], -1, -1).flatten(0, 1),
    )


def measure_chi(atoms: Tensor, present: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    """Measure side-chain torsions.

    Parameters
    ----------
    atoms : Tensor, (n, 15, 3)
        In nm.
    present : Tensor, (n, 15) bool
        Which atoms are there.
    types : Tensor, (n,) int64
        Residue types.

    Returns
    -------
    Tensor, (n, 4)
        Torsions in radians; those with a period of half a turn lie in [-pi/2, pi/2).
    Tensor, (n, 4) bool
        Which torsions exist.
    """
    slots = torch.from_numpy(CHI_SLOTS).to(atoms.device)[types]
    there = torch.from_numpy(CHI_MASK).to(atoms.device)[types]
    rows = torch.arange(len(types), device=atoms.device)[:, None, None]
    points = atoms[rows, slots.clamp_min(0)]
    there = there & present[rows, slots.clamp_min(0)].all(dim=-1)
    chi = torsion_angle(*points.unbind(dim=2))
    folded = torch.remainder(chi + math.pi / 2, math.pi) - math.pi / 2
    return torch.where(torch.from_numpy(CHI_SYMMETRIC).to(atoms.device)[types], folded, chi), there


class SideChainNetwork(nn.Module):
    """Classifies chi1 ... chi4, each given the ones before."""

    def __init__(self, config: SideChainConfig) -> None:
        super().__init__()
        self.config = config
        self.type_embedding = nn.Embedding(NO_RESIDUE + 1, _TYPE_WIDTH)
        self.encoder = NeighbourhoodEncoder(
            3, config.neighbour_width, config.queries, _OWN_WIDTH, config.dropout
        )
        self.trunk = Trunk(
            config.queries * config.neighbour_width + _OWN_WIDTH,
            config.trunk_width,
            config.trunk_layers,
            config.dropout,
        )
        self.context = nn.ModuleList(
            [nn.Linear(config.trunk_width, config.head_width) for _ in range(MAX_CHI)]
        )
        self.earlier = nn.ModuleList(
            [nn.Linear(2 * chi, config.head_width, bias=False) for chi in range(1, MAX_CHI)]
        )
        self.output = nn.ModuleList([nn.Linear(config.head_width, config.classes) for _ in range(MAX_CHI)])

    def encode(self, sites: SideChainSites) -> Tensor:
        """Do all work that does not need torsions: (n, trunk_width)."""
        own = torch.cat([sites.torsions, self.type_embedding(sites.types.long()).flatten(1)], dim=-1)
        return self.trunk(torch.cat([self.encoder(sites.neighbourhood, own), own], dim=-1))

    def logits(self, hidden: Tensor, chi: int, earlier: Tensor) -> Tensor:
        """Unnormalised log-probabilities of one torsion's classes.

        Parameters
        ----------
        hidden : Tensor, (n, trunk_width)
            From :meth:`encode`.
        chi : int
            Which torsion, from 0.
        earlier : Tensor, (n, candidates, chi)
            The torsions before, in radians.

        Returns
        -------
        Tensor, (n, candidates, classes), or (n, 1, classes) for the first torsion
        """
        head = self.context[chi](hidden).unsqueeze(1)
        if chi > 0:
            waves = torch.cat([torch.cos(earlier), torch.sin(earlier)], dim=-1)
            head = head + self.earlier[chi - 1](waves)
        return self.output[chi](functional.silu(head))

    def forward(self, sites: SideChainSites, torsions: Tensor) -> list[Tensor]:
        """Logits of all torsions given the true earlier ones: four of (n, classes)."""
        hidden = self.encode(sites)
        return [self.logits(hidden, chi, torsions[:, None, :chi]).squeeze(1) for chi in range(MAX_CHI)]


def draw_torsions(network: SideChainNetwork, hidden: Tensor, types: Tensor, uniforms: Tensor) -> Tensor:
    """Draw candidates of all torsions of each residue.

    Parameters
    ----------
    network : SideChainNetwork
        The trained network.
    hidden : Tensor, (n, trunk_width)
        From :meth:`SideChainNetwork.encode`.
    types : Tensor, (n,) int64
        Residue types.
    uniforms : Tensor, (n, candidates, 4, 2)
        Random numbers in [0, 1): for the class of each torsion, and for the place in its bin.

    Returns
    -------
    Tensor, (n, candidates, 4)
        In radians; zero where a residue has no such torsion.
    """
    has = torch.from_numpy(CHI_MASK).to(types.device)[types]
    torsions = torch.zeros_like(uniforms[..., 0])
    for chi in range(MAX_CHI):
        rows = torch.nonzero(has[:, chi]).squeeze(-1)
        logits = network.logits(hidden[rows], chi, torsions[rows, :, :chi])
        classes = draw_class(logits.expand(-1, uniforms.shape[1], -1), uniforms[rows, :, chi, 0])
        torsions[rows, :, chi] = angle_in_class(classes, uniforms[rows, :, chi, 1], network.config.classes)
    return torsions


def place_side_chains(backbone: Tensor, c_beta: Tensor, types: Tensor, torsions: Tensor) -> Tensor:
    """Place all side-chain atoms.

    Parameters
    ----------
    backbone : Tensor, (n, 4, 3)
        N, CA, C, O in nm.
    c_beta : Tensor, (n, 3)
        In nm.
    types : Tensor, (n,) int64
        Residue types.
    torsions : Tensor, (n, candidates, 4)
        chi1 ... chi4 in radians.

    Returns
    -------
    Tensor, (n, candidates, 10, 3)
        Slots CB ... of each candidate in nm; zero where the type has no such atom.
    """
    candidates = torsions.shape[1]
    atoms = backbone.new_zeros(len(types), candidates, ATOM_SLOTS - 1 - SLOT_CB, 3)
    for kind, name in enumerate(RESIDUE_NAMES):
        rows = torch.nonzero(types == kind).squeeze(-1)
        if kind == _GLYCINE or len(rows) == 0:
            continue
        built = _place_one_type(name, backbone[rows], c_beta[rows], torsions[rows])
        atoms[rows, :, : len(built)] = torch.stack(built, dim=2)
    return atoms


def _place_one_type(name: str, backbone: Tensor, c_beta: Tensor, torsions: Tensor) -> list[Tensor]:
    shape = (-1, torsions.shape[1], -1)
    at = {
        atom: backbone[:, slot, None].expand(shape)
        for atom, slot in (("N", SLOT_N), ("CA", SLOT_CA), ("C", SLOT_C), ("O", SLOT_O))
    }
    at["CB"] = c_beta[:, None].expand(shape)
    if name == "PRO":
        return [at["CB"], *place_proline_ring(at["N"], at["CA"], at["CB"], torsions[..., 0])]
    geometry = ideal_geometry()["residues"][name]["placements"]
    for placement, (_, length, angle, offset) in zip(PLACEMENTS[name], geometry, strict=True):
        if placement.chi is None:
            torsion = torch.full_like(torsions[..., 0], offset)
        else:
            torsion = torsions[..., placement.chi] + offset
        a, b, c = (at[parent] for parent in placement.parents)
        at[placement.atom] = place_atom(a, b, c, length, angle, torsion)
    return [at[atom] for atom in HEAVY_ATOMS[name][SLOT_CB:]]
