"""The noise of beads, from distances that hardly vary in structures without noise."""

from typing import Final

import torch
from torch import Tensor, nn

from backmap.chemistry import RESIDUE_NAMES
from backmap.models.beads.evidence import BeadTable, by_residue, c_alpha_is_main, columns_present
from backmap.models.chain import Chain

_N_TYPES = len(RESIDUE_NAMES)

_LEVELS_NM = (0.002, 0.1, 41)
"""First, last and number of the levels of noise that are compared; each is 10 % above the one before."""


class NoiseEstimator(nn.Module):
    """Estimates the noise of beads in each frame. Can be compiled by TorchScript.

    Noise lengthens and shortens the distances between the beads of a residue, and those between the C-alphas
    that are estimated for neighbours. Distances of each kind, which residue types and beads make up, are
    normally distributed with

        variance in exact structures + gain * noise^2,

    and the noise is the most likely one of a frame. Kinds that vary much in exact structures do not count.

    Parameters
    ----------
    columns : int
        Largest number of beads of a residue.
    chance_noise_nm : float
        Noise that structures without noise seem to have by chance.

    Attributes
    ----------
    expected : Tensor, (kinds, 3)
        Mean in nm, variance in nm^2 and gain of each kind, from :mod:`backmap.training.bead_noise`; the
        variance is zero if a kind does not count.
    """

    expected: Tensor
    levels: Tensor
    n_types: Final = _N_TYPES
    least_noise_nm: Final = 0.0075
    """Atoms bear less noise without strain, and those of atomistic simulations look as if they had it."""
    least_evidence: Final = 4.0
    """Log-likelihood that noise must gain: short chains seem noisy by chance."""
    largest_misfit: Final = 12.0
    """Squared deviation, per variance, beyond which a distance says nothing more."""
    c_alpha_bond: Final = (0.3805, 2.5e-5, 2.0)
    bond_range_nm: Final = (0.32, 0.44)

    def __init__(self, columns: int, chance_noise_nm: float = 0.0) -> None:
        super().__init__()
        self.columns = columns
        self.chance_noise_nm = chance_noise_nm
        first, last, number = _LEVELS_NM
        levels = torch.cat([torch.zeros(1), torch.logspace(0, 1, number, base=last / first) * first])
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("expected", torch.zeros(_N_TYPES * (columns**2 + _N_TYPES), 3))

    def forward(
        self, beads: Tensor, c_alpha: Tensor, table: BeadTable, chain: Chain
    ) -> tuple[Tensor, Tensor]:
        """Estimate the noise.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3)
            In nm.
        c_alpha : Tensor, (frames, residues, 3)
            Estimated C-alphas in nm.
        table : BeadTable
            Which beads they are.
        chain : Chain
            The sequence.

        Returns
        -------
        Tensor, (frames,) float64
            Most likely standard deviation of a coordinate in nm.
        Tensor, (frames,) float64
            Log-likelihood of this noise, less that of none.
        """
        distance, kind, counted = self.distances(beads, c_alpha, table, chain)
        known = torch.tensor(self.c_alpha_bond, device=beads.device).unsqueeze(0)
        expected = torch.cat([self.expected, known]).double()[kind]
        mean, variance, gain = expected[:, 0], expected[:, 1], expected[:, 2]
        counted = counted & (variance > 0)
        squared = (distance.double() - mean).square()
        likelihood: list[Tensor] = []
        for level in self.levels.double().unbind():
            spread = (variance + gain * level.square()).clamp_min(1e-12)
            misfit = (squared / spread).clamp_max(self.largest_misfit) + spread.log()
            likelihood.append(-0.5 * (misfit * counted).sum(dim=1))
        best, chosen = torch.stack(likelihood).max(dim=0)
        return self.levels.to(best)[chosen], best - likelihood[0]

    @torch.jit.export
    def noticed(self, beads: Tensor, c_alpha: Tensor, table: BeadTable, chain: Chain) -> Tensor:
        """Return the noise (frames,) float64 in nm, zero where beads may well be exact."""
        noise, evidence = self.forward(beads, c_alpha, table, chain)
        least = max(self.least_noise_nm, self.chance_noise_nm)
        return noise * ((noise > least) & (evidence > self.least_evidence))

    def distances(
        self, beads: Tensor, c_alpha: Tensor, table: BeadTable, chain: Chain
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Measure distances; arguments as for :meth:`forward`.

        Returns
        -------
        Tensor, (frames, distances)
            In nm.
        Tensor, (distances,) int64
            Their kinds; the one after the last of ``expected`` are bonds between C-alphas that are beads.
        Tensor, (frames, distances) bool
            Which count: neighbours along the chain only within the usual range of a trans peptide.
        """
        n_residues, columns = chain.n_residues, self.columns
        place = by_residue(beads, table, n_residues, columns)
        present = columns_present(table, n_residues, columns)
        pairs = torch.triu_indices(columns, columns, 1, device=beads.device)
        found = torch.nonzero(present[:, pairs[0]] & present[:, pairs[1]])
        rows, first, second = found[:, 0], pairs[0][found[:, 1]], pairs[1][found[:, 1]]
        within = torch.linalg.vector_norm(place[:, rows, first] - place[:, rows, second], dim=-1)
        kinds_within = (chain.types[rows] * columns + first) * columns + second

        exact = c_alpha_is_main(table, n_residues)
        following = chain.shift(exact, 1, 0.0, 0)
        inner = chain.has_neighbour(-1) & chain.has_neighbour(1) & chain.has_neighbour(2)
        rows = torch.nonzero(inner & (exact == following)).squeeze(-1)
        after = chain.following[rows]
        along = torch.linalg.vector_norm(c_alpha[:, after] - c_alpha[:, rows], dim=-1)
        kinds_along = self.n_types * columns * columns + chain.types[rows] * self.n_types + chain.types[after]
        kinds_along = kinds_along.masked_fill(exact[rows], len(self.expected))
        usual = (along > self.bond_range_nm[0]) & (along < self.bond_range_nm[1])
        return (
            torch.cat([within, along], dim=1),
            torch.cat([kinds_within, kinds_along]),
            torch.cat([torch.ones_like(within, dtype=torch.bool), usual], dim=1),
        )
