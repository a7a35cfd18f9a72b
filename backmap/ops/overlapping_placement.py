"""Placement of local points on the atoms of a structure, where several points may share an atom."""

import torch
from torch import Tensor


def overlapping_placement(atoms: Tensor, frame: Tensor, local: Tensor, target: Tensor) -> Tensor:
    """Replace atoms by points given in local frames; of several points on one atom, the last counts.

    The inverse of `canonical_alignment` for models whose residues overlap: in DiAMoNDBack, residue i also
    places C and O of residue i - 1 and N of residue i + 1, and residues built later overwrite earlier ones.
    With the queries in building order, the last query that writes an atom determines its position (within a
    query, the last slot does). The result does not depend on the order of execution on any device.

    Parameters
    ----------
    atoms : Tensor (*, residues, atoms, 3), float32 or float64
        Coordinates in nm; unchanged where nothing is placed.
    frame : Tensor (*, queries, 4, 3), dtype of `atoms`
        Unit vectors e1, e2, e3 and the origin (nm) of each frame, as rows.
    local : Tensor (*, queries, slots, 3), dtype of `atoms`
        Local coordinates in nm; points without a target are never read.
    target : Tensor (queries, slots), int64
        Atom on which each point is placed, as the flat index residue * atoms + atom; -1 for none. Shared by
        all frames. An index out of range is an error on the CPU; on CUDA it is ignored.

    Returns
    -------
    Tensor (*, residues, atoms, 3)
        origin + x e1 + y e2 + z e3 of the last point on each atom, in nm; other atoms are unchanged.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    Gradients flow to first order only: to `atoms` where nothing is placed, and to `frame` and `local` from
    the points that count; they are zero elsewhere. In addition to the results, the operator and its backward
    pass each allocate 8 bytes per atom of one frame.

    References
    ----------
    Jones, Shmilovich, Ferguson: DiAMoNDBack, J. Chem. Theory Comput. 2023.
    """
    return torch.ops.backmap.overlapping_placement(atoms, frame, local, target)
