"""The whole backbone from peptide angles: N, CA, C, O of every residue, ends of chains included."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from backmap import chemistry
from backmap.chemistry import (
    ATOM_SLOTS,
    HEAVY_ATOMS,
    RESIDUE_INDEX,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CB,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
)
from backmap.chemistry.ideal_geometry import PLACEMENTS, SLOT_PROLINE_CD, ideal_geometry
from backmap.models.chain import Chain, shift
from backmap.models.protein.geometry import (
    angle_in_class,
    mean_backbone_angle,
    normalise,
    place_atom,
    torsion_angle,
)
from backmap.models.protein.given_atoms import Given, keep_given
from backmap.models.protein.peptide_planes import PeptideFrames, place_peptides
from backmap.models.protein.settling import find_springs, settle
from backmap.models.protein.side_chains import CBetaGeometry

END_CANDIDATES = 12
"""Trial torsions at each end; the one that overlaps least with the rest of the backbone stays."""

END_UNIFORMS = 3
"""Random numbers for each trial at each residue that is an end."""


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
    bonds_from_beta: Tensor
    n_length: Tensor
    c_length: Tensor
    o_length: Tensor
    o_angle: Tensor
    oxt_length: Tensor
    oxt_angle: Tensor
    mean_angle: Tensor
    candidates: Final = END_CANDIDATES
    uniforms: Final = END_UNIFORMS
    overlap_distance_nm: Final = 0.34
    reach_nm: Final = 0.03
    reach_per_bond_nm: Final = 0.13
    """How far a side-chain atom may be from CB: this, and this much more for each bond between them."""
    excess_weight: Final = 1e3
    branch_turn: Final = math.radians(122.0)
    """Torsion CB-N-CA-C of an L-amino acid."""

    def __init__(self) -> None:
        super().__init__()
        peptide, terminal = ideal_geometry()["peptide"]["trans"], ideal_geometry()["terminal"]
        phi = [terminal["phi of proline" if name == "PRO" else "phi of ends"] for name in RESIDUE_NAMES]
        self.register_buffer("psi_of_starts", torch.tensor(terminal["psi of starts"]), persistent=False)
        self.register_buffer("phi_of_ends", torch.tensor(phi), persistent=False)
        self.register_buffer("bonds_from_beta", _bonds_from_beta(), persistent=False)
        geometry = {
            "n_length": peptide["N-CA"],
            "c_length": peptide["CA-C"],
            "o_length": peptide["C-O"],
            "o_angle": peptide["angle CA-C-O"],
            "oxt_length": terminal["C-OXT"],
            "oxt_angle": terminal["angle CA-C-OXT"],
            "mean_angle": mean_backbone_angle(),
        }
        for name, value in geometry.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)
        self.c_beta = CBetaGeometry()

    def forward(
        self,
        c_alpha: Tensor,
        frames: PeptideFrames,
        angle: Tensor,
        twist: Tensor,
        chain: Chain,
        end_uniforms: Tensor,
        given: Given | None = None,
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
        given : Given, optional
            Atoms to keep, from :func:`usable`. What a peptide of theirs lacks is moved to where bonds
            and angles to them fit.
        """
        peptides = place_peptides(c_alpha, frames, angle, twist)
        nitrogen = shift(peptides[:, :, 2], -1, 0.0, dim=1)
        atoms = torch.stack([nitrogen, c_alpha, peptides[:, :, 0], peptides[:, :, 1]], dim=2)
        if given is not None:
            atoms = keep_given(given, atoms, 0, chemistry.SLOT_CB)
        oxt = torch.zeros_like(c_alpha)
        starts, ends = chain_ends(chain)
        numbers: list[int] = torch.cat([starts, ends]).tolist()
        linked: list[bool] = chain.linked.tolist()
        for row, residue in enumerate(numbers):
            uniforms, anchor = end_uniforms[:, row], _Anchor(residue, given)
            if row >= len(starts):
                begins = residue == 0 or not linked[residue - 1]
                oxt[:, residue] = self._end(atoms, residue, begins, chain, uniforms, anchor)
                continue
            if linked[residue]:
                reference = atoms[:, residue + 1, chemistry.SLOT_N]
            else:
                reference = self._lone(atoms, residue, uniforms, anchor)
            if not anchor.has(chemistry.SLOT_N):
                self._start(atoms, residue, reference, chain, uniforms, anchor)
        backbone = Backbone(atoms, oxt)
        return backbone if given is None else self._fitted(backbone, given, chain)

    @torch.jit.unused
    def _fitted(self, backbone: Backbone, given: Given, chain: Chain) -> Backbone:
        return _settled(backbone, given, chain)

    def _lone(self, atoms: Tensor, residue: int, uniforms: Tensor, anchor: "_Anchor") -> Tensor:
        """Write C of a residue without neighbours and give a point beside it to count torsions from.

        C lies in a random direction, or where what is given leaves it.
        """
        c_alpha, direction = atoms[:, residue, chemistry.SLOT_CA], _random_direction(uniforms[:, 0])
        if anchor.has(chemistry.SLOT_C):
            direction = normalise(anchor.at(chemistry.SLOT_C) - c_alpha)
        elif anchor.has(chemistry.SLOT_N):
            n, turn = anchor.at(chemistry.SLOT_N), (2 * math.pi) * uniforms[:, 0, 2]
            side = n + direction
            if anchor.has(chemistry.SLOT_CB):
                side, turn = anchor.at(chemistry.SLOT_CB), torch.full_like(turn, self.branch_turn)
            towards = place_atom(side, n, c_alpha, self.c_length, self.mean_angle, turn)
            direction = normalise(towards - c_alpha)
        elif anchor.has(chemistry.SLOT_O):
            direction = normalise(anchor.at(chemistry.SLOT_O) - c_alpha)
        c = c_alpha + self.c_length * direction
        if anchor.has(chemistry.SLOT_C):
            c = anchor.at(chemistry.SLOT_C)
        atoms[:, residue, chemistry.SLOT_C] = c
        return c + _any_perpendicular(direction)

    def _start(
        self,
        atoms: Tensor,
        residue: int,
        reference: Tensor,
        chain: Chain,
        uniforms: Tensor,
        anchor: "_Anchor",
    ) -> None:
        """Write N of the first residue of a segment."""
        c_alpha, c = atoms[:, residue, chemistry.SLOT_CA], atoms[:, residue, chemistry.SLOT_C]
        if anchor.has(chemistry.SLOT_CB):
            turn, beta = torch.full_like(c[:, 0], -self.branch_turn), anchor.at(chemistry.SLOT_CB)
            n = place_atom(beta, c, c_alpha, self.n_length, self.mean_angle, turn)
        else:
            psi = _inverse_cumulative(self.psi_of_starts, uniforms[:, :, 0], uniforms[:, :, 1])
            c_alpha, c = c_alpha[:, None], c[:, None]
            trial = place_atom(reference[:, None], c, c_alpha, self.n_length, self.mean_angle, psi)
            excess = self._excess_reach(trial, c_alpha, c, chain.types[residue], anchor)
            n = _take(trial, self._least_overlap(trial.unsqueeze(2), atoms, residue, chain, excess))
        atoms[:, residue, chemistry.SLOT_N] = n

    def _end(
        self,
        atoms: Tensor,
        residue: int,
        begins: bool,
        chain: Chain,
        uniforms: Tensor,
        anchor: "_Anchor",
    ) -> Tensor:
        """Write C and O of the last residue of a segment and give its terminal oxygen.

        C of a residue that begins the segment as well stands already.
        """
        n, c_alpha = atoms[:, residue, None, chemistry.SLOT_N], atoms[:, residue, None, chemistry.SLOT_CA]
        if begins or anchor.has(chemistry.SLOT_C):
            c = atoms[:, residue, None, chemistry.SLOT_C].expand(-1, uniforms.shape[1], -1)
        elif anchor.has(chemistry.SLOT_CB):
            turn = torch.full_like(uniforms[:, :, 0], self.branch_turn)
            beta = anchor.at(chemistry.SLOT_CB)[:, None]
            c = place_atom(beta, n, c_alpha, self.c_length, self.mean_angle, turn)
        else:
            before = atoms[:, residue - 1, None, chemistry.SLOT_C]
            phi = _inverse_cumulative(
                self.phi_of_ends[chain.types[residue]], uniforms[:, :, 0], uniforms[:, :, 1]
            )
            if anchor.has(chemistry.SLOT_O) or anchor.has(chemistry.SLOT_OXT):
                oxygen = chemistry.SLOT_O if anchor.has(chemistry.SLOT_O) else chemistry.SLOT_OXT
                phi = torsion_angle(before, n, c_alpha, anchor.at(oxygen)[:, None]).expand_as(phi)
            c = place_atom(before, n, c_alpha, self.c_length, self.mean_angle, phi)
        turn = (2 * math.pi) * uniforms[:, :, 2]
        if anchor.has(chemistry.SLOT_O):
            turn = torsion_angle(n, c_alpha, c, anchor.at(chemistry.SLOT_O)[:, None])
        elif anchor.has(chemistry.SLOT_OXT):
            turn = torsion_angle(n, c_alpha, c, anchor.at(chemistry.SLOT_OXT)[:, None]) - math.pi
        o = place_atom(n, c_alpha, c, self.o_length, self.o_angle, turn)
        oxt = place_atom(n, c_alpha, c, self.oxt_length, self.oxt_angle, turn + math.pi)
        excess = self._excess_reach(n, c_alpha, c, chain.types[residue], anchor)
        best = self._least_overlap(torch.stack([c, o, oxt], dim=2), atoms, residue, chain, excess)
        if not anchor.has(chemistry.SLOT_C):
            atoms[:, residue, chemistry.SLOT_C] = _take(c, best)
        if not anchor.has(chemistry.SLOT_O):
            atoms[:, residue, chemistry.SLOT_O] = _take(o, best)
        return anchor.at(chemistry.SLOT_OXT) if anchor.has(chemistry.SLOT_OXT) else _take(oxt, best)

    def _excess_reach(self, n: Tensor, c_alpha: Tensor, c: Tensor, kind: Tensor, anchor: "_Anchor") -> Tensor:
        """By how much a given side-chain atom is too far from where CB would be, (frames, trials) nm."""
        slot, fewest = -1, len(self.bonds_from_beta)
        if len(anchor.slots) > 0 and not anchor.has(chemistry.SLOT_CB):
            bonds: list[int] = self.bonds_from_beta[kind].tolist()
            for other in anchor.slots:
                if 0 < bonds[other] < fewest:
                    slot, fewest = other, bonds[other]
        if slot < 0:
            return torch.zeros_like(c_alpha[:, :, 0])
        shape = torch.broadcast_tensors(n, c_alpha, c)[0].shape
        backbone = torch.stack([n.expand(shape), c_alpha.expand(shape), c.expand(shape), c.expand(shape)], -2)
        apart = self.c_beta(backbone, kind) - anchor.at(slot)[:, None]
        distance = torch.linalg.vector_norm(apart, dim=-1)
        return (distance - self.reach_nm - fewest * self.reach_per_bond_nm).clamp_min(0)

    def _least_overlap(
        self, trial: Tensor, atoms: Tensor, residue: int, chain: Chain, excess: Tensor
    ) -> Tensor:
        """Index (frames,) of the trial (frames, trials, atoms, 3) that overlaps least with other residues.

        A trial from which given side-chain atoms are out of reach comes last.
        """
        other = torch.ones(chain.residues, dtype=torch.bool, device=atoms.device)
        other[max(residue - 1, 0) : residue + 2] = False
        score = torch.zeros_like(trial[:, :, 0, 0]) + self.excess_weight * excess
        if bool(other.any()):
            distance = torch.cdist(trial.flatten(1, 2), atoms[:, other].flatten(1, 2))
            overlap = (self.overlap_distance_nm - distance).clamp_min(0).square().sum(-1)
            score = score + overlap.view(trial.shape[:3]).sum(-1)
        return score.argmin(dim=1)


def _bonds_from_beta() -> Tensor:
    """(20, 15) int64: bonds between CB and each side-chain slot behind it; zero elsewhere."""
    table = torch.zeros(len(RESIDUE_NAMES), ATOM_SLOTS, dtype=torch.int64)
    for kind, name in enumerate(RESIDUE_NAMES):
        depths = {"CB": 0}
        for placement in PLACEMENTS[name]:
            depths[placement.atom] = depths[placement.parents[2]] + 1
            table[kind, HEAVY_ATOMS[name].index(placement.atom)] = depths[placement.atom]
    return table


class _Anchor:
    """What is given of one residue: its ``slots``, and all its ``atoms`` (frames, 15, 3)."""

    def __init__(self, residue: int, given: Given | None) -> None:
        self.slots: list[int] = []
        self.atoms = torch.zeros(0)
        if given is not None:
            slots: list[int] = torch.nonzero(given.present[residue]).squeeze(-1).tolist()
            self.slots = slots
            self.atoms = given.atoms[:, residue]

    def has(self, slot: int) -> bool:
        """Whether an atom is given."""
        return slot in self.slots

    def at(self, slot: int) -> Tensor:
        """Position (frames, 3) of a given atom."""
        return self.atoms[:, slot]


def _settled(backbone: Backbone, given: Given, chain: Chain) -> Backbone:
    """Move what peptides with a given atom lack to where bonds and angles fit: N and C, then the oxygens."""
    touched = _touched(chain, given.present)
    missing, moving = ~given.present, torch.zeros_like(given.present)
    starts = ~shift(chain.linked, -1, False)
    held = given.present[:, SLOT_CB] | _proline_ring(chain, given.present)
    moving[:, SLOT_C] = touched & missing[:, SLOT_C]
    behind = shift(touched & chain.linked, -1, False)
    moving[:, SLOT_N] = torch.where(starts, held, behind) & missing[:, SLOT_N]
    standing = given.present.clone()
    standing[:, : SLOT_C + 1] = True
    everything = given.atoms.clone()
    everything[:, :, :SLOT_CB] = backbone.atoms
    settled = settle(everything, find_springs(moving, standing, chain))[:, :, :SLOT_CB]
    o, oxt = _place_oxygens(Backbone(settled, backbone.terminal_oxygen), backbone.atoms, given, chain)
    o = torch.where((touched & missing[:, SLOT_O])[:, None], o, settled[:, :, SLOT_O])
    ends = touched & ~chain.linked & missing[:, SLOT_OXT]
    return Backbone(
        torch.cat([settled[:, :, :SLOT_O], o.unsqueeze(2)], dim=2),
        torch.where(ends[:, None], oxt, backbone.terminal_oxygen),
    )


def _place_oxygens(backbone: Backbone, before: Tensor, given: Given, chain: Chain) -> tuple[Tensor, Tensor]:
    """O in the plane of CA, C and the next N; at ends O and OXT opposite each other, or turned as before."""
    ideal, terminal = ideal_geometry()["peptide"]["trans"], ideal_geometry()["terminal"]
    n, c_alpha, c, o = backbone.atoms.unbind(dim=2)
    o_length, o_angle = c.new_tensor([ideal["C-O"], ideal["angle CA-C-O"]])
    oxt_length, oxt_angle = c.new_tensor([terminal["C-OXT"], terminal["angle CA-C-OXT"]])
    following = shift(n, 1, 0.0, dim=1)
    to_alpha, to_next = normalise(c_alpha - c), normalise(following - c)
    bend = torch.acos((to_alpha * to_next).sum(dim=-1).clamp(-1, 1))
    share = ideal["angle CA-C-O"] / (2 * math.pi - ideal["angle CA-C-N"])
    opposite = torch.full_like(bend, math.pi)
    in_plane = place_atom(following, c_alpha, c, o_length, share * (2 * math.pi - bend), opposite)
    has_o, has_oxt = given.present[:, SLOT_O], given.present[:, SLOT_OXT]
    turn = torch.where(has_o, torsion_angle(n, c_alpha, c, o), torsion_angle(*before.unbind(dim=2)))
    by_oxt = torsion_angle(n, c_alpha, c, backbone.terminal_oxygen) - math.pi
    turn = torch.where(has_oxt & ~has_o, by_oxt, turn)
    at_end = place_atom(n, c_alpha, c, o_length, o_angle, turn)
    oxt = place_atom(n, c_alpha, c, oxt_length, oxt_angle, turn + math.pi)
    return torch.where(chain.linked[:, None], in_plane, at_end), oxt


def _proline_ring(chain: Chain, present: Tensor) -> Tensor:
    """(residues,) bool: prolines of which CD, which is bonded to N, is given."""
    return (chain.types == RESIDUE_INDEX["PRO"]) & present[:, SLOT_PROLINE_CD]


def _touched(chain: Chain, present: Tensor) -> Tensor:
    """(residues,) bool: something is given of the plane of a residue's C and O.

    That is these, N of the next residue or CD of a proline, at ends OXT or CB.
    """
    n, c, o, beta, oxt = (present[:, slot] for slot in (SLOT_N, SLOT_C, SLOT_O, SLOT_CB, SLOT_OXT))
    following = shift(n | _proline_ring(chain, present), 1, False)
    return c | o | torch.where(chain.linked, following, oxt | beta)


def chain_ends(chain: Chain) -> tuple[Tensor, Tensor]:
    """Residues at which a segment starts, and residues at which one ends."""
    starts = torch.nonzero(~shift(chain.linked, -1, 0.0)).squeeze(-1)
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
