"""A smooth penalty on bond lengths, bond angles and overlaps."""

import torch
from torch import Tensor


def structure_penalty(
    atoms: Tensor,
    bonds: Tensor,
    bond_lengths: Tensor,
    angle_ends: Tensor,
    angle_spans: Tensor,
    radii: Tensor,
    exclusion_start: Tensor,
    exclusions: Tensor,
    *,
    present: Tensor | None = None,
    box: Tensor | None = None,
    bond_kt_per_nm2: float = 20_000.0,
    angle_kt_per_nm2: float = 5_000.0,
    repulsion_kt_per_nm2: float = 5_000.0,
    radius_scale: float = 1.0,
) -> Tensor:
    """Return energies that favour good bonds, good angles and no overlaps.

    Bonds and angles have the energy ``k (d - d0)^2``, where d for an angle is the distance between its outer
    atoms. The repulsion of pairs of atoms that are not excluded is
    ``k max(0, scale (radius_i + radius_j) - d)^2``. Every term and its first derivative are continuous,
    except at distance zero.

    Parameters
    ----------
    atoms : Tensor (*, residues, atoms, 3), float32 or float64
        Coordinates in nm; atoms that are not present are never read.
    bonds : Tensor (bonds, 2), int64
        Bonded atoms as flat indices residue * atoms + atom. An index out of range is an error on the CPU; on
        CUDA, where the check would synchronise, such a pair counts as missing.
    bond_lengths : Tensor (bonds,) or (*, bonds), dtype of `atoms`
        Length of zero energy of each bond, in nm.
    angle_ends : Tensor (angles, 2), int64
        Outer atoms of each bond angle, as for `bonds`.
    angle_spans : Tensor (angles,) or (*, angles), dtype of `atoms`
        Distance of zero energy of the outer atoms, in nm.
    radii : Tensor (residues, atoms), dtype of `atoms`
        Radius of each atom in nm, finite and not negative.
    exclusion_start : Tensor (residues * atoms + 1,), int64
        Start of each atom's entries in `exclusions`, ascending from 0 to their number.
    exclusions : Tensor (exclusions,), int64
        For one atom after another, the flat indices of the atoms it does not repel. If the list of i contains
        j, the list of j must contain i; :func:`backmap.chemistry.penalty_terms` creates such lists.
    present : Tensor (*, residues, atoms) or (residues, atoms), bool, optional
        Atoms that exist; all by default.
    box : Tensor (3, 3) or (*, 3, 3), dtype of `atoms`, optional
        Box vectors in nm as rows, of a periodic box in reduced form as in :func:`structure_score`. All
        distances are then between nearest images; ax, by and cz must exceed twice the largest contact.
    bond_kt_per_nm2, angle_kt_per_nm2, repulsion_kt_per_nm2 : float
        Stiffness k of each term, in kT / nm^2.
    radius_scale : float
        Factor on all radii.

    Returns
    -------
    Tensor (*, 3)
        Energy of bonds, angles and repulsion in kT. Gradients flow to `atoms` only, to first order only.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value. The values of tensors are checked on the CPU
        only.

    Notes
    -----
    An atom whose coordinates are not finite repels nothing; its bonds and angles make the energy of their
    term and the gradients of their atoms not finite. Coinciding atoms exert no force on each other. Results
    and gradients are the same in every run, and on the CPU for any number of threads. On CUDA atoms with a
    negative or infinite radius repel nothing, and a box that the CPU would reject gives wrong distances.

    Examples
    --------
    >>> import numpy, torch
    >>> from backmap import Topology
    >>> from backmap.chemistry import penalty_terms
    >>> topology = Topology.from_sequences("ACDEFG")
    >>> atoms = torch.randn(6, 15, 3, requires_grad=True)

    >>> terms = penalty_terms(topology, dtype=numpy.float32)
    >>> penalty = structure_penalty(atoms, **{name: torch.from_numpy(term) for name, term in terms.items()})
    >>> penalty.sum().backward()
    """
    if present is None:
        present = torch.ones(atoms.shape[-3:-1], dtype=torch.bool, device=atoms.device)
    return torch.ops.backmap.structure_penalty(
        atoms,
        present,
        bonds,
        bond_lengths,
        angle_ends,
        angle_spans,
        radii,
        exclusion_start,
        exclusions,
        bond_kt_per_nm2,
        angle_kt_per_nm2,
        repulsion_kt_per_nm2,
        radius_scale,
        box,
    )
