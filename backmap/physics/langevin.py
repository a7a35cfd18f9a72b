"""Short Langevin simulations of many frames of a molecule, with bonds of fixed length."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from backmap.ops import langevin_dynamics
from backmap.physics.bonded import distinct_torsions, fourier_polynomials
from backmap.physics.constraints import BondConstraints
from backmap.physics.force_field import ForceField
from backmap.physics.nonbonded import (
    COULOMB,
    pair_coefficients,
    polarisation,
    reduced_radii,
    screening_radii,
    surface_energies,
)
from backmap.physics.potential import Potential


@dataclass(frozen=True)
class LangevinSettings:
    """How a molecule moves.

    Attributes
    ----------
    step_ps : float
        Time step.
    friction_per_ps : float
        Friction.
    kt : float
        Temperature in kJ/mol.
    largest_move_nm : float
        Limit on the displacement of an atom by the forces in one step.
    """

    step_ps: float
    friction_per_ps: float
    kt: float
    largest_move_nm: float


class LangevinDynamics(nn.Module):
    """Moves frames by the leapfrog middle scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056).

    An operator takes all steps in one call. A force field with CMAP terms or harmonic torsions, which it does
    not have, takes one step at a time in PyTorch.

    Parameters
    ----------
    force_field : ForceField
        With constraints for bonds of fixed length.
    inverse_masses : Tensor, (atoms,) float32
        In 1/Da; 0 for an atom that does not move.
    settings : LangevinSettings
        Parameters of the dynamics.
    """

    inverse_masses: Tensor

    def __init__(self, force_field: ForceField, inverse_masses: Tensor, settings: LangevinSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("inverse_masses", inverse_masses, persistent=False)
        pairs = torch.from_numpy(force_field.constraints)
        movable = inverse_masses[pairs].sum(dim=1) > 0
        pairs, lengths = pairs[movable], torch.from_numpy(force_field.constraint_lengths)[movable]
        self.at_once = not len(force_field.harmonic_torsions) and not len(force_field.correction_torsions)
        self._names: list[str] = []
        if not self.at_once:
            self.potential = Potential(force_field)
            self.constraints = BondConstraints(pairs, lengths, inverse_masses)
            return
        tables = _tables(force_field) | {"constraints": pairs.numpy(), "constraint_lengths": lengths.numpy()}
        for name, values in tables.items():
            kept = torch.from_numpy(np.ascontiguousarray(values))
            self.register_buffer(name, kept.float() if kept.is_floating_point() else kept, persistent=False)
            self._names.append(name)
        solvent = force_field.solvent
        self.polarisation = 0.0 if solvent is None else polarisation(solvent)

    def thermal_velocities(self, normals: Tensor) -> Tensor:
        """Return velocities (batch, atoms, 3) in nm/ps from normal random numbers (batch, atoms, 3).

        The first step takes what would stretch constrained bonds.
        """
        return (self.settings.kt * self.inverse_masses.unsqueeze(-1)).sqrt() * normals

    def forward(self, atoms: Tensor, velocities: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        """Simulate frames.

        Parameters
        ----------
        atoms, velocities : Tensor, (batch, atoms, 3) float32
            In nm and nm/ps.
        normals : Tensor, (batch, steps, atoms, 3) float32
            Normal random numbers of each step.

        Returns
        -------
        atoms, velocities : Tensor, (batch, atoms, 3)
            Atoms that do not move are unchanged, bit for bit.
        """
        if not self.at_once:
            return self._step_by_step(atoms, velocities, normals)
        moved, changed, _ = self._simulate(atoms, velocities, normals)
        return moved, changed

    def energy(self, atoms: Tensor) -> Tensor:
        """Return the energies (batch,) of frames (batch, atoms, 3) in kJ/mol."""
        if not self.at_once:
            return self.potential(atoms)
        no_steps = atoms.new_zeros(len(atoms), 0, *atoms.shape[1:])
        return self._simulate(atoms, torch.zeros_like(atoms), no_steps)[2]

    def _simulate(self, atoms: Tensor, velocities: Tensor, normals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return langevin_dynamics(
            atoms,
            velocities,
            normals,
            self.inverse_masses,
            **{name: getattr(self, name) for name in self._names},
            polarisation=self.polarisation,
            step_ps=self.settings.step_ps,
            friction_per_ps=self.settings.friction_per_ps,
            kt=self.settings.kt,
            largest_move_nm=self.settings.largest_move_nm,
        )

    def _step_by_step(self, atoms: Tensor, velocities: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
        settings, inverse = self.settings, self.inverse_masses.unsqueeze(-1)
        step, kept = settings.step_ps, math.exp(-settings.friction_per_ps * settings.step_ps)
        noise = math.sqrt(1 - kept**2)
        for number in range(normals.shape[1]):
            kick = -step * inverse * self.potential.energy_and_gradient(atoms)[1]
            most = settings.largest_move_nm / step
            velocities = velocities + kick * (most / kick.norm(dim=-1, keepdim=True).clamp(min=most))
            velocities = self.constraints.velocities(velocities, atoms)
            moved = atoms + step / 2 * velocities
            velocities = kept * velocities + noise * self.thermal_velocities(normals[:, number])
            moved = moved + step / 2 * velocities
            constrained = self.constraints.positions(moved, atoms)
            velocities = velocities + (constrained - moved) / step
            atoms = constrained
        return atoms, velocities


def _tables(force_field: ForceField) -> dict[str, np.ndarray]:
    """Return the tables of the operator, but for the constraints."""
    torsions, (periodic,) = distinct_torsions(force_field.torsions)
    polynomials = fourier_polynomials(periodic, force_field.torsion_parameters, len(torsions))
    products, repulsion, attraction = pair_coefficients(force_field)
    return {
        "bonds": force_field.bonds,
        "bond_parameters": force_field.bond_parameters,
        "angles": force_field.angles,
        "angle_parameters": force_field.angle_parameters,
        "torsions": torsions,
        "torsion_polynomials": np.stack(polynomials).transpose(2, 0, 1),
        "pair_tables": np.stack([COULOMB * products, repulsion, attraction]),
        "solvent": _solvent(force_field),
    }


def _solvent(force_field: ForceField) -> np.ndarray:
    """Return the operator's table of atoms; without a solvent, they neither screen nor are polarised."""
    solvent = force_field.solvent
    if solvent is None:
        nothing, one = np.zeros(force_field.n_atoms), np.ones(force_field.n_atoms)
        return np.stack([nothing, one, one, nothing, nothing])
    radii = solvent.radii, reduced_radii(solvent), screening_radii(solvent)
    return np.stack([solvent.charges, *radii, surface_energies(solvent)])
