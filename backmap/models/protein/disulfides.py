"""Disulfides: selection of bonded cysteines, and separation of the sulfurs of all others."""

from typing import Final

import torch
from torch import Tensor, nn

from backmap import chemistry
from backmap.chemistry import HEAVY_ATOMS, RESIDUE_INDEX
from backmap.chemistry.topology import MAX_DISULFIDE_CA_DISTANCE_NM, MAX_DISULFIDE_DISTANCE_NM
from backmap.models.chain import Chain
from backmap.models.counter_random import uniform
from backmap.models.protein.disulfide_closure import (
    DisulfideClosure,
    displacement,
    distance,
    disulfide_statistics,
)
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.peptide_planes import draw_class

NEAR_RESIDUES = 8
"""Maximum sequence separation of pairs in one chain that count as near in sequence."""

MOST_STRAIN = 12.0
"""Half the sum of squares of deviations, in standard deviations, up to which a bond can close."""

FLOOR = 0.02
"""Density of sulfurs away from all drawn ones, relative to the peak around one."""


def pair_features(c_alpha: Tensor, c_beta: Tensor, near: Tensor) -> Tensor:
    """Return features of pairs of cysteines that determine the odds of a bond.

    Parameters
    ----------
    c_alpha, c_beta : Tensor, (..., 2, 3)
        Positions in both residues in nm.
    near : Tensor, (...)
        1 for pairs near in sequence, else 0.

    Returns
    -------
    Tensor, (..., 10)
        1; powers of the distances of the C-betas and of the C-alphas relative to typical values; sum, product
        and sum of squares of the cosines between each CA-CB and the line to the other CA; ``near``.
    """
    axis = displacement(c_alpha[..., 0, :], c_alpha[..., 1, :])
    alpha = torch.linalg.vector_norm(axis, dim=-1).clamp_min(1e-6)
    toward = c_beta - c_alpha
    toward = toward / torch.linalg.vector_norm(toward, dim=-1, keepdim=True).clamp_min(1e-6)
    first = (toward[..., 0, :] * axis).sum(dim=-1) / alpha
    second = -(toward[..., 1, :] * axis).sum(dim=-1) / alpha
    x = (distance(c_beta[..., 0, :], c_beta[..., 1, :]) - 0.38) / 0.05
    y = (alpha - 0.55) / 0.1
    squares = first * first + second * second
    one, near = torch.ones_like(x), near.to(x.dtype).expand_as(x)
    powers = [one, x, x * x, x * x * x, y, y * y]
    return torch.stack(powers + [first + second, first * second, squares, near], dim=-1)  # noqa: RUF005


class Disulfides(nn.Module):
    """Bonds cysteines and separates the sulfurs of all others in the candidates for packing.

    All candidates of a bonded cysteine become the side chain that closes the bond. There are no trainable
    weights; the odds are from :mod:`backmap.training.disulfides`.
    """

    coefficients: Tensor
    cysteine: Final = RESIDUE_INDEX["CYS"]
    sulfur: Final = HEAVY_ATOMS["CYS"].index("SG")
    longest_ca_nm: Final = MAX_DISULFIDE_CA_DISTANCE_NM
    longest_cb_nm: Final = 0.55
    longest_given_bond_nm: Final = MAX_DISULFIDE_DISTANCE_NM
    reach_nm: Final = 0.9
    """Distance of C-alphas beyond which sulfurs are apart for any torsions."""
    apart_nm: Final = 0.31
    near_residues: Final = NEAR_RESIDUES
    least_volume_nm3: Final = 0.001
    """Least triple product of the bonds from CA to N, C and CB; 0.0025 in an L-amino acid."""
    rounds: Final = 3
    strength: Final = 5000.0
    """Cost in kT / nm^2 of sulfurs of different bonds that are too close."""
    certain: Final = 100.0
    """Log-odds of recorded bonds."""

    def __init__(self) -> None:
        super().__init__()
        odds = torch.tensor(disulfide_statistics()["log odds"])
        self.register_buffer("coefficients", odds, persistent=False)
        self.closure = DisulfideClosure()

    def forward(
        self,
        candidates: Tensor,
        backbone: Tensor,
        chain: Chain,
        keys: Tensor,
        stream: int,
        given: Given | None = None,
        recorded: Tensor | None = None,
        floor: float = FLOOR,
        most_strain: float = MOST_STRAIN,
        sharpness: float = 1.0,
    ) -> tuple[Tensor, Tensor]:
        """Bond cysteines and separate the sulfurs of others.

        Parameters
        ----------
        candidates : Tensor, (frames, residues, candidates, 10, 3)
            Side-chain atoms in nm.
        backbone : Tensor, (frames, residues, 4, 3)
            N, CA, C, O in nm.
        chain : Chain
            The sequence.
        keys : Tensor, (frames,) int64
            Random streams, from :func:`backmap.models.counter_random.stream_keys`.
        stream : int
            Purpose of the random numbers.
        given : Given, optional
            Known atoms of all frames. Given sulfurs determine bonds and are not moved.
        recorded : Tensor, (bonds, 2) int64, optional
            Known disulfide bonds, the lower residue first. These residues are not bonded to others, and are
            bonded in frames in which the bond can close. A cysteine paired with itself is known to be free.
        floor : float
            Below the usual one, bonds keep closer to the candidates.
        most_strain : float
            Largest strain of a bond.
        sharpness : float
            Inverse temperature at which one of the ways to close a bond is drawn.

        Returns
        -------
        Tensor, (frames, residues, candidates, 10, 3)
            Side-chain atoms in nm.
        Tensor, (frames, residues) bool
            Which residues are bonded.
        """
        joined = torch.zeros_like(candidates[:, :, 0, 0, 0], dtype=torch.bool)
        pairs = self._near_pairs(backbone[:, :, chemistry.SLOT_CA], chain)
        if pairs.shape[0] == 0:
            return candidates, joined
        candidates = candidates.clone()
        number = pairs[:, 0] * chain.n_residues + pairs[:, 1]
        uniforms = uniform(keys, stream, torch.stack([2 * number, 2 * number + 1], dim=1))
        odds = self._log_odds(candidates, backbone, chain, pairs, given, recorded)
        bonded = self._bond(
            candidates, backbone, pairs, odds, uniforms[:, :, 0], given, floor, most_strain, sharpness
        )
        self._keep_apart(candidates, pairs, bonded, uniforms[:, :, 1])
        frame, pair = torch.nonzero(bonded).unbind(dim=1)
        joined[frame.unsqueeze(1), pairs[pair]] = True
        return candidates, joined

    def _near_pairs(self, c_alpha: Tensor, chain: Chain) -> Tensor:
        """Return pairs (pairs, 2) of cysteines that are near in any frame, the lower residue first."""
        rows = torch.nonzero(chain.types == self.cysteine).squeeze(-1)
        first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device).unbind(dim=0)
        first, second = rows[first], rows[second]
        if len(first) > 0:
            near = (distance(c_alpha[:, first], c_alpha[:, second]) < self.reach_nm).any(dim=0)
            first, second = first[near], second[near]
        return torch.stack([first, second], dim=1)

    def _log_odds(
        self,
        candidates: Tensor,
        backbone: Tensor,
        chain: Chain,
        pairs: Tensor,
        given: Given | None,
        recorded: Tensor | None,
    ) -> Tensor:
        """Return the log-odds (frames, pairs) that pairs are bonded."""
        first, second = pairs.unbind(dim=1)
        c_alpha, c_beta = backbone[:, pairs, chemistry.SLOT_CA], candidates[:, pairs, 0, 0]
        same = chain.chain_index[first] == chain.chain_index[second]
        near = same & (chain.steps_between(first, second).abs() <= self.near_residues)
        odds = (pair_features(c_alpha, c_beta, near) * self.coefficients).sum(dim=-1)
        apart = distance(c_beta[:, :, 0], c_beta[:, :, 1]) > self.longest_cb_nm
        neighbours = (chain.following[first] == second) | (chain.following[second] == first)
        odds = odds.masked_fill(apart | neighbours, -self.certain)
        if recorded is not None:
            named = (pairs[:, None] == recorded).all(dim=-1).any(dim=-1)
            taken = torch.isin(pairs, recorded).any(dim=-1)
            odds = odds.masked_fill(taken, -self.certain).masked_fill(named, self.certain)
        if given is not None:
            known = given.present[:, self.sulfur][pairs].all(dim=-1)
            sulfurs = candidates[:, pairs, 0, self.sulfur - chemistry.SLOT_CB]
            bonded = distance(sulfurs[:, :, 0], sulfurs[:, :, 1]) < self.longest_given_bond_nm
            odds = torch.where(known, torch.where(bonded, self.certain, -self.certain), odds)
        too_far = distance(c_alpha[:, :, 0], c_alpha[:, :, 1]) > self.longest_ca_nm
        return odds.masked_fill(too_far, -self.certain)

    def _bond(
        self,
        candidates: Tensor,
        backbone: Tensor,
        pairs: Tensor,
        odds: Tensor,
        uniforms: Tensor,
        given: Given | None,
        floor: float,
        most_strain: float,
        sharpness: float,
    ) -> Tensor:
        """Write the side chains of bonded cysteines, and return which pairs (frames, pairs) are bonded."""
        frame, pair = torch.nonzero(odds > 0).unbind(dim=1)
        bonded = torch.zeros_like(odds, dtype=torch.bool)
        if len(frame) == 0:
            return bonded
        rows, residues = frame[:, None], pairs[pair]
        drawn = candidates[rows, residues][:, :, :, : self.sulfur - chemistry.SLOT_CB + 1]
        points = torch.cat([backbone[rows, residues][:, :, : chemistry.SLOT_O], drawn[:, :, 0]], dim=2)
        movable = torch.ones_like(points[:, :, :2, 0], dtype=torch.bool)
        if given is not None:
            known = given.present[residues]
            movable = ~torch.stack([known[:, :, chemistry.SLOT_CB], known[:, :, self.sulfur]], dim=2)
        closed, strain, likely = self.closure(points, movable, drawn[:, :, :, 1], floor)
        to_n, to_c = (points[:, None, :, atom] - points[:, None, :, 1] for atom in (0, 2))
        to_beta = closed[:, :, :, 0] - points[:, None, :, 1]
        volume = (torch.linalg.cross(to_n, to_c, dim=-1) * to_beta).sum(dim=-1)
        handed = ((volume > self.least_volume_nm3) | ~movable[:, None, :, 0]).all(dim=-1)
        fits = ((strain < most_strain) & handed) | ~movable[:, :, 1].any(dim=1, keepdim=True)
        sites = rows * backbone.shape[1] + residues
        chosen = torch.nonzero(_match(sites, odds[frame, pair], fits.any(dim=1))).squeeze(-1)
        frame, pair, closed = frame[chosen], pair[chosen], closed[chosen]
        bonded[frame, pair] = True
        worth = sharpness * (likely - strain - self.certain * ~fits)[chosen]
        trial = self._choose_together(frame, pair, closed[..., 1, :], worth, uniforms[frame, pair])
        side_chains = closed[torch.arange(len(trial), device=trial.device), trial]
        for side in range(2):
            at = pairs[pair, side]
            count = candidates.shape[2]
            candidates[frame, at, :, :2] = side_chains[:, side].unsqueeze(1).expand(-1, count, -1, -1)
        return bonded

    def _choose_together(
        self, frame: Tensor, pair: Tensor, sulfurs: Tensor, worth: Tensor, uniforms: Tensor
    ) -> Tensor:
        """Choose one way (n,) to close each bond, so that the sulfurs of different bonds are apart.

        Ways (n, trials) are drawn by their ``worth``. Where sulfurs (n, trials, 2, 3) of different bonds of a
        frame are too close, these bonds are redrawn one after another, given the others.
        """
        trial = draw_class(worth, uniforms)
        for _ in range(self.rounds):
            near = (frame[:, None] == frame) & (pair[:, None] != pair)
            first, second = torch.nonzero(near).unbind(dim=1)
            apart = distance(
                sulfurs[first, trial[first]][:, :, None], sulfurs[second, trial[second]][:, None]
            )
            clashing = torch.zeros_like(pair, dtype=torch.bool)
            clashing[first[(apart < self.apart_nm).flatten(1).any(dim=1)]] = True
            if not bool(clashing.any()):
                break
            numbers: list[int] = torch.unique(pair[clashing]).tolist()
            for number in numbers:
                own = torch.nonzero(clashing & (pair == number)).squeeze(-1)
                mine, other = torch.nonzero(near[own]).unbind(dim=1)
                others = sulfurs[other, trial[other]][:, None, None]
                apart = distance(sulfurs[own[mine]][:, :, :, None], others)
                overlap = (self.apart_nm - apart).clamp_min(0).square().flatten(2).sum(dim=2)
                cost = torch.zeros_like(worth[own]).index_add(0, mine, overlap)
                trial[own] = draw_class(worth[own] - self.strength * cost, uniforms[own])
        return trial

    def _keep_apart(self, candidates: Tensor, pairs: Tensor, bonded: Tensor, uniforms: Tensor) -> None:
        """Replace candidates in which the sulfurs of cysteines that are not bonded are too close.

        For each pair, one combination of candidates with separate sulfurs is drawn. Candidates that are apart
        from all remaining candidates of the other residue are kept; the others are replaced by the drawn one.
        """
        slot, count = self.sulfur - chemistry.SLOT_CB, candidates.shape[2]
        for number in range(pairs.shape[0]):
            first, second = int(pairs[number, 0]), int(pairs[number, 1])
            ours, theirs = candidates[:, first, :, slot], candidates[:, second, :, slot]
            apart = distance(ours[:, :, None], theirs[:, None])
            allowed = (apart > self.apart_nm) | bonded[:, number, None, None]
            if bool(allowed.all()):
                continue
            apart, fine = apart.flatten(1), allowed.flatten(1)
            farthest = apart == apart.amax(dim=1, keepdim=True)
            likely = torch.where(fine.any(dim=1, keepdim=True), fine, farthest).to(apart.dtype)
            drawn = draw_class(torch.log(likely), uniforms[:, number]).unsqueeze(1)
            mine, other = torch.div(drawn, count, rounding_mode="floor"), torch.remainder(drawn, count)
            ordinal = torch.arange(count, device=drawn.device)
            stay = allowed.gather(2, other.unsqueeze(1).expand(-1, count, -1)).squeeze(2) | (ordinal == mine)
            others_stay = (allowed | ~stay.unsqueeze(2)).all(dim=1) | (ordinal == other)
            for residue, kept, default in ((first, stay, mine), (second, others_stay, other)):
                index = torch.where(kept, ordinal, default)[:, :, None, None]
                own = candidates[:, residue]
                candidates[:, residue] = own.gather(1, index.expand(-1, -1, own.shape[2], 3))


def _match(sites: Tensor, odds: Tensor, possible: Tensor) -> Tensor:
    """Choose pairs (n,) such that no site belongs to two, in descending order of odds.

    Parameters
    ----------
    sites : Tensor, (n, 2) int64
        Sites joined by each pair.
    odds : Tensor, (n,)
        Odds of each pair.
    possible : Tensor, (n,) bool
        Pairs that may be chosen.
    """
    rank = torch.argsort(torch.argsort(odds, stable=True)) + 1
    chosen = torch.zeros_like(possible)
    size = int(sites.max()) + 1
    while bool(possible.any()):
        rank = rank * possible
        best = torch.zeros(size, dtype=rank.dtype, device=rank.device)
        best = best.scatter_reduce(0, sites.flatten(), rank.repeat_interleave(2), "amax")
        now = possible & (best[sites] == rank.unsqueeze(1)).all(dim=1)
        taken = torch.zeros(size, dtype=torch.bool, device=rank.device)
        taken[sites[now].flatten()] = True
        chosen = chosen | now
        possible = possible & ~taken[sites].any(dim=1)
    return chosen
