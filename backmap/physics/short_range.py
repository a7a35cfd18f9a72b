"""A potential of bonded terms and near pairs, for many frames of large molecules."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.ops import molecular_mechanics
from backmap.physics.bonded import distinct_torsions, fourier_polynomials
from backmap.physics.force_field import ForceField

_RULE_TOLERANCE = 1e-6
"""Largest relative deviation of a Lennard-Jones table from the combination rules."""


class ShortRangePotential(torch.nn.Module):
    """Potential energy by a force field, with pairs within a cutoff and a distance-dependent dielectric.

    See :func:`backmap.ops.molecular_mechanics` for the form of the energy, which replaces long-range
    electrostatics and any implicit solvent of the force field. The time grows linearly with the number of
    atoms up to some ten thousand. A frame's result is the same whatever else is in the batch.

    Parameters
    ----------
    force_field : ForceField
        Of AMBER's kind: torsions are Fourier series, and Lennard-Jones parameters combine by the rules of
        Lorentz and Berthelot.
    dtype : torch.dtype
        float32 or float64: dtype of the parameters and of positions.

    Raises
    ------
    ValueError
        If the force field has harmonic torsions, CMAP terms, or other combinations of Lennard-Jones
        parameters.
    """

    def __init__(self, force_field: ForceField, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        if len(force_field.harmonic_torsions) or len(force_field.correction_torsions):
            raise ValueError("harmonic torsions and CMAP terms are not supported with a cutoff")
        self._names: list[str] = []
        for name, values in _tables(force_field).items():
            kept = torch.from_numpy(np.ascontiguousarray(values))
            self.register_buffer(name, kept.to(dtype) if kept.is_floating_point() else kept, persistent=False)
            self._names.append(name)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the energies and gradients of frames.

        Parameters
        ----------
        positions : Tensor, (..., atoms, 3)
            In nm, with the module's dtype and on its device.

        Returns
        -------
        energy : Tensor, (...,)
            In kJ/mol.
        gradient : Tensor, (..., atoms, 3)
            In kJ/mol/nm.
        """
        return molecular_mechanics(positions, **{name: getattr(self, name) for name in self._names})


def _tables(force_field: ForceField) -> dict[str, np.ndarray]:
    """Return the tables of the operator."""
    sigma, epsilon = _lennard_jones(np.diagonal(force_field.repulsion), np.diagonal(force_field.attraction))
    _require_combination_rules(force_field, sigma, epsilon)
    torsions, (periodic,) = distinct_torsions(force_field.torsions)
    polynomials = fourier_polynomials(periodic, force_field.torsion_parameters, len(torsions))
    products, *coefficients = force_field.exception_parameters.T
    listed = force_field.exception_parameters.any(axis=1)
    pair_parameters = np.stack([products, *_lennard_jones(*coefficients)], axis=1)
    start, exclusions = _neighbours(force_field.exceptions, force_field.n_atoms)
    kinds = force_field.kinds
    return {
        "bonds": force_field.bonds,
        "bond_parameters": force_field.bond_parameters,
        "angles": force_field.angles,
        "angle_parameters": force_field.angle_parameters,
        "torsions": torsions,
        "torsion_polynomials": np.stack(polynomials).transpose(2, 0, 1),
        "pairs": force_field.exceptions[listed],
        "pair_parameters": pair_parameters[listed],
        "particles": np.stack([force_field.charges, sigma[kinds], epsilon[kinds]], axis=1),
        "exclusion_start": start,
        "exclusions": exclusions,
    }


def _lennard_jones(repulsion: np.ndarray, attraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sigma and epsilon of A / r^12 - B / r^6; both are zero without attraction."""
    acts = attraction > 0
    divisor = np.where(acts, attraction, 1.0)
    sigma = np.where(acts, (repulsion / divisor) ** (1 / 6), 0.0)
    return sigma, np.where(acts, divisor**2 / (4 * np.where(acts, repulsion, 1.0)), 0.0)


def _require_combination_rules(force_field: ForceField, sigma: np.ndarray, epsilon: np.ndarray) -> None:
    mixed = (sigma[:, None] + sigma) / 2
    attraction = 4 * np.sqrt(epsilon[:, None] * epsilon) * mixed**6
    if not np.allclose(force_field.attraction, attraction, rtol=_RULE_TOLERANCE, atol=0):
        raise ValueError("Lennard-Jones parameters that do not follow combination rules are not supported")


def _neighbours(pairs: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the start of each atom's partners, and the partners, ascending."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort(both.T[::-1])]
    start = np.concatenate([[0], np.cumsum(np.bincount(both[:, 0], minlength=n_atoms))])
    return start.astype(np.int64), both[:, 1]
