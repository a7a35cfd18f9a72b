"""Langevin dynamics of a molecule in implicit solvent, with bonds of fixed length."""

import torch
from torch import Tensor


def langevin_dynamics(
    atoms: Tensor,
    velocities: Tensor,
    normals: Tensor,
    inverse_masses: Tensor,
    bonds: Tensor,
    bond_parameters: Tensor,
    angles: Tensor,
    angle_parameters: Tensor,
    torsions: Tensor,
    torsion_polynomials: Tensor,
    pair_tables: Tensor,
    solvent: Tensor,
    constraints: Tensor,
    constraint_lengths: Tensor,
    *,
    polarisation: float,
    step_ps: float,
    friction_per_ps: float,
    kt: float,
    largest_move_nm: float,
    iterations: int = 10,
) -> tuple[Tensor, Tensor, Tensor]:
    """Move frames by all steps of a short simulation, and return the energy at its end.

    The energy is that of bonds, angles and torsions as in :func:`backmap.ops.molecular_mechanics`, and of all
    pairs of atoms without a cutoff: Q / r + A / r^12 - B / r^6, and the polarisation and surface terms of the
    generalised Born model OBC2 (Onufriev, Bashford and Case, Proteins 55, 383 (2004)). Below 0.001 nm, pairs
    have the energy of that distance.

    The integrator is the leapfrog middle scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056): forces
    change the velocities, by which atoms move half a step; friction and random numbers change them, and atoms
    move the other half. The displacement of an atom by the forces of one step is limited. Constraints are
    restored by SHAKE (Ryckaert, Ciccotti and Berendsen, J. Comput. Phys. 1977, 23, 327) and RATTLE (Andersen,
    J. Comput. Phys. 1983, 52, 24), all pairs at once, `iterations` times.

    Parameters
    ----------
    atoms : Tensor (*, atoms, 3), float32 or float64
        Coordinates in nm.
    velocities : Tensor (*, atoms, 3), dtype of `atoms`
        In nm/ps; those of atoms that do not move count as zero.
    normals : Tensor (*, steps, atoms, 3), dtype of `atoms`
        Normal random numbers of each step. Without steps, only the energy is computed.
    inverse_masses : Tensor (atoms,), dtype of `atoms`
        In 1/Da; 0 for an atom that does not move.
    bonds, angles, torsions : Tensor (terms, 2), (terms, 3) and (terms, 4), int64
        Atoms of each term. In all tables, an index out of range is an error on the CPU; on CUDA, where the
        check would synchronise, such a term counts as missing.
    bond_parameters, angle_parameters : Tensor (terms, 2), dtype of `atoms`
        Length in nm or angle in radians, and force constant in kJ/mol per unit squared.
    torsion_polynomials : Tensor (torsions, 2, terms), dtype of `atoms`
        Coefficients in kJ/mol, in ascending order, of P and Q of the energy P(cos phi) + sin(phi) Q(cos phi).
    pair_tables : Tensor (3, atoms, atoms), dtype of `atoms`
        Q in kJ/mol nm, A in kJ/mol nm^12 and B in kJ/mol nm^6 of each pair; symmetric.
    solvent : Tensor (5, atoms), dtype of `atoms`
        Of each atom its charge in the solvent in elementary charges, its radius, reduced radius and screening
        radius in nm, and its surface energy times the sixth power of its Born radius in kJ/mol nm^6.
    constraints : Tensor (constraints, 2), int64
        Pairs of atoms at fixed distances. One whose atoms do not move changes nothing.
    constraint_lengths : Tensor (constraints,), dtype of `atoms`
        Their distances in nm.
    polarisation : float
        -k (1 / solute - 1 / solvent) in kJ/mol nm, with Coulomb's constant k and both permittivities.
    step_ps, friction_per_ps, kt, largest_move_nm : float
        Time step, friction, temperature in kJ/mol, and largest displacement by forces in a step.
    iterations : int
        Corrections of the constraints each time.

    Returns
    -------
    atoms : Tensor (*, atoms, 3), dtype of `atoms`
        Atoms that do not move are unchanged, bit for bit.
    velocities : Tensor (*, atoms, 3), dtype of `atoms`
        With them, a simulation continues as if there had been no break.
    energy : Tensor (*)
        Of these atoms, in kJ/mol.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    There is no gradient, and asking for one is an error. A frame gives the same result in every batch, in
    every run and for any number of threads.
    """
    return torch.ops.backmap.langevin_dynamics(
        atoms,
        velocities,
        normals,
        inverse_masses,
        bonds,
        bond_parameters,
        angles,
        angle_parameters,
        torsions,
        torsion_polynomials,
        pair_tables,
        solvent,
        constraints,
        constraint_lengths,
        polarisation,
        step_ps,
        friction_per_ps,
        kt,
        largest_move_nm,
        iterations,
    )
