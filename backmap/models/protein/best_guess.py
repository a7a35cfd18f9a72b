"""The most probable structure instead of a draw: one answer, the same for every seed.

Peptide angles maximise their joint probability along each chain, and side chains that of their torsions and
overlaps. Densities are smoothed before they are compared, so that a broad well beats a narrow
spike, and values are the means of the wells that won.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from backmap import chemistry
from backmap.models.beads.candidates import misfit_of_candidates
from backmap.models.beads.evidence import BeadEvidence
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys, uniform
from backmap.models.protein.backbone import Backbone, BackboneBuilder, EndMemory, chain_ends
from backmap.models.protein.basins import find_basins
from backmap.models.protein.given_atoms import (
    Given,
    cut_given,
    keep_given,
    of_sites,
    standing_atoms,
)
from backmap.models.protein.model import ProteinModel, counters, sites_at_once
from backmap.models.protein.obstacles import Obstacles, of_samples
from backmap.models.protein.peptide_planes import (
    EncodedPeptides,
    PeptidePlaneNetwork,
    take_peptides,
)
from backmap.models.protein.ring_peptides import in_laps
from backmap.models.protein.side_chains import (
    SideChainNetwork,
    cut_sites,
)

PEPTIDE_SMOOTHING = math.radians(20.0)
"""Standard deviation of the kernel that smooths the density of a peptide angle before it is maximised."""

HALF_WELL = math.radians(60.0)
"""Angles up to this far from the most probable one are its well, of which the mean is taken."""

END_LOYALTY_NM2 = 0.001
"""Squared overlap of a chain end up to which its most probable torsion is kept."""

N_SIDE_CHAINS = 48
"""Side chains of each residue that are compared."""

STRAYING_TORSIONS = 2
"""The first torsions of a side chain may also lie one standard deviation off the middle of their well."""

LEAST_SPREAD, MOST_SPREAD = math.radians(4.0), math.radians(25.0)
"""Limits of that deviation."""

_NEVER = 100.0
"""Energy in kT of side chains that do not exist."""

_SHARPNESS = (1.0, 2.0, 4.0, 50.0)
"""Inverse temperatures at which side chains are packed, one after another."""

_SWEEPS = 4
"""Visits to each residue at each of them."""

_TIE_BREAK = 0.001
"""Energy in kT, so that rounding does not decide between the two sides of a well."""

_CERTAIN = 50.0
"""Inverse temperature at which the way to close a disulfide is chosen."""

LEAST_DEVIATION_NM = 0.01
"""Deviation that is expected even of atoms that are certain."""

END_DEVIATION_NM = 0.22
"""Root mean square deviation of the atoms of chain ends that depend on a free torsion."""


class Guess(NamedTuple):
    """The most probable structure of each frame.

    Attributes
    ----------
    atoms : Tensor, (frames, residues, 15, 3)
        In nm, as from :meth:`ProteinModel.draw`.
    deviation : Tensor, (frames, residues)
        Expected root mean square deviation in nm of the atoms of each residue from the truth, if the C-alphas
        are right: the spread around the guess of the distributions that it is the most probable value of.
    """

    atoms: Tensor
    deviation: Tensor


class BestGuess:
    """Builds the most probable structure of each frame.

    Parameters
    ----------
    model : ProteinModel
        Gives the distributions.
    """

    def __init__(self, model: ProteinModel) -> None:
        self.model = model

    def build(
        self,
        c_alpha: Tensor,
        chain: Chain,
        given: Given | None = None,
        box: Tensor | None = None,
        disulfides: Tensor | None = None,
        beads: BeadEvidence | None = None,
        obstacles: Obstacles | None = None,
    ) -> Guess:
        """Build structures.

        Parameters
        ----------
        c_alpha : Tensor, (frames, residues, 3) or (1, frames, residues, 3) float32
            In nm.
        chain : Chain
            The sequence.
        given, box, disulfides, beads, obstacles
            As for :meth:`ProteinModel.draw`.
        """
        c_alpha = c_alpha.reshape(-1, *c_alpha.shape[-2:])
        if given is not None:
            given = self.model.usable(given, chain)
        if obstacles is not None:
            obstacles = of_samples(obstacles, 1)
        # The remaining choices are the same in all frames, so that frames that are alike are built alike.
        keys = stream_keys(0, 1, torch.zeros(len(c_alpha), dtype=torch.int64, device=c_alpha.device))
        backbone, main_squares = self._build_backbone(c_alpha, chain, given, box, beads)
        candidates, energies = self._side_chains(backbone, chain, given, box)
        if beads is not None:
            energies = energies + misfit_of_candidates(candidates, backbone.atoms, beads)
        if given is not None:
            candidates = self.model.given_side_chains.settle(candidates, backbone.atoms, chain, given)
        candidates, _ = self.model.disulfides(
            candidates,
            backbone.atoms,
            chain,
            keys.flatten(),
            self.model.disulfide_stream,
            given,
            disulfides,
            sharpness=_CERTAIN,
        )
        shape = [len(_SHARPNESS), _SWEEPS, chain.n_residues]
        uniforms = uniform(keys, self.model.packing_stream, counters(shape, keys)).squeeze(0)
        side_chains = self.model.packer.minimise(
            candidates, energies, backbone, chain, uniforms, _SHARPNESS, box, obstacles
        )
        atoms = torch.cat([backbone.atoms, side_chains, backbone.terminal_oxygen.unsqueeze(2)], dim=2)
        share = torch.softmax(-energies, dim=2)[..., None]
        apart = (candidates - side_chains.unsqueeze(2)).square().sum(dim=-1)
        squares = torch.cat([main_squares, (share * apart).sum(dim=2)], dim=2)
        if given is not None:
            atoms = keep_given(given, atoms, 0, atoms.shape[2])
            squares = squares * ~given.present[:, : squares.shape[2]]
        present = standing_atoms(self.model.given_side_chains.atom_mask, chain)
        return Guess(atoms, _deviation_of_residues(squares, present))

    def _build_backbone(
        self,
        c_alpha: Tensor,
        chain: Chain,
        given: Given | None,
        box: Tensor | None,
        beads: BeadEvidence | None,
    ) -> tuple[Backbone, Tensor]:
        """Return backbones, and expected squared deviations (frames, residues, 4) of N, CA, C, O in nm^2."""
        planes = self.model.peptide_planes
        encoded, frames = planes.encode_all(c_alpha, chain, sites_at_once(c_alpha), box)
        if given is not None:
            encoded = self.model.weigh_evidence(encoded, frames, c_alpha, chain, given)
        angles, alignment = _angles_of_chain(planes, encoded, chain)
        twists = planes.mean_twists(frames, angles, chain)
        ends = most_probable_ends(self.model.backbone, chain).expand(len(c_alpha), -1, -1, -1)
        # Every frame begins with the first trials, which are the most probable.
        first = torch.zeros(ends.shape[:2], dtype=torch.int64, device=c_alpha.device)
        memory = EndMemory(first, END_LOYALTY_NM2)
        backbone = self.model.backbone(
            c_alpha, frames, angles, twists, chain, ends, given, box, beads, memory
        )
        # A point at the distance r from an axis moves by 2 r sin(turn / 2).
        turned = 2 * frames.plane[..., 1].square() * (1 - alignment).unsqueeze(-1)
        turned = torch.where(chain.linked[:, None], turned, END_DEVIATION_NM**2)
        c, o, n = turned.unbind(dim=-1)
        n = torch.where(chain.has_neighbour(-1), chain.shift(n, -1, 0.0, dim=1), END_DEVIATION_NM**2)
        return backbone, torch.stack([n, torch.zeros_like(c), c, o], dim=2)

    def _side_chains(
        self, backbone: Backbone, chain: Chain, given: Given | None, box: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return side chains (frames, residues, candidates, 10, 3) and their energies (..., candidates)."""
        network = self.model.side_chains
        c_beta = self.model.c_beta(backbone.atoms, chain.types)
        if given is not None:
            slot = chemistry.SLOT_CB
            c_beta = keep_given(given, c_beta.unsqueeze(2), slot, slot + 1).squeeze(2)
        sites = network.describe(backbone.atoms, c_beta, chain, box)
        types = chain.types.repeat(len(backbone.atoms))
        atoms, beta = backbone.atoms.flatten(0, 1), c_beta.flatten(0, 1)
        every = None if given is None else of_sites(given)
        known = None
        if every is not None:
            known = self.model.given_side_chains.measure_torsions(atoms, beta, types, every)
        built, costs = [], []
        size = sites_at_once(atoms)
        for first in range(0, len(types), size):
            here = slice(first, first + size)
            hidden = network.encode(cut_sites(sites, first, first + size))
            fixed = None if known is None else known[here]
            likely = most_probable_torsions(network, hidden, types[here], N_SIDE_CHAINS, fixed)
            kept = None if every is None else cut_given(every, first, first + size)
            built.append(self.model.geometry(atoms[here], beta[here], types[here], likely.torsions, kept))
            costs.append(likely.energies)
        shape = c_beta.shape[:2]
        return torch.cat(built).unflatten(0, shape), torch.cat(costs).unflatten(0, shape)


def _deviation_of_residues(squares: Tensor, present: Tensor) -> Tensor:
    """Return root mean squares (frames, residues) of expected squared deviations (frames, residues, 14).

    Atoms (residues, 15) bool are those that exist.
    """
    present = present[:, : squares.shape[2]]
    mean = (squares * present).sum(dim=2) / present.sum(dim=1)
    return (LEAST_DEVIATION_NM**2 + mean).sqrt()


# ---- Peptide angles ----------------------------------------------------------------------------


def _angles_of_chain(
    network: PeptidePlaneNetwork, encoded: EncodedPeptides, chain: Chain
) -> tuple[Tensor, Tensor]:
    """Find the angles of all segments and rings, as :func:`most_probable_angles` does for segments."""
    if not bool(chain.in_ring.any()):
        return most_probable_angles(network, encoded, chain.segments())
    laps = in_laps(chain)
    found = most_probable_angles(network, take_peptides(encoded, laps.rows), laps.segments)
    return found[0][:, laps.places], found[1][:, laps.places]


def most_probable_angles(
    network: PeptidePlaneNetwork, encoded: EncodedPeptides, segments: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the angles that are most probable together along each segment.

    The classes maximise the product of smoothed densities (Viterbi). Each angle is then the circular mean of
    its distribution given that all angles of the segment lie in the wells around these classes.

    Arguments are as for :meth:`PeptidePlaneNetwork.draw_angles`.

    Returns
    -------
    Tensor, (frames, residues)
        Angles in radians.
    Tensor, (frames, residues)
        Mean cosine of the difference between these angles and their distributions; 1 if they are certain.
    """
    chains = _AngleChains(network, encoded, segments)
    classes, cosine, sine = chains.most_probable_classes()
    angles = chains.means(classes)
    alignment = cosine * torch.cos(angles) + sine * torch.sin(angles)
    free = encoded.known.isnan()
    return torch.where(free, angles, encoded.known), torch.where(free, alignment, 1.0)


class _AngleChains:
    """The distribution of angles along all segments; each step processes those that have not ended."""

    def __init__(self, network: PeptidePlaneNetwork, encoded: EncodedPeptides, segments: Tensor) -> None:
        self._network, self._encoded = network, encoded
        lengths = (segments >= 0).sum(dim=1).tolist()
        self._rows = [
            segments[: sum(length > step for length in lengths), step] for step in range(segments.shape[1])
        ]
        self._middles = torch.atan2(network.class_waves[2], network.class_waves[1])

    def most_probable_classes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Find the classes (frames, residues) whose joint smoothed probability is largest.

        Also returns the mean cosine and sine of each angle on its own, (frames, residues).
        """
        n_frames, classes = len(self._encoded.context), self._network.classes
        kernel = _smoothing(classes).to(self._middles)
        every = self._middles.expand(n_frames, len(self._rows[0]), -1)
        score, share = torch.zeros_like(every), torch.full_like(every, 1 / classes)
        waves = torch.zeros(*self._encoded.context.shape[:2], 2, device=every.device)
        scores, pointers = [], []
        for step, rows in enumerate(self._rows):
            before = every[:, : len(rows)]
            transitions = self._transitions(step, before).exp()
            share = torch.einsum("fra,frab->frb", share[:, : len(rows)], transitions)
            waves[:, rows] = torch.matmul(share, self._network.class_waves[1:].T)
            smooth = torch.matmul(transitions, kernel).clamp_min(1e-12).log()
            total = score[:, : len(rows), :, None] + smooth
            score, pointer = total.max(dim=2)
            scores.append(score)
            pointers.append(pointer.to(torch.int16))
        chosen = torch.zeros(self._encoded.context.shape[:2], dtype=torch.int64, device=every.device)
        for step in range(len(self._rows) - 1, -1, -1):
            best = scores[step].argmax(dim=-1)
            if step + 1 < len(self._rows):
                following = chosen[:, self._rows[step + 1]].unsqueeze(2)
                back = pointers[step + 1].gather(2, following).squeeze(2).long()
                best = torch.cat([back, best[:, back.shape[1] :]], dim=1)
            chosen[:, self._rows[step]] = best
        return chosen, waves[..., 0], waves[..., 1]

    def means(self, chosen: Tensor) -> Tensor:
        """Return circular means (frames, residues) of the angles, all of them restricted to their wells.

        ``chosen`` are the classes (frames, residues) around which wells lie.
        """
        classes = self._network.classes
        reach = int(HALF_WELL / (2 * math.pi) * classes)
        near = torch.arange(-reach, reach + 1, device=chosen.device)
        wells = torch.remainder(chosen.unsqueeze(-1) + near, classes)
        share = torch.ones_like(wells[:, self._rows[0]], dtype=self._middles.dtype)
        before, forward, steps = torch.zeros_like(share), [], []
        for step, rows in enumerate(self._rows):
            own = wells[:, rows]
            transitions = self._transitions(step, before[:, : len(rows)])
            inside = transitions.gather(3, own.unsqueeze(2).expand(-1, -1, own.shape[2], -1))
            inside = (inside - inside.flatten(2).amax(dim=2)[..., None, None]).exp()
            share = _normalised(torch.einsum("fra,frab->frb", share[:, : len(rows)], inside))
            forward.append(share)
            steps.append(inside)
            before = self._middles[own]
        angles = torch.zeros(chosen.shape, dtype=self._middles.dtype, device=chosen.device)
        ahead = share[:, :0]
        for step in range(len(self._rows) - 1, -1, -1):
            share, rows = forward[step], self._rows[step]
            later = torch.ones_like(share)
            if ahead.shape[1]:
                later[:, : ahead.shape[1]] = _normalised(
                    torch.einsum("frab,frb->fra", steps[step + 1], ahead)
                )
            turn = self._middles[wells[:, rows]]
            weight = share * later
            angles[:, rows] = torch.atan2(
                (weight * torch.sin(turn)).sum(dim=-1), (weight * torch.cos(turn)).sum(dim=-1)
            )
            ahead = later
        return angles

    def _transitions(self, step: int, before: Tensor) -> Tensor:
        """Return log-probabilities (frames, segments, previous, classes) of the angles of a step.

        ``before`` are previous angles (frames, segments, previous) in radians.
        """
        rows = self._rows[step]
        if step > 0:
            known = self._encoded.known[:, self._rows[step - 1][: len(rows)], None]
            before = torch.where(known.isnan(), before, known)
        return self._network.log_transitions(take_peptides(self._encoded, rows), before)


@functools.cache
def _smoothing(classes: int) -> Tensor:
    """Return a circulant matrix (classes, classes) with rows of a wrapped normal distribution."""
    places = torch.arange(classes)
    apart = torch.remainder(places[:, None] - places + classes / 2, classes) - classes / 2
    kernel = torch.exp(-0.5 * (apart / classes * (2 * math.pi) / PEPTIDE_SMOOTHING).square())
    return kernel / kernel.sum(dim=1, keepdim=True)


def _normalised(weights: Tensor) -> Tensor:
    """Scale weights (..., n) to a sum of 1."""
    return weights / weights.sum(dim=-1, keepdim=True).clamp_min(1e-30)


def most_probable_ends(builder: BackboneBuilder, chain: Chain) -> Tensor:
    """Return numbers (ends, trials, 3) in [0, 1) that turn chain ends to their most probable torsion first.

    The other trials are evenly spaced quantiles. Torsions that are equally probable everywhere, and the
    directions of residues without neighbours, are spread evenly.
    """
    starts, ends = chain_ends(chain)
    cumulative = torch.cat(
        [builder.psi_of_starts.expand(len(starts), -1), builder.phi_of_ends[chain.types[ends]]]
    )
    share = torch.diff(cumulative, prepend=torch.zeros_like(cumulative[:, :1]))
    mode = share.argmax(dim=1, keepdim=True)
    first = (cumulative - 0.5 * share).gather(1, mode)
    trial = torch.arange(builder.candidates, device=cumulative.device)
    golden = 0.5 * (math.sqrt(5.0) - 1)
    spread = torch.remainder((trial + 0.5) * golden, 1.0)
    numbers = torch.stack([(trial + 0.5) / len(trial), torch.full_like(spread, 0.5), spread], dim=1)
    numbers = numbers.expand(len(first), -1, -1).clone()
    numbers[:, 0, 0] = first.squeeze(1)
    return numbers


# ---- Side chains -------------------------------------------------------------------------------


class LikelyTorsions(NamedTuple):
    """Side-chain torsions of n residues.

    Attributes
    ----------
    torsions : Tensor, (n, number, 4)
        In radians, the most probable first; zero where a residue does not have the torsion.
    energies : Tensor, (n, number)
        Negative logarithm of the probability of their wells, and what it costs to leave the middle of a well.
        Residues with fewer side chains repeat their first.
    """

    torsions: Tensor
    energies: Tensor


def most_probable_torsions(
    network: SideChainNetwork, hidden: Tensor, types: Tensor, number: int, known: Tensor | None = None
) -> LikelyTorsions:
    """Return the most probable combinations of wells of all torsions of each residue.

    Torsions are circular means of their wells; the first ones also lie one standard deviation off. Of the
    combinations of one torsion more, the best ``number`` are kept each time.

    Parameters
    ----------
    network : SideChainNetwork
        Trained network.
    hidden : Tensor, (n, trunk_width)
        From :meth:`SideChainNetwork.encode`.
    types : Tensor, (n,) int64
        Residue types.
    number : int
        Combinations to return.
    known : Tensor, (n, 4), optional
        Known torsions in radians; NaN for the others.
    """
    torsions = hidden.new_zeros(len(types), 1, network.max_chi)
    energies = hidden.new_zeros(len(types), 1)
    for chi in range(network.max_chi):
        values, costs = _wells(
            network.probabilities(network.context(chi, hidden), types, chi, torsions[:, :, :chi]),
            network.repeats[types, chi],
            chi,
        )
        fixed = torch.zeros_like(values[:, 0, 0])
        single = ~network.has_chi[types, chi]
        if known is not None:
            measured = known[:, chi]
            fixed = torch.where(single | measured.isnan(), fixed, measured)
            single = single | ~measured.isnan()
        only = torch.full_like(costs[0, 0], _NEVER)
        only[0] = 0.0
        values = torch.where(single[:, None, None], fixed[:, None, None], values)
        costs = torch.where(single[:, None, None], only, costs)
        total = (energies.unsqueeze(2) + costs).flatten(1)
        energies, index = total.topk(min(number, total.shape[1]), dim=1, largest=False)
        parent = torch.div(index, costs.shape[2], rounding_mode="floor")
        torsions = torsions.gather(1, parent.unsqueeze(2).expand(-1, -1, network.max_chi)).clone()
        whole = values.expand(-1, total.shape[1] // values.shape[2], -1).flatten(1)
        torsions[:, :, chi] = whole.gather(1, index)
    missing = energies >= _NEVER
    torsions = torch.where(missing.unsqueeze(2), torsions[:, :1], torsions)
    return LikelyTorsions(torsions, torch.where(missing, _NEVER, energies))


def _wells(probabilities: Tensor, repeats: Tensor, chi: int) -> tuple[Tensor, Tensor]:
    """Return the values in radians of the wells of distributions (n, k, bins), and their energies.

    Both have the shape (n, k, options); options that do not exist have a high energy. Of the two equal halves
    of a torsion that repeats after half a turn, one is used.
    """
    bins = probabilities.shape[-1]
    middles = ((torch.arange(bins, device=probabilities.device) + 0.5) / bins - 0.5) * (2 * math.pi)
    wells = find_basins(probabilities)

    def sums(values: Tensor) -> Tensor:
        return torch.zeros_like(probabilities).scatter_add(-1, wells, probabilities * values)

    mass = sums(torch.ones_like(middles))
    mean = torch.atan2(sums(torch.sin(middles)), sums(torch.cos(middles)))
    off = torch.remainder(middles - mean.gather(-1, wells) + math.pi, 2 * math.pi) - math.pi
    spread = (sums(off.square()) / mass.clamp_min(1e-12)).sqrt().clamp(LEAST_SPREAD, MOST_SPREAD)
    half = torch.arange(bins, device=mass.device) < bins // 2
    mass = torch.where(repeats[:, None, None], 2 * mass * half, mass)
    energy = torch.where(mass > 1e-6, -mass.clamp_min(1e-6).log(), _NEVER)
    if chi >= STRAYING_TORSIONS:
        return mean, energy
    # The tie breaks of all torsions are different powers of two, so that no two sums of them are equal.
    below, above = (0.5 + _TIE_BREAK * 2 ** (2 * chi + side) for side in (0, 1))
    return (
        torch.cat([mean, mean - spread, mean + spread], dim=-1),
        torch.cat([energy, energy + below, energy + above], dim=-1),
    )
