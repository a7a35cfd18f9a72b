"""The energy of a molecule by a force field, with its gradient."""

import torch
from torch import Tensor


def molecular_mechanics(
    atoms: Tensor,
    bonds: Tensor,
    bond_parameters: Tensor,
    angles: Tensor,
    angle_parameters: Tensor,
    torsions: Tensor,
    torsion_polynomials: Tensor,
    pairs: Tensor,
    pair_parameters: Tensor,
    particles: Tensor,
    exclusion_start: Tensor,
    exclusions: Tensor,
    *,
    cutoff_nm: float = 0.9,
    dielectric: float = 16.0,
) -> tuple[Tensor, Tensor]:
    """Return the energy of bonds, angles, torsions and all pairs within a cutoff, and its gradient.

    Two atoms at the distance r have the energy ``S(r) (4 epsilon ((sigma / r)^12 - (sigma / r)^6) +
    k q q' / (dielectric r^2))`` with ``S(r) = (1 - (r / cutoff)^6)^2``: in place of a solvent, the
    dielectric constant grows with distance. Below 0.1 nm the energy is linear in r^2. It and its first
    derivative are continuous.

    Parameters
    ----------
    atoms : Tensor (*, atoms, 3), float32 or float64
        Coordinates in nm.
    bonds : Tensor (bonds, 2), int64
        Atoms of each bond. In all tables, an index out of range is an error on the CPU; on CUDA, where the
        check would synchronise, such a term counts as missing.
    bond_parameters : Tensor (bonds, 2), dtype of `atoms`
        Length in nm and force constant k in kJ/mol/nm^2 of k / 2 (r - length)^2.
    angles : Tensor (angles, 3), int64
        Atoms of each angle.
    angle_parameters : Tensor (angles, 2), dtype of `atoms`
        Angle in radians and force constant k in kJ/mol of k / 2 (theta - angle)^2.
    torsions : Tensor (torsions, 4), int64
        Atoms of each torsion.
    torsion_polynomials : Tensor (torsions, 2, terms), dtype of `atoms`
        Coefficients in kJ/mol, in ascending order, of P and Q of the energy P(cos phi) + sin(phi) Q(cos phi).
    pairs : Tensor (pairs, 2), int64
        Atoms of pairs with parameters of their own.
    pair_parameters : Tensor (pairs, 3), dtype of `atoms`
        Product of their charges in squared elementary charges, sigma in nm and epsilon in kJ/mol.
    particles : Tensor (atoms, 3), dtype of `atoms`
        Charge in elementary charges, sigma in nm and epsilon in kJ/mol of each atom; two atoms combine by the
        rules of Lorentz and Berthelot.
    exclusion_start : Tensor (atoms + 1,), int64
        Start of each atom's entries in `exclusions`, ascending from 0 to their number.
    exclusions : Tensor (exclusions,), int64
        For one atom after another, the atoms with which it does not interact as particles. If the list of i
        contains j, the list of j must contain i.
    cutoff_nm : float
        Cutoff of pairs, more than 0.1 nm.
    dielectric : float
        Dielectric constant at a distance of 1 nm. Of 2, 4, 8, 16 and 32, minima with 16 have the lowest
        energy in implicit solvent.

    Returns
    -------
    energy : Tensor (*)
        In kJ/mol. Its gradient flows to `atoms` only, to first order only.
    gradient : Tensor (*, atoms, 3)
        Gradient of each frame's energy in kJ/mol/nm, a constant for autograd.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value. The values of tensors are checked on the CPU
        only.

    Notes
    -----
    The energy and gradient of a frame with a coordinate that is not finite are NaN. Results are the same in
    every run, for any number of threads and whatever else is in the batch. On CUDA, where listed terms are
    summed in fixed point, contributions beyond 2.7e11 are cut off.
    """
    return torch.ops.backmap.molecular_mechanics(
        atoms,
        bonds,
        bond_parameters,
        angles,
        angle_parameters,
        torsions,
        torsion_polynomials,
        pairs,
        pair_parameters,
        particles,
        exclusion_start,
        exclusions,
        cutoff_nm,
        dielectric,
    )
