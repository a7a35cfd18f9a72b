"""How fast the torsions of proteins are forgotten in time, from rates measured in simulations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backmap.chemistry import NO_RESIDUE
from backmap.chemistry.constants import BOLTZMANN
from backmap.models.chain import Chain
from backmap.models.protein.coherence_statistics import REFERENCE_KELVIN, coherence_statistics
from backmap.models.protein.neighbourhood import Neighbourhood

BURIAL_DISTANCE_NM = 1.0
USUAL_NEIGHBOURS = 12

LONG_AGO_PS = 1e9
"""Interval after which nothing is remembered: before the first frame, and across jumps."""


def surroundings(neighbourhood: Neighbourhood, chain: Chain) -> Tensor:
    """Return what rates depend on besides the residue type, (frames, residues, 3).

    The first is the number of C-alphas within 1 nm of the residue's, relative to the usual 12, minus 1. The
    others are 1 for residues without a neighbour before them, and without two after them, and 0 elsewhere.
    """
    near = torch.linalg.vector_norm(neighbourhood.positions[:, :, 0], dim=-1) < BURIAL_DISTANCE_NM
    near &= neighbourhood.types != NO_RESIDUE
    burial = (near.sum(dim=1) / USUAL_NEIGHBOURS - 1.0).view(-1, chain.n_residues)
    ends = [~chain.has_neighbour(-1), ~chain.has_neighbour(2)]
    return torch.stack([burial, *(end.to(burial.dtype).expand_as(burial) for end in ends)], dim=-1)


def inverse_temperature(kelvin: float) -> float:
    """Return (1/T - 1/T0) / R in mol/kJ, with T0 of 300 K."""
    return (1 / kelvin - 1 / REFERENCE_KELVIN) / BOLTZMANN


class CoherenceRates(nn.Module):
    """How fast torsions are forgotten.

    A torsion leaves its basin at the rate exp(a + b . s + m z - E (1/T - 1/T0) / R) per ps, with a by residue
    type and torsion, b, m and E by kind of torsion, s from :func:`surroundings`, and z a normal deviate that
    each torsion keeps for a nanosecond: torsions of one kind are not equally mobile. Otherwise a peptide is
    drawn in a window of some degrees in the first ps. A side-chain torsion is drawn in a window about an
    angle that drifts slowly. Twists are autoregressions with a memory.

    Parameters
    ----------
    temperature_kelvin : float
        Temperature of the simulation.
    time_scale : float
        Factor on the time between frames, for coarse-grained dynamics that are faster than atomistic ones.
    statistics : dict, optional
        As from :func:`coherence_statistics`, which is the default.
    """

    peptide: Tensor
    peptide_slope: Tensor
    torsion: Tensor
    torsion_slope: Tensor
    peptide_mobility: Tensor
    torsion_mobility: Tensor
    end: Tensor

    def __init__(
        self,
        temperature_kelvin: float = REFERENCE_KELVIN,
        time_scale: float = 1.0,
        statistics: dict | None = None,
    ) -> None:
        super().__init__()
        self.time_scale = time_scale
        measured = statistics or coherence_statistics()
        cold = inverse_temperature(temperature_kelvin)
        for name in ("peptide", "torsion", "end"):
            table = measured[name]
            activated = torch.tensor(table["log rate"]) - torch.tensor(table["activation energy"]) * cold
            self.register_buffer(name, activated, persistent=False)
        for name in ("peptide", "torsion"):
            slope = torch.tensor(measured[name]["slope"])
            self.register_buffer(f"{name}_slope", slope, persistent=False)
            mobility = torch.tensor(measured[name]["mobility"])
            self.register_buffer(f"{name}_mobility", mobility, persistent=False)
        self.peptide_window = math.radians(measured["peptide"]["window"])
        self.torsion_window = math.radians(measured["torsion"]["window"])
        self.torsion_drift = math.radians(measured["torsion"]["drift"])
        self.twist_memory: float = measured["twist"]["memory"]
        self.end_window = math.radians(measured["end"]["window"])

    def of_peptides(self, types: Tensor, seen: Tensor, mobilities: Tensor) -> Tensor:
        """Return the rates (..., residues) per ps at which peptides leave their basins.

        Arguments are residue types (residues,), :func:`surroundings` (..., residues, 3), and normal deviates
        (..., residues).
        """
        log_rate = self.peptide[types] + torch.matmul(seen, self.peptide_slope[0])
        return torch.exp(log_rate + self.peptide_mobility[0] * mobilities)

    @property
    def of_ends(self) -> Tensor:
        """Rate () per ps at which torsions of chain ends leave their basins."""
        return torch.exp(self.end)

    def of_torsions(self, types: Tensor, seen: Tensor, mobilities: Tensor) -> Tensor:
        """Return the rates (..., residues, 4) per ps at which side-chain torsions leave their basins.

        Arguments are as for :meth:`of_peptides`, with normal deviates (..., residues, 4).
        """
        log_rate = self.torsion[types] + torch.matmul(seen, self.torsion_slope.T)
        return torch.exp(log_rate + self.torsion_mobility * mobilities)
