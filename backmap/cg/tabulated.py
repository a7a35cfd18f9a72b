"""Forces of a coarse-grained force field by native operators, with filters read from tables."""

from __future__ import annotations

import copy
from functools import partial

import numpy as np
import torch
from torch import Tensor

from backmap.cg.model import CgForceField
from backmap.cg.prior import HARMONICS, Prior
from backmap.cg.schnet import DistanceFilters, Interaction, SchNet
from backmap.ops import bead_prior, schnet_energy

KNOTS_PER_GAUSSIAN = 16
"""Distances between the centres of two neighbouring Gaussians at which filters are tabulated: values are then
good to 1e-6 of the largest, like those of the network in single precision."""


class TabulatedForces:
    """Forces of a force field, without gradients.

    The filters of the network depend on the distance only, and are tabulated once; cubic interpolation makes
    energies smooth, and the forces are their exact gradients. The weights are copied: later changes of the
    force field have no effect.

    Parameters
    ----------
    force_field : CgForceField
        Determines the device.
    dtype : torch.dtype
        float32 or float64, that of the positions.
    """

    def __init__(self, force_field: CgForceField, dtype: torch.dtype = torch.float32) -> None:
        cast = partial(_cast, dtype=dtype)
        self._prior = {name: cast(table) for name, table in _prior_tables(force_field.prior).items()}
        self._kt = force_field.kt
        network, scale = force_field.network, force_field.scale
        self._network = {name: cast(table) for name, table in _network_tables(network, scale).items()}
        self._cutoff_nm = force_field.config.network.cutoff_nm

    def __call__(self, positions: Tensor) -> Tensor:
        """Return forces (replicas, beads, 3) in kJ/mol/nm on beads (replicas, beads, 3) in nm."""
        return self.energy_and_forces(positions)[1]

    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (*) in kJ/mol and forces (*, beads, 3) in kJ/mol/nm on beads (*, beads, 3)."""
        energy, gradient = schnet_energy(positions, **self._network, cutoff_nm=self._cutoff_nm)
        of_prior, gradient_of_prior = bead_prior(positions, **self._prior, kt=self._kt)
        return energy + of_prior, gradient.add_(gradient_of_prior).neg_()


@torch.no_grad()
def _network_tables(network: SchNet, scale: Tensor) -> dict[str, Tensor]:
    """Return the tensors that :func:`schnet_energy` takes."""
    blocks = [block for block in network.interactions if isinstance(block, Interaction)]
    weights = network.state_dict()
    return {
        "features": network.embedding.weight[network.kinds],
        "filters": torch.stack([tabulate(block.filters) for block in blocks]),
        "incoming": torch.stack([block.incoming.weight for block in blocks]),
        "mixing": torch.stack([block.mixing.weight for block in blocks]),
        "mixing_bias": torch.stack([block.mixing.bias for block in blocks]),
        "outgoing": torch.stack([block.outgoing.weight for block in blocks]),
        "outgoing_bias": torch.stack([block.outgoing.bias for block in blocks]),
        "readout": weights["energy.0.weight"],
        "readout_bias": weights["energy.0.bias"],
        "readout_weights": scale * weights["energy.2.weight"][0],
    }


def tabulate(filters: DistanceFilters) -> Tensor:
    """Return values and derivatives of filters (knots, 2, features), float64, from zero to the cutoff."""
    exact = copy.deepcopy(filters).double().requires_grad_(False)
    n_knots = KNOTS_PER_GAUSSIAN * (len(filters.centres) - 1) + 1
    knots = torch.linspace(
        0.0, filters.cutoff_nm, n_knots, dtype=torch.float64, device=filters.centres.device
    )
    values, slopes = torch.func.jvp(exact, (knots,), (torch.ones_like(knots),))[:2]
    return torch.stack([values, slopes], dim=1)


@torch.no_grad()
def _prior_tables(prior: Prior) -> dict[str, Tensor]:
    """Return the tensors that :func:`bead_prior` takes."""
    return {
        "bonds": prior.bonds,
        "bond_parameters": prior.bond_parameters,
        "angles": prior.angles,
        "angle_parameters": prior.angle_parameters,
        "torsions": prior.torsions,
        "torsion_polynomials": _torsion_polynomials(prior.torsion_parameters),
        "centres": prior.centres,
        "centre_parameters": prior.centre_parameters,
        "pairs": prior.pairs,
        "sigma": prior.pair_sigma,
    }


def _torsion_polynomials(series: Tensor) -> Tensor:
    """Return polynomials (torsions, 2, HARMONICS + 1) in cos(phi) of Fourier series (torsions, 2 HARMONICS).

    ``cos(n phi)`` is the Chebyshev polynomial ``T_n(cos(phi))``, and ``sin(n phi)`` is
    ``sin(phi) T_n'(cos(phi)) / n``.
    """
    cosines, sines = np.zeros((2, HARMONICS, HARMONICS + 1))
    for n in range(1, HARMONICS + 1):
        chebyshev = np.polynomial.chebyshev.cheb2poly(np.eye(HARMONICS + 1)[n])
        cosines[n - 1, : n + 1] = chebyshev
        sines[n - 1, :n] = np.polynomial.polynomial.polyder(chebyshev) / n
    even = series.double()[:, 0::2] @ torch.from_numpy(cosines).to(series.device)
    odd = series.double()[:, 1::2] @ torch.from_numpy(sines).to(series.device)
    return torch.stack([even, odd], dim=1)


def _cast(table: Tensor, dtype: torch.dtype) -> Tensor:
    to = dtype if table.is_floating_point() else table.dtype
    return table.detach().to(to, copy=True).contiguous()
