"""The energy of beads by the prior of a coarse-grained force field, with its gradient."""

import torch
from torch import Tensor


def bead_prior(
    beads: Tensor,
    bonds: Tensor,
    bond_parameters: Tensor,
    angles: Tensor,
    angle_parameters: Tensor,
    torsions: Tensor,
    torsion_polynomials: Tensor,
    centres: Tensor,
    centre_parameters: Tensor,
    pairs: Tensor,
    sigma: Tensor,
    *,
    kt: float,
) -> tuple[Tensor, Tensor]:
    """Return the energy of bonds, angles, torsions, handedness and repulsion, and its gradient.

    Parameters
    ----------
    beads : Tensor (*, beads, 3), float32 or float64
        Coordinates in nm.
    bonds : Tensor (bonds, 2), int64
        Beads of each bond. In all tables, an index out of range is an error on the CPU; on CUDA, where the
        check would synchronise, such a term counts as missing.
    bond_parameters : Tensor (bonds, 2), dtype of `beads`
        Length in nm and force constant k in kJ/mol/nm^2 of k / 2 (r - length)^2.
    angles : Tensor (angles, 3), int64
        Beads of each angle.
    angle_parameters : Tensor (angles, 2), dtype of `beads`
        Angle in radians and force constant k in kJ/mol of k / 2 (theta - angle)^2.
    torsions : Tensor (torsions, 4), int64
        Beads of each torsion.
    torsion_polynomials : Tensor (torsions, 2, terms), dtype of `beads`
        Coefficients in kJ/mol, in ascending order, of P and Q of the energy P(cos phi) + sin(phi) Q(cos phi).
    centres : Tensor (centres, 4), int64
        A bead and three others, u, v and w away from it.
    centre_parameters : Tensor (centres, 2), dtype of `beads`
        Handedness and force constant k in kJ/mol of k / 2 (chi - handedness)^2, where chi is the triple
        product of the unit vectors along u, v and w.
    pairs : Tensor (pairs, 2), int64
        Beads that repel each other.
    sigma : Tensor (pairs,), dtype of `beads`
        In nm, of the energy kt (sigma / r)^12.
    kt : float
        Thermal energy in kJ/mol.

    Returns
    -------
    energy : Tensor (*)
        In kJ/mol.
    gradient : Tensor (*, beads, 3)
        Gradient of each frame's energy in kJ/mol/nm.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value. The values of tensors are checked on the CPU
        only.

    Notes
    -----
    The results have no gradient themselves. Except in angles and torsions, 1e-8 nm^2 is added to squared
    distances. The energy and gradient of a frame with a coordinate that is not finite are NaN. Results are
    the same in every run, for any number of threads and whatever else is in the batch. On CUDA, where terms
    are summed in fixed point, contributions beyond 2.7e11 are cut off.
    """
    return torch.ops.backmap.bead_prior(
        beads,
        bonds,
        bond_parameters,
        angles,
        angle_parameters,
        torsions,
        torsion_polynomials,
        centres,
        centre_parameters,
        pairs,
        sigma,
        kt,
    )
