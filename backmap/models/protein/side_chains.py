"""Side chains: torsions drawn one by one, and atoms placed on ideal bonds."""

import functools
import math
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import backmap.ops  # noqa: F401  # registers the operators
from backmap import chemistry
from backmap.chemistry import (
    ATOM_MASK,
    ATOM_SLOTS,
    CHI_MASK,
    CHI_SLOTS,
    CHI_SYMMETRIC,
    HEAVY_ATOMS,
    NO_RESIDUE,
    RESIDUE_INDEX,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CA,
    SLOT_CB,
    SLOT_N,
    SLOT_OXT,
)
from backmap.chemistry.ideal_geometry import PLACEMENTS, ideal_geometry
from backmap.chemistry.residues import MAX_CHI
from backmap.models.chain import Chain
from backmap.models.protein.config import SideChainConfig
from backmap.models.protein.geometry import (
    angle_in_class,
    place_atom,
    place_c_beta,
    torsion_angle,
)
from backmap.models.protein.given_atoms import Given, standing_atoms
from backmap.models.protein.neighbourhood import (
    Neighbourhood,
    NeighbourhoodEncoder,
    Trunk,
    cut_neighbourhood,
)
from backmap.models.protein.peptide_planes import draw_class, draw_classes
from backmap.models.protein.settling import SpringFinder, settle, strain

_TYPE_WINDOW = (-1, 0, 1)
_TYPE_WIDTH = 24
_OWN_WIDTH = 6 + len(_TYPE_WINDOW) * _TYPE_WIDTH


class SideChainSites(NamedTuple):
    """Input of the network for each residue, over frames x residues sites.

    Attributes
    ----------
    neighbourhood : Neighbourhood
        CA, CB and O of the residues nearest to a point 0.24 nm from CA towards CB.
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
    proline_length: Tensor
    proline_angle: Tensor
    proline: Final = RESIDUE_INDEX["PRO"]
    proline_improper: Final = math.radians(-119.5)

    def __init__(self) -> None:
        super().__init__()
        residues = ideal_geometry()["residues"]
        like = [residues[name if name != "GLY" else "ALA"] for name in RESIDUE_NAMES]
        direction = torch.tensor([entry["c_beta"] for entry in like])
        length = torch.tensor([entry["bonds"]["CA-CB"] for entry in like])
        self.register_buffer("direction", direction, persistent=False)
        self.register_buffer("length", length, persistent=False)
        in_ring = torch.tensor(residues["PRO"]["bonds"]["CA-CB"])
        self.register_buffer("proline_length", in_ring, persistent=False)
        self.register_buffer("proline_angle", torch.tensor(math.radians(103.2)), persistent=False)

    def forward(self, backbone: Tensor, types: Tensor) -> Tensor:
        n, c_alpha, c, _ = backbone.unbind(dim=-2)
        c_beta = place_c_beta(n, c_alpha, c, self.direction[types], self.length[types])
        # The angle N-CA-CB is part of proline's ring and must hold even where N-CA-C is strained.
        torsion = torch.full_like(c_beta[..., 0], self.proline_improper)
        in_ring = place_atom(c, n, c_alpha, self.proline_length, self.proline_angle, torsion)
        return torch.where((types == self.proline).unsqueeze(-1), in_ring, c_beta)


def cut_sites(sites: SideChainSites, first: int, last: int) -> SideChainSites:
    """Return the sites from ``first`` up to ``last``."""
    return SideChainSites(
        cut_neighbourhood(sites.neighbourhood, first, last),
        sites.torsions[first:last],
        sites.types[first:last],
    )


def take_sites(sites: SideChainSites, rows: Tensor) -> SideChainSites:
    """Return the sites ``rows``."""
    neighbourhood = sites.neighbourhood
    return SideChainSites(
        Neighbourhood(neighbourhood.positions[rows], neighbourhood.types[rows], neighbourhood.offsets[rows]),
        sites.torsions[rows],
        sites.types[rows],
    )


def measure_torsions(atoms: Tensor, present: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    """Measure side-chain torsions.

    Parameters
    ----------
    atoms : Tensor, (n, 15, 3)
        In nm.
    present : Tensor, (n, 15) bool
        Atoms that exist.
    types : Tensor, (n,) int64
        Residue types.

    Returns
    -------
    Tensor, (n, 4)
        Torsions in radians.
    Tensor, (n, 4) bool
        Which torsions exist.
    """
    slots = torch.from_numpy(CHI_SLOTS).to(atoms.device)[types]
    there = torch.from_numpy(CHI_MASK).to(atoms.device)[types]
    rows = torch.arange(len(types), device=atoms.device)[:, None, None]
    points = atoms[rows, slots.clamp_min(0)]
    there = there & present[rows, slots.clamp_min(0)].all(dim=-1)
    return torsion_angle(*points.unbind(dim=2)), there


def measure_chi(atoms: Tensor, present: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
    """Measure side-chain torsions as :func:`measure_torsions`, with half turns folded.

    Torsions with a period of half a turn lie in [-pi/2, pi/2).
    """
    chi, there = measure_torsions(atoms, present, types)
    folded = torch.remainder(chi + math.pi / 2, math.pi) - math.pi / 2
    return torch.where(torch.from_numpy(CHI_SYMMETRIC).to(atoms.device)[types], folded, chi), there


class _PerTorsion(nn.ModuleList):
    """One layer per torsion."""

    def forward(self, number: int, inputs: Tensor) -> Tensor:
        """Apply layer ``number``."""
        outputs = inputs
        for own, layer in enumerate(self):  # TorchScript cannot index layers by a variable
            if own == number:
                outputs = layer(inputs)
        return outputs

    def weight(self, number: int) -> Tensor:
        """Return the weight of layer ``number``."""
        found: list[Tensor] = []
        for own, layer in enumerate(self):
            if own == number:
                weight = layer.weight
                assert isinstance(weight, Tensor)
                found.append(weight)
        return found[0]

    def bias(self, number: int) -> Tensor:
        """Return the bias of layer ``number``."""
        found: list[Tensor] = []
        for own, layer in enumerate(self):
            if own == number:
                bias = layer.bias
                assert isinstance(bias, Tensor)
                found.append(bias)
        return found[0]


class SideChainNetwork(nn.Module):
    """Classifies chi1 ... chi4, each given the previous ones."""

    has_chi: Tensor
    repeats: Tensor
    type_window: Final = _TYPE_WINDOW
    query_distance_nm: Final = 0.24
    max_chi: Final = MAX_CHI

    def __init__(self, config: SideChainConfig) -> None:
        super().__init__()
        self.config = config
        self.classes = config.classes
        self.type_embedding = nn.Embedding(NO_RESIDUE + 1, _TYPE_WIDTH)
        self.encoder = NeighbourhoodEncoder(
            3, config.neighbours, config.neighbour_width, config.queries, _OWN_WIDTH, config.dropout
        )
        self.trunk = Trunk(
            config.queries * config.neighbour_width + _OWN_WIDTH,
            config.trunk_width,
            config.trunk_layers,
            config.dropout,
        )
        head, classes = config.head_width, config.classes
        self.context = _PerTorsion([nn.Linear(config.trunk_width, head) for _ in range(MAX_CHI)])
        self.earlier = _PerTorsion([nn.Linear(2 * chi, head, bias=False) for chi in range(1, MAX_CHI)])
        self.output = _PerTorsion([nn.Linear(head, classes) for _ in range(MAX_CHI)])
        self.register_buffer("has_chi", torch.from_numpy(CHI_MASK), persistent=False)
        self.register_buffer("repeats", torch.from_numpy(CHI_SYMMETRIC), persistent=False)

    def describe(
        self, backbone: Tensor, c_beta: Tensor, chain: Chain, box: Tensor | None = None
    ) -> SideChainSites:
        """Describe each residue from a whole backbone.

        Parameters
        ----------
        backbone : Tensor, (frames, residues, 4, 3)
            N, CA, C, O in nm.
        c_beta : Tensor, (frames, residues, 3)
            In nm.
        chain : Chain
            The sequence.
        box : Tensor, (frames, 3, 3), optional
            Periodic boxes.
        """
        n, c_alpha, c, o = backbone.unbind(dim=2)
        toward = c_beta - c_alpha
        toward = toward / torch.linalg.vector_norm(toward, dim=-1, keepdim=True).clamp_min(1e-6)
        points = torch.stack([c_alpha, c_beta, o], dim=2)
        triangle = torch.stack([n, c_alpha, c], dim=2)
        query = c_alpha + self.query_distance_nm * toward
        neighbourhood, _ = self.encoder.gather(points, query, triangle, chain, box)
        phi = torsion_angle(chain.shift(c, -1, 0.0, dim=1), n, c_alpha, c)
        psi = torsion_angle(n, c_alpha, c, chain.shift(n, 1, 0.0, dim=1))
        torsions = []
        for angle, offset in ((phi, -1), (psi, 1)):
            there = chain.has_neighbour(offset).to(angle.dtype).expand_as(angle)
            torsions += [torch.sin(angle) * there, torch.cos(angle) * there, there]
        types = torch.stack([chain.neighbour_types(offset) for offset in self.type_window], dim=-1)
        return SideChainSites(
            neighbourhood,
            torch.stack(torsions, dim=-1).flatten(0, 1),
            types.to(torch.uint8).expand(backbone.shape[0], -1, -1).flatten(0, 1),
        )

    def encode(self, sites: SideChainSites) -> Tensor:
        """Compute everything that does not depend on torsions: (n, trunk_width)."""
        own = torch.cat([sites.torsions, self.type_embedding(sites.types.long()).flatten(1)], dim=-1)
        return self.trunk(torch.cat([self.encoder(sites.neighbourhood, own), own], dim=-1))

    def encode_all(self, sites: SideChainSites, sites_at_once: int) -> Tensor:
        """Encode all sites, in slices."""
        hidden = []
        for first in range(0, len(sites.torsions), sites_at_once):
            hidden.append(self.encode(cut_sites(sites, first, first + sites_at_once)))
        return torch.cat(hidden)

    def logits(self, context: Tensor, chi: int, earlier: Tensor) -> Tensor:
        """Return unnormalised log-probabilities of one torsion's classes.

        Parameters
        ----------
        context : Tensor, (n, head_width)
            Layer ``chi`` of ``context``, of the features from :meth:`encode`.
        chi : int
            Index of the torsion, from 0.
        earlier : Tensor, (n, candidates, chi)
            Previous torsions in radians.

        Returns
        -------
        Tensor, (n, candidates, classes), or (n, 1, classes) for the first torsion
        """
        if chi == 0:
            return self.output(chi, functional.silu(context)).unsqueeze(1)
        waves = torch.cat([torch.cos(earlier), torch.sin(earlier)], dim=-1)
        if torch.is_grad_enabled() or context.is_cuda:
            return self.output(chi, functional.silu(context.unsqueeze(1) + self.earlier(chi - 1, waves)))
        coefficients = self.earlier.weight(chi - 1).T
        return torch.ops.backmap.wave_logits(
            context, waves, coefficients, self.output.weight(chi), self.output.bias(chi)
        )

    def probabilities(self, context: Tensor, types: Tensor, chi: int, earlier: Tensor) -> Tensor:
        """Return the probabilities (n, candidates, classes) of one torsion over a full turn.

        Both halves of the turn are equally probable for torsions that repeat after half a turn; the network
        itself uses one of them. Arguments as for :meth:`logits`, and the residue types (n,).
        """
        probabilities = torch.softmax(self.logits(context, chi, earlier), dim=-1)
        both = 0.5 * (probabilities + probabilities.roll(self.classes // 2, -1))
        return torch.where(self.repeats[types, chi, None, None], both, probabilities)

    def step_tables(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return coefficients, weights and biases for :func:`backmap.ops.step_rotamers`."""
        weights = torch.stack([self.output.weight(chi).T for chi in range(self.max_chi)])
        biases = torch.stack([self.output.bias(chi) for chi in range(self.max_chi)])
        coefficients = weights.new_zeros(self.max_chi, 2, self.max_chi, weights.shape[1])
        for chi in range(1, self.max_chi):
            coefficients[chi, :, :chi] = self.earlier.weight(chi - 1).T.unflatten(0, (2, chi))
        return coefficients, weights.contiguous(), biases

    def forward(self, sites: SideChainSites, torsions: Tensor) -> list[Tensor]:
        """Return the logits of all torsions given the true previous ones: four of (n, classes)."""
        hidden = self.encode(sites)
        return [
            self.logits(self.context(chi, hidden), chi, torsions[:, None, :chi]).squeeze(1)
            for chi in range(self.max_chi)
        ]

    def draw(self, hidden: Tensor, types: Tensor, uniforms: Tensor, known: Tensor | None = None) -> Tensor:
        """Draw candidates of all torsions of each residue.

        Parameters
        ----------
        hidden : Tensor, (n, trunk_width)
            From :meth:`encode`.
        types : Tensor, (n,) int64
            Residue types.
        uniforms : Tensor, (n, candidates, 4, 2)
            Random numbers in [0, 1) for the class of each torsion and for the position in its bin.
        known : Tensor, (n, 4), optional
            Known torsions in radians, which are not drawn; NaN for the others.

        Returns
        -------
        Tensor, (n, candidates, 4)
            In radians; zero where a residue does not have the torsion.
        """
        has = self.has_chi[types]
        torsions = torch.zeros_like(uniforms[..., 0])
        for chi in range(self.max_chi):
            rows = torch.nonzero(has[:, chi]).squeeze(-1)
            logits = self.logits(self.context(chi, hidden[rows]), chi, torsions[rows, :, :chi])
            numbers = uniforms[rows, :, chi, 0]
            if chi == 0:
                classes = draw_classes(logits.squeeze(1), numbers)
            else:
                classes = draw_class(logits, numbers)
            drawn = angle_in_class(classes, uniforms[rows, :, chi, 1], self.classes)
            if known is not None:
                fixed = known[rows, chi].unsqueeze(1)
                drawn = torch.where(fixed.isnan(), drawn, fixed)
            torsions[rows, :, chi] = drawn
        return torsions


class SideChainGeometry(nn.Module):
    """Places all side-chain atoms on ideal bonds.

    The buffers are the tables of :func:`backmap.ops.place_side_chains`, for slots from CB on.
    """

    rules: Tensor
    parents: Tensor
    torsion_indices: Tensor
    geometry: Tensor
    ring: Tensor
    first: Final = SLOT_CB
    last: Final = SLOT_OXT
    glycine: Final = RESIDUE_INDEX["GLY"]
    proline: Final = RESIDUE_INDEX["PRO"]

    def __init__(self) -> None:
        super().__init__()
        shape = (len(RESIDUE_NAMES), self.last - self.first)
        rules, parents = torch.zeros(shape, dtype=torch.int64), torch.zeros(*shape, 3, dtype=torch.int64)
        torsion_indices, values = torch.full(shape, MAX_CHI), torch.zeros(*shape, 3)
        rules[:, 0] = _CB_RULE
        rules[self.glycine, 0] = 0
        for kind, name in enumerate(RESIDUE_NAMES):
            if kind == self.proline:
                continue  # the ring is closed instead
            geometry = ideal_geometry()["residues"][name]["placements"]
            for placement, (_, *entry) in zip(PLACEMENTS[name], geometry, strict=True):
                own = HEAVY_ATOMS[name].index(placement.atom) - self.first
                rules[kind, own] = _TORSION_RULE
                parents[kind, own] = torch.tensor(
                    [HEAVY_ATOMS[name].index(atom) for atom in placement.parents]
                )
                torsion_indices[kind, own] = MAX_CHI if placement.chi is None else placement.chi
                values[kind, own] = torch.tensor(entry)
        rules[self.proline, 1:3] = torch.tensor(_RING_RULES)
        parents[self.proline, 1:3] = torch.tensor(
            [HEAVY_ATOMS["PRO"].index(atom) for atom in ("N", "CA", "CB")]
        )
        tables = {"rules": rules, "parents": parents, "torsion_indices": torsion_indices, "geometry": values}
        for name, table in (tables | {"ring": _proline_ring()}).items():
            self.register_buffer(name, table, persistent=False)

    def forward(
        self,
        backbone: Tensor,
        c_beta: Tensor,
        types: Tensor,
        torsions: Tensor,
        given: Given | None = None,
    ) -> Tensor:
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
        given : Given, optional
            For n sites: atoms to keep, from which the following ones are placed.

        Returns
        -------
        Tensor, (n, candidates, 10, 3)
            Slots CB ... of each candidate in nm; zero where the type does not have the atom.
        """
        known: Tensor | None = None
        known_present: Tensor | None = None
        if given is not None:
            known = given.atoms[:, self.first : self.last]
            known_present = given.present[:, self.first : self.last].clone()
            known_present[:, 0] = False  # CB has been chosen already
        return torch.ops.backmap.place_side_chains(
            backbone,
            c_beta,
            types,
            torsions,
            self.rules,
            self.parents,
            self.torsion_indices,
            self.geometry,
            self.ring,
            known,
            known_present,
        )


_CB_RULE, _TORSION_RULE, _RING_RULES = 1, 2, (3, 4)
"""How :func:`backmap.ops.place_side_chains` places an atom; rules of a ring are those of CG and CD."""


def _proline_ring() -> Tensor:
    """Return what :func:`backmap.ops.place_side_chains` knows of proline's ring.

    Lengths are ideal. The angle at CB narrows with the pucker, as in crystal structures; the widest pucker is
    39 degrees.
    """
    bonds = ideal_geometry()["residues"]["PRO"]["bonds"]
    lengths = [bonds[name] for name in ("CB-CG", "CG-CD", "CD-N")]
    widest, at_beta, at_nitrogen = (math.radians(degrees) for degrees in (39.0, 107.0, 111.7))
    return torch.tensor([*lengths, widest, at_beta, 0.21, at_nitrogen])


@functools.cache
def handed_centres() -> np.ndarray:
    """Return the slots (20, 2, 4) of chiral centres and three neighbours with a positive triple product.

    The centres are CA and, where a side chain branches out of the plane, the branching atom. A single centre
    is listed twice; the entries of glycine are arbitrary.
    """
    centres = np.zeros((len(RESIDUE_NAMES), 2, 4), dtype=np.int64)
    centres[:] = (SLOT_CA, SLOT_N, SLOT_C, SLOT_CB)
    for kind, name in enumerate(RESIDUE_NAMES):
        geometry = ideal_geometry()["residues"][name]["placements"] if PLACEMENTS[name] else []
        for placement, (*_, offset) in zip(PLACEMENTS[name], geometry, strict=True):
            if placement.chi is not None and 1.0 < abs(offset) < 3.0:
                first = next(p for p in PLACEMENTS[name] if p.parents == placement.parents)
                pair = (placement.atom, first.atom) if offset > 0 else (first.atom, placement.atom)
                atoms = (placement.parents[2], placement.parents[1], *pair)
                centres[kind, 1] = [HEAVY_ATOMS[name].index(atom) for atom in atoms]
    return centres


def wrong_hand(atoms: Tensor, types: Tensor) -> Tensor:
    """Return which residues (..., residues, 15, 3) have a centre of the wrong chirality."""
    return wrong_hand_of(atoms, torch.from_numpy(handed_centres()).to(types.device)[types])


def wrong_hand_of(atoms: Tensor, centres: Tensor) -> Tensor:
    """Return where one of the :func:`handed_centres` (residues, 2, 4) of atoms has the wrong chirality."""
    flat = torch.arange(len(centres), device=centres.device)[:, None, None] * atoms.shape[-2] + centres
    points = atoms.flatten(-3, -2).index_select(-2, flat.flatten()).unflatten(-2, flat.shape)
    away = points[..., 1:, :] - points[..., :1, :]
    turned = torch.linalg.cross(away[..., 0, :], away[..., 1, :], dim=-1)
    return ((turned * away[..., 2, :]).sum(dim=-1) < 0).any(dim=-1)


class GivenSideChains(nn.Module):
    """Fits side chains to given atoms; has no parameters.

    Attributes
    ----------
    quadruples : Tensor, (20, atoms, 4) int64
        For each atom that a torsion places, the slots of three parents and of itself.
    chi : Tensor, (20, atoms) int64
        Its torsion; -1 for padding.
    offset : Tensor, (20, atoms)
        What is added to the torsion to place it, in radians.
    """

    atom_mask: Tensor
    handed: Tensor
    quadruples: Tensor
    chi: Tensor
    offset: Tensor
    max_chi: Final = MAX_CHI
    slots: Final = ATOM_SLOTS
    proline: Final = RESIDUE_INDEX["PRO"]
    max_strain: Final = 0.03
    """Maximum relative deviation of a bond beyond that of the best candidate; angles count less."""

    def __init__(self) -> None:
        super().__init__()
        shape = len(RESIDUE_NAMES), max(map(len, PLACEMENTS.values()))
        quadruples, chi = torch.zeros(*shape, 4, dtype=torch.int64), torch.full(shape, -1)
        offset = torch.zeros(shape)
        for kind, name in enumerate(RESIDUE_NAMES):
            geometry = ideal_geometry()["residues"][name]["placements"] if PLACEMENTS[name] else []
            for number, (placement, (*_, angle)) in enumerate(zip(PLACEMENTS[name], geometry, strict=False)):
                if placement.chi is not None:
                    atoms = *placement.parents, placement.atom
                    quadruples[kind, number] = torch.tensor([HEAVY_ATOMS[name].index(atom) for atom in atoms])
                    chi[kind, number], offset[kind, number] = placement.chi, angle
        tables = {"quadruples": quadruples, "chi": chi, "offset": offset}
        tables |= {"atom_mask": torch.from_numpy(ATOM_MASK), "handed": torch.from_numpy(handed_centres())}
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        self.springs = SpringFinder()

    def measure_torsions(self, backbone: Tensor, c_beta: Tensor, types: Tensor, given: Given) -> Tensor:
        """Measure the torsions that given side-chain atoms determine.

        Parameters
        ----------
        backbone : Tensor, (n, 4, 3)
            N, CA, C, O in nm.
        c_beta : Tensor, (n, 3)
            In nm.
        types : Tensor, (n,) int64
            Residue types.
        given : Given
            For n sites, from :func:`of_sites`.

        Returns
        -------
        Tensor, (n, 4)
            chi1 ... chi4 in radians: each from the first given atom that it determines and three atoms that
            are given or belong to the backbone and CB. NaN where no given atom determines it.
        """
        beta = chemistry.SLOT_CB
        atoms, standing = given.atoms.clone(), given.present.clone()
        atoms[:, :beta] = backbone
        atoms[:, beta] = c_beta
        standing[:, : beta + 1] = True
        torsions = torch.full([len(types), self.max_chi], torch.nan, dtype=atoms.dtype, device=atoms.device)
        for number in range(self.chi.shape[1]):
            slots, chi = self.quadruples[types, number], self.chi[types, number]
            unknown = torsions.gather(1, chi.clamp_min(0)[:, None]).squeeze(1).isnan()
            known = (chi >= 0) & unknown & standing.gather(1, slots).all(dim=1)
            rows = torch.nonzero(known).squeeze(-1)
            a, b, c, d = atoms[rows[:, None], slots[rows]].unbind(dim=1)
            torsions[rows, chi[rows]] = torsion_angle(a, b, c, d) - self.offset[types[rows], number]
        return torsions

    def settle(self, candidates: Tensor, backbone: Tensor, chain: Chain, given: Given) -> Tensor:
        """Fit built side-chain atoms to the given atoms around them.

        Atoms built between given ones are moved to fit bonds and angles. Candidates that still fit worse than
        the best candidate of their residue, or have the wrong chirality while that has not, are replaced by
        it.

        Parameters
        ----------
        candidates : Tensor, (frames, residues, candidates, 10, 3)
            From :class:`SideChainGeometry` in nm.
        backbone : Tensor, (frames, residues, 4, 3)
            N, CA, C, O in nm.
        chain : Chain
            The sequence.
        given : Given
            For all frames.

        Returns
        -------
        Tensor, (frames, residues, candidates, 10, 3)
            In nm.
        """
        first, last = chemistry.SLOT_CB, chemistry.SLOT_OXT
        missing = standing_atoms(self.atom_mask, chain) & ~given.present
        missing[:, last:] = False
        missing[:, :first] = False
        held = given.present[:, first + 1 : last].any(dim=1)
        held |= given.present[:, first] & (chain.types == self.proline)
        rows = torch.nonzero(held & missing.any(dim=1)).squeeze(-1)
        if len(rows) == 0:
            return candidates
        part = Chain(chain.types[rows], chain.chain_index[rows], torch.zeros_like(chain.linked[rows]))
        standing = standing_atoms(self.atom_mask, part)
        standing[:, last] = False
        springs = self.springs(missing[rows], standing, part)
        whole = candidates.new_zeros([len(candidates), candidates.shape[2], len(rows), self.slots, 3])
        whole[:, :, :, :first] = backbone[:, rows].unsqueeze(1)
        whole[:, :, :, first:last] = candidates[:, rows].transpose(1, 2)
        whole = settle(whole, springs)
        misfit = strain(whole, springs)
        wrong = wrong_hand_of(whole, self.handed[part.types])
        owner = torch.div(springs.moved, self.slots, rounding_mode="floor").expand_as(misfit)
        worst = misfit.new_zeros([misfit.shape[0], misfit.shape[1], len(rows)])
        worst = worst.scatter_reduce(2, owner, misfit, "amax") + wrong
        best = worst.argmin(dim=1, keepdim=True)
        own = torch.arange(candidates.shape[2], device=rows.device)[:, None]
        chosen = torch.where(worst > worst.amin(dim=1, keepdim=True) + self.max_strain, best, own)
        index = chosen[..., None, None].expand(-1, -1, -1, candidates.shape[3], 3)
        candidates = candidates.clone()
        candidates[:, rows] = whole[:, :, :, first:last].gather(1, index).transpose(1, 2)
        return candidates
