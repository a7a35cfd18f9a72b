"""C-alphas drawn given the beads of a coarse-grained simulation. Can be compiled by TorchScript.

A bead of a coarse-grained model is a noisy observation of a C-alpha. C-alphas are drawn from

    p(C-alphas | beads) ~ exp(-|C-alpha - bead|^2 / (2 noise^2)) p(C-alphas),

where p(C-alphas) describes bond lengths, angles and dihedrals (:mod:`backmap.chemistry.c_alpha_prior`) and
prevents overlaps of residues. The noise is estimated from the beads of each frame: beads of crystals and of
atomistic simulations have none and stay exactly in place.
"""

import math
from typing import Final, Optional

import torch
from torch import Tensor, nn

import backmap.ops  # noqa: F401  # registers the operators
from backmap.chemistry import RESIDUE_INDEX
from backmap.chemistry.c_alpha_prior import FIRST_ANGLE, LAST_ANGLE, c_alpha_energies, window_kinds
from backmap.models.chain import Chain
from backmap.models.counter_random import uniform


class CAlphaPosterior(nn.Module):
    """Draws C-alphas given beads; has no parameters."""

    table: Tensor
    kinds: Tensor
    first_angle: Final = float(FIRST_ANGLE)
    last_angle: Final = float(LAST_ANGLE)
    proline: Final = RESIDUE_INDEX["PRO"]

    # Random numbers, see :func:`backmap.models.counter_random.uniform`.
    cis_stream: Final = 6
    motion_stream: Final = 7

    # Distances of C-alphas across a peptide, and fractions of cis peptides.
    trans_nm: Final = 0.3805
    cis_nm: Final = 0.295
    crystal_spread_nm: Final = 0.005
    cis_share_of_proline: Final = 0.05
    cis_share_of_others: Final = 0.0003

    # Criteria that distinguish beads from C-alphas. Standard deviations of bonds: up to 0.009 nm in crystals,
    # up to 0.011 nm in atomistic simulations of ten residues, 0.017 nm for soft bonds. Mean energies of long
    # chains: up to 3.4 kT in crystals, up to 3.7 kT in atomistic simulations of unfolded chains, 5.1 kT and
    # more for beads without angle and dihedral potentials; means over a few windows scatter.
    usual_bond_nm: Final = 0.38
    bond_range_nm: Final = 0.06
    soft_spread_nm: Final = 0.0115
    strange_energy_kt: Final = 4.1
    energy_scatter_kt: Final = 2.5

    # The noise of a residue grows with the mean energy around it, from that of bonds to blind_noise_nm.
    sequence_reach: Final = 8
    sound_energy_kt: Final = 3.7
    blind_energy_kt: Final = 4.9
    blind_noise_nm: Final = 0.08

    precision_nm: Final = 1e-5

    # The dynamics, which are annealed to zero temperature.
    temperature: Final = 2.0
    step_size_nm2: Final = 4e-4
    largest_step_nm: Final = 0.04
    contact_distance_nm: Final = 0.45
    contact_strength_kt_per_nm2: Final = 600.0
    little_noise_nm: Final = 0.05
    steps_of_little_noise: Final = 40
    steps_of_much_noise: Final = 200

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.from_numpy(c_alpha_energies()).double(), persistent=False)
        self.register_buffer("kinds", torch.from_numpy(window_kinds()), persistent=False)

    def forward(
        self,
        beads: Tensor,
        chain: Chain,
        keys: Tensor,
        box: Optional[Tensor] = None,  # noqa: UP045  # TorchScript
        least_noise_nm: float = 0.0,
        noise_nm: Optional[Tensor] = None,  # noqa: UP045
        wandering: Optional[Tensor] = None,  # noqa: UP045
        turns: Optional[Tensor] = None,  # noqa: UP045
    ) -> tuple[Tensor, Tensor]:
        """Draw C-alphas.

        Parameters
        ----------
        beads : Tensor, (frames, residues, 3) float32
            In nm, molecules whole.
        chain : Chain
            The sequence.
        keys : Tensor, (samples, frames) int64
            Random streams. Consecutive frames move alike if their streams are the same.
        box : Tensor, (frames, 3, 3) float32, optional
            Vectors of periodic boxes in nm, as rows, in reduced form.
        least_noise_nm : float
            Lower bound on the noise; with 0, frames without noise are unchanged.
        noise_nm : Tensor, (frames, residues) float64, optional
            Standard deviation of each bead coordinate; estimated by default.
        wandering : Tensor, (2, samples, frames) int64, optional
            Two random streams of each frame between which its motion lies, from
            :func:`backmap.models.wandering.wandering_streams`; by default, its motion is that of ``keys``.
        turns : Tensor, (frames,) float64, optional
            Where between the two; required with ``wandering``.

        Returns
        -------
        Tensor, (samples, frames, residues, 3)
            C-alphas in nm.
        Tensor, (frames,) bool
            Frames whose C-alphas were drawn; in the others, they are the beads.
        """
        cell = None if box is None else self._rounded(box)
        images = torch.zeros_like(beads, dtype=torch.float64)
        if cell is not None:
            images = _central_images(beads.double(), chain.opened(), cell)
        exact = self._rounded(beads - images)
        spread = self.bond_spread(exact, chain)
        if noise_nm is not None:
            noise = noise_nm
            moves = torch.ones_like(spread, dtype=torch.bool)
        else:
            noise, moves = self.estimate_noise(exact, chain, spread, least_noise_nm)
        if not bool(moves.any()):
            return beads.expand(keys.shape[0], -1, -1, -1), moves
        shape = [keys.shape[0], beads.shape[0], beads.shape[1]]
        bonds, weights = self.draw_bonds(exact, chain, keys, spread)
        many = noise.amax(dim=1) > self.little_noise_nm
        steps = torch.where(many, self.steps_of_much_noise, self.steps_of_little_noise) * moves
        kinds, _ = self._windows(chain)
        drawn = torch.ops.backmap.draw_c_alphas(
            exact.expand(shape + [3]),
            noise.expand(shape),
            bonds,
            kinds,
            weights,
            self.table,
            (keys if wandering is None else wandering[0]) ^ self.motion_stream,
            steps.expand(shape[:2]),
            self.first_angle,
            self.last_angle,
            self.temperature,
            self.step_size_nm2,
            self.largest_step_nm,
            self.contact_distance_nm,
            self.contact_strength_kt_per_nm2,
            None if cell is None else cell.expand(shape[:2] + [3, 3]),
            chain.following,
            None if wandering is None else wandering[1] ^ self.motion_stream,
            None if turns is None else turns.to(exact.dtype).expand(shape[:2]),
        )
        return torch.where(moves[:, None, None], (drawn + images).to(beads.dtype), beads), moves

    def _rounded(self, lengths: Tensor) -> Tensor:
        """Remove rounding noise of files and boxes, which the dynamics would amplify; float64."""
        return torch.round(lengths.double() / self.precision_nm) * self.precision_nm

    def bond_spread(self, beads: Tensor, chain: Chain) -> Tensor:
        """Return the standard deviation (frames,) in nm of distances of bonded beads near a bond's length."""
        distance = _distances_to_next(beads.double(), chain)
        counted = chain.linked & ((distance - self.usual_bond_nm).abs() < self.bond_range_nm)
        number = counted.sum(dim=1).clamp_min(1)
        mean = (distance * counted).sum(dim=1) / number
        squares = ((distance - mean[:, None]).square() * counted).sum(dim=1)
        return self._rounded(torch.sqrt(squares / number))  # independent of the order of summation

    def estimate_noise(
        self, beads: Tensor, chain: Chain, spread: Tensor, least_noise_nm: float
    ) -> tuple[Tensor, Tensor]:
        """Estimate the noise of beads from their bonds, angles and dihedrals.

        Returns
        -------
        Tensor, (frames, residues)
            Standard deviations of coordinates in nm.
        Tensor, (frames,) bool
            Frames whose beads are noisy.
        """
        kinds, weights = self._windows(chain)
        weights = weights.expand(beads.shape[0], -1)
        energy = torch.ops.backmap.c_alpha_energy(
            beads, kinds, weights, self.table, self.first_angle, self.last_angle, chain.following
        )
        number = weights.sum(dim=1).clamp_min(1.0)
        strange = energy.sum(dim=1) / number > self.strange_energy_kt + self.energy_scatter_kt / number.sqrt()
        moves = (spread > self.soft_spread_nm) | strange
        if least_noise_nm > 0:
            moves = torch.ones_like(moves)
        of_bonds = (spread * math.sqrt(0.5)).clamp_min(least_noise_nm)[:, None]
        around = self._mean_around(energy, weights, chain)
        share = (around - self.sound_energy_kt) / (self.blind_energy_kt - self.sound_energy_kt)
        blind = (self.blind_noise_nm - of_bonds).clamp_min(0.0)
        return of_bonds + share.clamp(0.0, 1.0) * blind, moves

    def draw_bonds(self, beads: Tensor, chain: Chain, keys: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Draw which peptides are cis, from residue types and distances.

        Returns
        -------
        Tensor, (samples, frames, residues)
            Target distance in nm of the C-alphas of each residue and its successor; 0 without a bond.
        Tensor, (samples, frames, residues)
            Weights of the windows' energies: 1 where all peptides of a window are trans, else 0.
        """
        distance = _distances_to_next(beads, chain)
        variance = spread.clamp_min(self.crystal_spread_nm).square()[:, None]
        misfit = (distance - self.trans_nm).square() - (distance - self.cis_nm).square()
        proline = chain.shift(chain.types, 1, 0.0) == self.proline
        before = torch.where(proline, self.cis_share_of_proline, self.cis_share_of_others)
        probability = torch.sigmoid(torch.logit(before) + misfit / (2 * variance))
        residues = torch.arange(chain.n_residues, device=beads.device)
        cis = uniform(keys, self.cis_stream, residues) < probability
        bonds = torch.where(cis, self.cis_nm, self.trans_nm).to(beads.dtype) * chain.linked
        _, weights = self._windows(chain)
        trans = ~cis
        all_trans = trans & chain.shift(trans, 1, 0.0, dim=2) & chain.shift(trans, 2, 0.0, dim=2)
        return bonds, weights * all_trans

    def _windows(self, chain: Chain) -> tuple[Tensor, Tensor]:
        """Return kind (residues,) int64 and weight (1 or 0) of the window that starts at each residue."""
        second, third = chain.shift(chain.types, 1, 0.0), chain.shift(chain.types, 2, 0.0)
        return self.kinds[second, third], chain.has_neighbour(3).to(self.table.dtype)

    def _mean_around(self, energy: Tensor, weights: Tensor, chain: Chain) -> Tensor:
        """Return the mean energy (frames, residues) of the windows that start near each residue."""
        total, number = energy.clone(), weights.clone()
        for offset in range(-self.sequence_reach - 1, self.sequence_reach):
            if offset != 0:
                there = chain.has_neighbour(offset)
                total += chain.shift(energy, offset, 0.0, dim=1) * there
                number += chain.shift(weights, offset, 0.0, dim=1) * there
        return total / number.clamp_min(1.0)


def _central_images(points: Tensor, chain: Chain, box: Tensor) -> Tensor:
    """Return lattice vectors (frames, residues, 3) from each segment's central image to the given one."""
    places = torch.arange(chain.n_residues, device=points.device)
    begins = ~chain.has_neighbour(-1)
    first, _ = torch.cummax(places * begins, dim=0)
    away = points[:, first]
    rest = away
    for axis in (2, 1, 0):
        vector = box[:, None, axis]
        rest = rest - torch.round(rest[:, :, axis : axis + 1] / vector[:, :, axis : axis + 1]) * vector
    return away - rest


def _distances_to_next(points: Tensor, chain: Chain) -> Tensor:
    """Return distances (frames, residues) of points (frames, residues, 3) to the bonded next; else 0."""
    apart = points[:, chain.following.clamp_min(0)] - points
    return torch.linalg.vector_norm(apart, dim=-1) * chain.linked
