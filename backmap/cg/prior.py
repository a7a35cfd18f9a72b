"""The prior of a coarse-grained force field: what holds a chain of beads together where there are no data."""

import torch
from torch import Tensor, nn

from backmap.chemistry.bead_graph import BeadGraph

HARMONICS = 3
"""Terms of the Fourier series of a torsion."""

PAIRS_BEYOND = 2
"""Beads more bonds apart than this repel each other."""


def safe_root(square: Tensor, smallest: float = 1e-8) -> Tensor:
    """Return the square root of a square plus a little, so that coinciding beads have finite forces."""
    return (square + smallest).sqrt()


def bond_lengths(positions: Tensor, bonds: Tensor) -> Tensor:
    """Return distances (batch, bonds) in nm of pairs (bonds, 2) of beads (batch, beads, 3)."""
    apart = positions[:, bonds[:, 0]] - positions[:, bonds[:, 1]]
    return safe_root(apart.square().sum(-1))


def bond_angles(positions: Tensor, angles: Tensor) -> Tensor:
    """Return angles (batch, angles) in radians of triples (angles, 3) of beads."""
    first = positions[:, angles[:, 0]] - positions[:, angles[:, 1]]
    second = positions[:, angles[:, 2]] - positions[:, angles[:, 1]]
    area = torch.linalg.cross(first, second, dim=-1)
    return torch.atan2(safe_root(area.square().sum(-1), 1e-16), (first * second).sum(-1))


def torsion_angles(positions: Tensor, torsions: Tensor) -> Tensor:
    """Return cosine and sine (2, batch, torsions) of the torsions of four beads each (torsions, 4)."""
    i, j, k, m = torsions.unbind(1)
    axis = positions[:, k] - positions[:, j]
    left = torch.linalg.cross(positions[:, j] - positions[:, i], axis, dim=-1)
    right = torch.linalg.cross(axis, positions[:, m] - positions[:, k], dim=-1)
    cosine = (left * right).sum(-1)
    across = (torch.linalg.cross(left, right, dim=-1) * axis).sum(-1)
    sine = across / safe_root(axis.square().sum(-1))
    return torch.stack([cosine, sine]) / safe_root(cosine.square() + sine.square(), 1e-16)


def handedness(positions: Tensor, centres: Tensor) -> Tensor:
    """Return the triple product (batch, centres) of the unit vectors from a bead to three others.

    It is between -1 and 1, zero if they lie in a plane with the bead, and changes its sign in a mirror.
    """
    origin = positions[:, centres[:, 0]].unsqueeze(2)
    arms = positions[:, centres[:, 1:]] - origin
    arms = arms / safe_root(arms.square().sum(-1, keepdim=True))
    first, second, third = arms.unbind(2)
    return (first * torch.linalg.cross(second, third, dim=-1)).sum(-1)


def fourier_terms(cosine_sine: Tensor, harmonics: int = HARMONICS) -> Tensor:
    """Return cos(n phi) and sin(n phi) for n = 1 ... harmonics, (2 harmonics, ...), of (2, ...)."""
    cosine, sine = cosine_sine.unbind(0)
    terms = [cosine, sine]
    for _ in range(harmonics - 1):
        c, s = terms[-2], terms[-1]
        terms += [c * cosine - s * sine, s * cosine + c * sine]
    return torch.stack(terms)


class Prior(nn.Module):
    """Harmonic bonds, angles and handedness, torsions as Fourier series, and repulsion.

    The energy in kJ/mol is

    ``sum k/2 (r - r0)^2 + sum k/2 (theta - theta0)^2 + sum k/2 (chi - chi0)^2
    + sum_n a_n cos(n phi) + b_n sin(n phi) + kT sum (sigma / r)^12``

    over bonds, angles, centres (:func:`handedness`), torsions, and pairs more than two bonds apart. A network
    of distances cannot tell a molecule from its mirror image; the prior can.

    Parameters
    ----------
    graph : BeadGraph
        Beads and bonds.
    kt : float
        Thermal energy in kJ/mol.

    Attributes
    ----------
    bond_parameters, angle_parameters, centre_parameters : Tensor, (terms, 2)
        Value at the minimum (nm, radians, none) and force constant (kJ/mol per square of its unit).
    torsion_parameters : Tensor, (torsions, 2 HARMONICS)
        Coefficients in kJ/mol of cos(phi), sin(phi), cos(2 phi), ...
    pair_sigma : Tensor, (pairs,)
        In nm.
    """

    bonds: Tensor
    angles: Tensor
    torsions: Tensor
    centres: Tensor
    pairs: Tensor
    bond_parameters: Tensor
    angle_parameters: Tensor
    torsion_parameters: Tensor
    centre_parameters: Tensor
    pair_sigma: Tensor

    def __init__(self, graph: BeadGraph, kt: float) -> None:
        super().__init__()
        self.kt = kt
        tables = {
            "bonds": torch.tensor(graph.bonds, dtype=torch.int64).reshape(-1, 2),
            "angles": torch.tensor(graph.angles, dtype=torch.int64).reshape(-1, 3),
            "torsions": torch.tensor(graph.torsions, dtype=torch.int64).reshape(-1, 4),
            "centres": torch.tensor(graph.centres, dtype=torch.int64).reshape(-1, 4),
            "pairs": torch.from_numpy(graph.pairs_beyond(PAIRS_BEYOND)),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)
        for name, kind in (("bond", "bonds"), ("angle", "angles"), ("centre", "centres")):
            self.register_buffer(f"{name}_parameters", torch.zeros(len(tables[kind]), 2))
        self.register_buffer("torsion_parameters", torch.zeros(len(tables["torsions"]), 2 * HARMONICS))
        self.register_buffer("pair_sigma", torch.zeros(len(tables["pairs"])))

    def forward(self, positions: Tensor) -> Tensor:
        """Return the energies (batch,) in kJ/mol of beads (batch, beads, 3) in nm."""
        energy = _harmonic(bond_lengths(positions, self.bonds), self.bond_parameters)
        energy = energy + _harmonic(bond_angles(positions, self.angles), self.angle_parameters)
        energy = energy + _harmonic(handedness(positions, self.centres), self.centre_parameters)
        terms = fourier_terms(torsion_angles(positions, self.torsions))
        energy = energy + (terms * self.torsion_parameters.T.unsqueeze(1)).sum(dim=[0, 2])
        ratio = self.pair_sigma / bond_lengths(positions, self.pairs)
        return energy + self.kt * ratio.pow(12).sum(-1)


def _harmonic(values: Tensor, parameters: Tensor) -> Tensor:
    """Return the energies (batch,) of harmonic terms with values (batch, terms)."""
    return (0.5 * parameters[:, 1] * (values - parameters[:, 0]).square()).sum(-1)
