"""The whole backbone from peptide angles: N, CA, C, O of every residue, including chain ends."""

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

import backmap.ops  # noqa: F401  # registers the operators
from backmap import chemistry
from backmap.chemistry import (
    ATOM_SLOTS,
    HEAVY_ATOMS,
    RESIDUE_INDEX,
    RESIDUE_NAMES,
    SLOT_C,
)
from backmap.chemistry.ideal_geometry import PLACEMENTS, SLOT_PROLINE_CD, ideal_geometry
from backmap.models.beads.candidates import misfit_of_ends
from backmap.models.beads.evidence import BeadEvidence
from backmap.models.chain import Chain
from backmap.models.protein.geometry import (
    angle_in_class,
    mean_backbone_angle,
    normalise,
    place_atom,
    torsion_angle,
)
from backmap.models.protein.given_atoms import Given, keep_given
from backmap.models.protein.peptide_planes import PeptideFrames, place_peptides
from backmap.models.protein.settling import SpringFinder, settle
from backmap.models.protein.side_chains import CBetaGeometry

END_CANDIDATES = 12
"""Trial torsions at each end; the one with the least backbone overlap is kept."""

END_UNIFORMS = 3
"""Random numbers per trial at each end residue."""


class Backbone(NamedTuple):
    """N, CA, C, O ``atoms`` (frames, residues, 4, 3) and ``terminal_oxygen`` (frames, residues, 3) in nm.

    The terminal oxygen exists for residues without a bonded successor and is zero elsewhere.
    """

    atoms: Tensor
    terminal_oxygen: Tensor


class EndMemory(NamedTuple):
    """Which trial every end of the chains took last, for frames that follow each other.

    Attributes
    ----------
    chosen : Tensor, (samples, ends) int64
        One column per residue of :func:`chain_ends`. Building frames updates it.
    loyalty : float
        Squared overlap in nm^2 up to which the same trial is taken again.
    """

    chosen: Tensor
    loyalty: float


class BackboneBuilder(nn.Module):
    """Builds backbones. Contains ideal geometry as buffers and has no parameters."""

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
    """Maximum distance of a side-chain atom from CB: a constant, plus this per bond between them."""
    excess_weight: Final = 1e3
    overlap_kt_per_nm2: Final = 3000.0
    """Cost of overlaps, with which the misfit of beads is compared."""
    oxygen_ahead: Final = 0.41
    """How far beyond C, per length of CA-C, the oxygen lies on average if nothing is known of its torsion."""
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
        # The share of the angle around C, less CA-C-N, that lies between CA and O.
        self.oxygen_share = peptide["angle CA-C-O"] / (2 * math.pi - peptide["angle CA-C-N"])
        self.c_beta = CBetaGeometry()
        self.springs = SpringFinder()

    def forward(
        self,
        c_alpha: Tensor,
        frames: PeptideFrames,
        angle: Tensor,
        twist: Tensor,
        chain: Chain,
        end_uniforms: Tensor,
        given: Given | None = None,
        box: Tensor | None = None,
        beads: BeadEvidence | None = None,
        memory: EndMemory | None = None,
    ) -> Backbone:
        """Build backbones.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3)
            In nm; returned unchanged in the CA slot.
        frames : PeptideFrames
            Frames of the peptide axes.
        angle : Tensor, (frames, residues)
            Peptide angles in radians; ignored where a residue has no bonded successor.
        twist : Tensor, (frames, residues)
            Rotation of N out of its peptide's plane in radians; ignored likewise.
        chain : Chain
            The sequence.
        end_uniforms : Tensor, (frames, ends, END_CANDIDATES, END_UNIFORMS)
            Random numbers in [0, 1), one row per residue of :func:`chain_ends`.
        given : Given, optional
            Atoms to keep, from :func:`usable`. The missing atoms of their peptides are moved to fit bonds and
            angles to them.
        box : Tensor, (frames, 3, 3), optional
            Periodic boxes.
        beads : BeadEvidence, optional
            Beads of the same frames, which help to choose the ends. Not supported in TorchScript.
        memory : EndMemory, optional
            Trials that ends took before the first frame; frames are those of samples, one after another in
            time. Without it, every frame chooses on its own. Not supported in TorchScript.
        """
        peptides = place_peptides(c_alpha, frames, angle, twist)
        nitrogen = chain.shift(peptides[:, :, 2], -1, 0.0, dim=1)
        atoms = torch.stack([nitrogen, c_alpha, peptides[:, :, 0], peptides[:, :, 1]], dim=2)
        if given is not None:
            atoms = keep_given(given, atoms, 0, chemistry.SLOT_CB)
        starts, ends = chain_ends(chain)
        count = len(starts)
        self._place_starts(atoms, starts, chain, end_uniforms[:, :count], given, box, beads, memory)
        oxt = torch.zeros_like(c_alpha)
        oxt[:, ends] = self._place_ends(
            atoms, ends, chain, end_uniforms[:, count:], given, box, beads, memory
        )
        backbone = Backbone(atoms, oxt)
        return backbone if given is None else self._settled(backbone, given, chain)

    def _settled(self, backbone: Backbone, given: Given, chain: Chain) -> Backbone:
        """Move missing atoms of peptides with a given atom to fit bonds and angles: N and C, then oxygens."""
        touched = _touched(chain, given.present)
        missing, moving = ~given.present, torch.zeros_like(given.present)
        starts = ~chain.has_neighbour(-1)
        held = given.present[:, chemistry.SLOT_CB] | _proline_ring(chain, given.present)
        moving[:, chemistry.SLOT_C] = touched & missing[:, chemistry.SLOT_C]
        behind = chain.shift(touched, -1, 0.0, 0) & chain.has_neighbour(-1)
        moving[:, chemistry.SLOT_N] = torch.where(starts, held, behind) & missing[:, chemistry.SLOT_N]
        standing = given.present.clone()
        standing[:, : chemistry.SLOT_C + 1] = True
        everything = given.atoms.clone()
        everything[:, :, : chemistry.SLOT_CB] = backbone.atoms
        settled = settle(everything, self.springs(moving, standing, chain))[:, :, : chemistry.SLOT_CB]
        o, oxt = self._place_oxygens(
            Backbone(settled, backbone.terminal_oxygen), backbone.atoms, given, chain
        )
        o = _where(touched & missing[:, chemistry.SLOT_O], o, settled[:, :, chemistry.SLOT_O])
        ends = touched & ~chain.linked & missing[:, chemistry.SLOT_OXT]
        return Backbone(
            torch.cat([settled[:, :, : chemistry.SLOT_O], o.unsqueeze(2)], dim=2),
            torch.where(ends[:, None], oxt, backbone.terminal_oxygen),
        )

    def _place_oxygens(
        self, backbone: Backbone, before: Tensor, given: Given, chain: Chain
    ) -> tuple[Tensor, Tensor]:
        """Place O in the plane of CA, C, next N; at ends, O and OXT opposite each other, or as before."""
        n, c_alpha, c, o = backbone.atoms.unbind(dim=2)
        old_n, old_c_alpha, old_c, old_o = before.unbind(dim=2)
        following = chain.shift(n, 1, 0.0, dim=1)
        to_alpha, to_next = normalise(c_alpha - c), normalise(following - c)
        bend = torch.acos((to_alpha * to_next).sum(dim=-1).clamp(-1, 1))
        opposite = torch.full_like(bend, math.pi)
        beside = self.oxygen_share * (2 * math.pi - bend)
        in_plane = place_atom(following, c_alpha, c, self.o_length, beside, opposite)
        has_o, has_oxt = given.present[:, chemistry.SLOT_O], given.present[:, chemistry.SLOT_OXT]
        as_before = torsion_angle(old_n, old_c_alpha, old_c, old_o)
        turn = torch.where(has_o, torsion_angle(n, c_alpha, c, o), as_before)
        by_oxt = torsion_angle(n, c_alpha, c, backbone.terminal_oxygen) - math.pi
        turn = torch.where(has_oxt & ~has_o, by_oxt, turn)
        at_end = place_atom(n, c_alpha, c, self.o_length, self.o_angle, turn)
        oxt = place_atom(n, c_alpha, c, self.oxt_length, self.oxt_angle, turn + math.pi)
        return torch.where(chain.linked[:, None], in_plane, at_end), oxt

    @torch.jit.unused
    def end_distributions(self, chain: Chain) -> Tensor:
        """Return the probabilities (ends, bins) of psi of first residues and of phi of last ones."""
        starts, ends = chain_ends(chain)
        cumulative = torch.cat(
            [self.psi_of_starts.expand(len(starts), -1), self.phi_of_ends[chain.types[ends]]]
        )
        return torch.diff(cumulative, prepend=torch.zeros_like(cumulative[:, :1]))

    def _place_starts(
        self,
        atoms: Tensor,
        starts: Tensor,
        chain: Chain,
        uniforms: Tensor,
        given: Given | None,
        box: Tensor | None,
        beads: BeadEvidence | None,
        memory: EndMemory | None,
    ) -> None:
        """Write N of the first residues of segments, and C of residues without neighbours."""
        anchors = _Anchors(starts, given, atoms)
        linked = chain.linked[starts]
        c_alpha = atoms[:, starts, None, chemistry.SLOT_CA]
        following = atoms[:, (starts + 1).clamp_max(chain.n_residues - 1), None, chemistry.SLOT_N]
        lone_c, beside = self._lone(c_alpha, uniforms if beads is not None else uniforms[:, :, :1], anchors)
        if beads is not None:
            given_n, has_n = anchors.at(chemistry.SLOT_N), anchors.has(chemistry.SLOT_N)
            best = self._likeliest(lone_c, c_alpha, given_n, starts, chain, beads) * has_n[:, :, None]
            lone_c, beside = lone_c.gather(2, best), beside.gather(2, best)
        c = _where(linked[:, None], atoms[:, starts, None, chemistry.SLOT_C], lone_c)
        atoms[:, starts, chemistry.SLOT_C] = c.squeeze(2)
        reference = _where(linked[:, None], following, beside)
        psi = _inverse_cumulative(self.psi_of_starts, uniforms[..., 0], uniforms[..., 1])
        trials = place_atom(reference, c, c_alpha, self.n_length, self.mean_angle, psi)
        turn = torch.full_like(psi, -self.branch_turn)
        beta = anchors.at(chemistry.SLOT_CB)
        by_beta = place_atom(beta, c, c_alpha, self.n_length, self.mean_angle, turn)
        trials = _where(anchors.has(chemistry.SLOT_CB), by_beta, trials)
        trials = _where(anchors.has(chemistry.SLOT_N), anchors.at(chemistry.SLOT_N), trials)
        penalty = self._excess_reach(trials, c_alpha, c, chain.types[starts], anchors)
        if beads is not None:
            o = atoms[:, starts, None, chemistry.SLOT_O]
            o = _where(linked[:, None], o, c + self.oxygen_ahead * (c - c_alpha))
            penalty = penalty + self._misfit(trials, c_alpha, c, o, starts, chain, beads)
        target = starts[:, None] * chemistry.SLOT_CB + chemistry.SLOT_N
        n = self._least_overlap(trials.unsqueeze(3), atoms, starts, target, penalty, box, memory, 0)
        atoms[:, starts, chemistry.SLOT_N] = n.squeeze(2)

    def _lone(self, c_alpha: Tensor, uniforms: Tensor, anchors: "_Anchors") -> tuple[Tensor, Tensor]:
        """Return C of residues without neighbours, and reference points for torsions.

        C lies in random directions, (frames, starts, trials, 3), or where given atoms allow it.
        """
        direction = _random_direction(uniforms)
        n, has_beta = anchors.at(chemistry.SLOT_N), anchors.has(chemistry.SLOT_CB)
        side = _where(has_beta, anchors.at(chemistry.SLOT_CB), n + direction)
        turn = (2 * math.pi) * uniforms[..., 2]
        turn = torch.where(has_beta, torch.full_like(turn, self.branch_turn), turn)
        by_n = place_atom(side, n, c_alpha, self.c_length, self.mean_angle, turn)
        towards_o = normalise(anchors.at(chemistry.SLOT_O) - c_alpha)
        direction = _where(anchors.has(chemistry.SLOT_O), towards_o, direction)
        direction = _where(anchors.has(chemistry.SLOT_N), normalise(by_n - c_alpha), direction)
        c_given, has_c = anchors.at(chemistry.SLOT_C), anchors.has(chemistry.SLOT_C)
        direction = _where(has_c, normalise(c_given - c_alpha), direction)
        c = _where(has_c, c_given, c_alpha + self.c_length * direction)
        return c, c + _any_perpendicular(direction)

    def _place_ends(
        self,
        atoms: Tensor,
        ends: Tensor,
        chain: Chain,
        uniforms: Tensor,
        given: Given | None,
        box: Tensor | None,
        beads: BeadEvidence | None,
        memory: EndMemory | None,
    ) -> Tensor:
        """Write C and O of the last residues of segments; return their terminal oxygens (frames, ends, 3).

        C of a residue that also starts the segment is already built.
        """
        anchors = _Anchors(ends, given, atoms)
        has_o, has_oxt = anchors.has(chemistry.SLOT_O), anchors.has(chemistry.SLOT_OXT)
        oxygen = _where(has_o, anchors.at(chemistry.SLOT_O), anchors.at(chemistry.SLOT_OXT))
        n, c_alpha = atoms[:, ends, None, chemistry.SLOT_N], atoms[:, ends, None, chemistry.SLOT_CA]
        before = atoms[:, (ends - 1).clamp_min(0), None, chemistry.SLOT_C]
        phi = _inverse_cumulative(
            self.phi_of_ends[chain.types[ends]].unsqueeze(1), uniforms[..., 0], uniforms[..., 1]
        )
        phi = torch.where(has_o | has_oxt, torsion_angle(before, n, c_alpha, oxygen), phi)
        c = place_atom(before, n, c_alpha, self.c_length, self.mean_angle, phi)
        turn, beta = torch.full_like(phi, self.branch_turn), anchors.at(chemistry.SLOT_CB)
        by_beta = place_atom(beta, n, c_alpha, self.c_length, self.mean_angle, turn)
        c = _where(anchors.has(chemistry.SLOT_CB), by_beta, c)
        stands = ~chain.has_neighbour(-1)[ends, None] | anchors.has(chemistry.SLOT_C)
        c = _where(stands, atoms[:, ends, None, chemistry.SLOT_C], c)
        turn = (2 * math.pi) * uniforms[..., 2]
        measured = torsion_angle(n, c_alpha, c, oxygen)
        turn = torch.where(has_oxt, measured - math.pi, turn)
        turn = torch.where(has_o, measured, turn)
        o = place_atom(n, c_alpha, c, self.o_length, self.o_angle, turn)
        oxt = place_atom(n, c_alpha, c, self.oxt_length, self.oxt_angle, turn + math.pi)
        penalty = self._excess_reach(n, c_alpha, c, chain.types[ends], anchors)
        if beads is not None:
            penalty = penalty + self._misfit(n, c_alpha, c, o, ends, chain, beads)
        first = ends[:, None] * chemistry.SLOT_CB
        target = torch.cat(
            [
                torch.where(stands, -1, first + chemistry.SLOT_C),
                torch.where(has_o, -1, first + chemistry.SLOT_O),
                torch.full_like(first, -1),
            ],
            dim=1,
        )
        chosen = self._least_overlap(
            torch.stack([c, o, oxt], dim=3),
            atoms,
            ends,
            target,
            penalty,
            box,
            memory,
            len(ends),
        )
        atoms[:, ends, chemistry.SLOT_C] = chosen[:, :, 0]
        atoms[:, ends, chemistry.SLOT_O] = _where(has_o, oxygen, chosen[:, :, 1:2]).squeeze(2)
        return _where(has_oxt, anchors.at(chemistry.SLOT_OXT), chosen[:, :, 2:]).squeeze(2)

    def _excess_reach(
        self, n: Tensor, c_alpha: Tensor, c: Tensor, types: Tensor, anchors: "_Anchors"
    ) -> Tensor:
        """Return the penalty of given side-chain atoms that are too far from CB."""
        shape = torch.broadcast_tensors(n, c_alpha, c)[0].shape
        backbone = torch.stack([n.expand(shape), c_alpha.expand(shape), c.expand(shape), c.expand(shape)], -2)
        bonds = self.bonds_from_beta[types]
        behind = anchors.present & (bonds > 0) & ~anchors.has(chemistry.SLOT_CB)
        fewest, slot = torch.where(behind, bonds, self.bonds_from_beta.max() + 1).min(dim=1)
        index = slot[None, :, None, None].expand(shape[0], -1, 1, 3)
        apart = self.c_beta(backbone, types.unsqueeze(1)) - anchors.atoms.gather(2, index)
        allowed = self.reach_nm + fewest * self.reach_per_bond_nm
        excess = (torch.linalg.vector_norm(apart, dim=-1) - allowed.unsqueeze(1)).clamp_min(0)
        return self.excess_weight * torch.where(behind.any(dim=1, keepdim=True), excess, 0.0)

    def _likeliest(
        self,
        c: Tensor,
        c_alpha: Tensor,
        n: Tensor,
        starts: Tensor,
        chain: Chain,
        beads: BeadEvidence,
    ) -> Tensor:
        """Return which C (frames, starts, trials, 3) of residues without neighbours explain the beads best.

        The result is an index (frames, starts, 1, 3), which is arbitrary where N is unknown.
        """
        o = c + self.oxygen_ahead * (c - c_alpha)
        misfit = self._misfit(n, c_alpha, c, o, starts, chain, beads)
        return misfit.argmin(dim=2, keepdim=True)[..., None].expand(-1, -1, -1, 3)

    def _misfit(
        self,
        n: Tensor,
        c_alpha: Tensor,
        c: Tensor,
        o: Tensor,
        residues: Tensor,
        chain: Chain,
        beads: BeadEvidence,
    ) -> Tensor:
        """Return the penalty (frames, ends, trials) of atoms (frames, ends, trials or 1, 3) off beads."""
        shape = torch.broadcast_tensors(n, c_alpha, c, o)[0].shape
        backbone = torch.stack([atom.expand(shape) for atom in [n, c_alpha, c, o]], dim=3)
        types = chain.types[residues]
        c_beta = self.c_beta(backbone, types.unsqueeze(1))
        misfit = misfit_of_ends(backbone, c_beta, self.bonds_from_beta[types], residues, beads)
        return misfit / self.overlap_kt_per_nm2

    def _least_overlap(
        self,
        trials: Tensor,
        atoms: Tensor,
        residues: Tensor,
        target: Tensor,
        penalty: Tensor,
        box: Tensor | None,
        memory: EndMemory | None,
        first_end: int,
    ) -> Tensor:
        """Return the points (frames, ends, points, 3) of the trials that overlap least with other residues.

        They are chosen from trials (frames, ends, trials, points, 3), one after another. A penalty
        (frames, ends, trials) counts like squared overlaps in nm^2. ``first_end`` is the number of the first
        of these ends in the memory.
        """
        if memory is not None:
            choice = self._loyal_choice(trials, atoms, residues, target, penalty, box, memory, first_end)
        else:
            # Call the operator directly: TorchScript cannot call functions with optional keywords.
            choice = torch.ops.backmap.least_overlap(
                atoms, trials, penalty, residues, target, self.overlap_distance_nm, box
            )
        index = choice[:, :, None, None, None].expand(-1, -1, 1, trials.shape[3], 3)
        return trials.gather(2, index).squeeze(2)

    @torch.jit.unused
    def _loyal_choice(
        self,
        trials: Tensor,
        atoms: Tensor,
        residues: Tensor,
        target: Tensor,
        penalty: Tensor,
        box: Tensor | None,
        memory: EndMemory,
        first_end: int,
    ) -> Tensor:
        """Return the chosen trials (frames, ends), frame by frame; the last choice is preferred."""
        chosen = memory.chosen[:, first_end : first_end + len(residues)]
        samples = len(chosen)
        trials, atoms, penalty = (each.unflatten(0, (samples, -1)) for each in (trials, atoms, penalty))
        boxes = None if box is None else box.unflatten(0, (samples, -1))
        number = torch.arange(trials.shape[3], device=trials.device)
        choices = []
        for frame in range(trials.shape[1]):
            disloyal = memory.loyalty * (number != chosen.unsqueeze(-1)).to(penalty.dtype)
            choice = torch.ops.backmap.least_overlap(
                atoms[:, frame],
                trials[:, frame],
                penalty[:, frame] + disloyal,
                residues,
                target,
                self.overlap_distance_nm,
                None if boxes is None else boxes[:, frame],
            )
            chosen.copy_(choice)
            choices.append(choice)
        return torch.stack(choices, dim=1).flatten(0, 1)


def _bonds_from_beta() -> Tensor:
    """Return the number of bonds (20, 15) from CB to each side-chain slot after it; zero elsewhere."""
    table = torch.zeros(len(RESIDUE_NAMES), ATOM_SLOTS, dtype=torch.int64)
    for kind, name in enumerate(RESIDUE_NAMES):
        depths = {"CB": 0}
        for placement in PLACEMENTS[name]:
            depths[placement.atom] = depths[placement.parents[2]] + 1
            table[kind, HEAVY_ATOMS[name].index(placement.atom)] = depths[placement.atom]
    return table


class _Anchors:
    """Given atoms of some residues: masks (residues, 15) and positions (frames, residues, 15, 3)."""

    def __init__(self, residues: Tensor, given: Given | None, like: Tensor) -> None:
        slots = chemistry.ATOM_SLOTS
        self.present = torch.zeros(len(residues), slots, dtype=torch.bool, device=like.device)
        self.atoms = like.new_zeros([like.shape[0], len(residues), slots, 3])
        if given is not None:
            self.present = given.present[residues]
            self.atoms = given.atoms[:, residues]

    def has(self, slot: int) -> Tensor:
        """Return whether an atom is given, (residues, 1) bool."""
        return self.present[:, slot, None]

    def at(self, slot: int) -> Tensor:
        """Return the positions (frames, residues, 1, 3) of given atoms."""
        return self.atoms[:, :, slot, None]


def _proline_ring(
    chain: Chain, present: Tensor, proline: int = RESIDUE_INDEX["PRO"], delta: int = SLOT_PROLINE_CD
) -> Tensor:
    """Return the prolines (residues,) whose CD, which is bonded to N, is given."""
    return (chain.types == proline) & present[:, delta]


def _touched(chain: Chain, present: Tensor) -> Tensor:
    """Return the residues (residues,) with a given atom in the plane of C and O.

    These atoms are C, O, N of the next residue or CD of a proline; at ends, also OXT or CB.
    """
    own = present[:, chemistry.SLOT_C] | present[:, chemistry.SLOT_O]
    following = chain.shift(present[:, chemistry.SLOT_N] | _proline_ring(chain, present), 1, 0.0, 0)
    at_end = present[:, chemistry.SLOT_OXT] | present[:, chemistry.SLOT_CB]
    return own | torch.where(chain.linked, following, at_end)


def chain_ends(chain: Chain) -> tuple[Tensor, Tensor]:
    """Return the first residues and the last residues of segments."""
    starts = torch.nonzero(~chain.has_neighbour(-1)).squeeze(-1)
    return starts, torch.nonzero(~chain.linked).squeeze(-1)


def end_torsions(atoms: Tensor, chain: Chain) -> Tensor:
    """Return psi of first residues and phi of last ones, in radians.

    Parameters
    ----------
    atoms : Tensor, (frames, residues, atoms, 3)
        N, CA, C and possibly more.
    chain : Chain
        The sequence.

    Returns
    -------
    Tensor, (frames, ends)
        In the order of :func:`chain_ends`; arbitrary for residues without neighbours.
    """
    starts, ends = chain_ends(chain)
    n, c_alpha, c = (atoms[:, :, slot] for slot in range(SLOT_C + 1))
    following, before = chain.shift(n, 1, 0.0, dim=1), chain.shift(c, -1, 0.0, dim=1)
    psi = torsion_angle(*(part[:, starts] for part in (n, c_alpha, c, following)))
    phi = torsion_angle(*(part[:, ends] for part in (before, n, c_alpha, c)))
    return torch.cat([psi, phi], dim=1)


def _where(condition: Tensor, points: Tensor, others: Tensor) -> Tensor:
    """Select points (..., 3) where a condition (...) holds, and others elsewhere."""
    return torch.where(condition.unsqueeze(-1), points, others)


def _inverse_cumulative(cumulative: Tensor, class_uniform: Tensor, bin_uniform: Tensor) -> Tensor:
    classes = cumulative.shape[-1]
    chosen = (cumulative <= class_uniform.unsqueeze(-1)).sum(-1).clamp_max(classes - 1)
    return angle_in_class(chosen, bin_uniform, classes)


def _random_direction(uniforms: Tensor) -> Tensor:
    """Return directions uniform on the sphere from (..., 2+) uniform numbers."""
    height, turn = 2 * uniforms[..., 0] - 1, (2 * math.pi) * uniforms[..., 1]
    radius = (1 - height * height).clamp_min(0).sqrt()
    return torch.stack([radius * torch.cos(turn), radius * torch.sin(turn), height], dim=-1)


def _any_perpendicular(direction: Tensor) -> Tensor:
    axis = torch.zeros_like(direction)
    axis.scatter_(-1, direction.abs().argmin(dim=-1, keepdim=True), 1.0)
    return normalise(torch.linalg.cross(direction, axis, dim=-1))
