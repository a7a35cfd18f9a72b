"""Local points back on the atoms of a structure, where several may claim one atom."""

import torch
from torch import Tensor


def overlapping_placement(atoms: Tensor, frame: Tensor, local: Tensor, target: Tensor) -> Tensor:
    """Replace atoms by points given in local frames; on an atom that several points claim, the last counts.

    The inverse of `canonical_alignment` for models whose residues overlap: in DiAMoNDBack, residue i also
    places C and O of residue i - 1 and N of residue i + 1, and a residue built later overwrites. With the
    queries in the order of building, the value of the last query that writes an atom remains (within a query,
    that of the last slot). The result does not depend on the order of execution, on any device.

    Parameters
    ----------
    atoms : Tensor (*, residues, atoms, 3), float32 or float64
        Coordinates in nm, kept where nothing is placed.
    frame : Tensor (*, queries, 4, 3), dtype of `atoms`
        Unit vectors e1, e2, e3 and the origin (nm) of each frame, as rows.
    local : Tensor (*, queries, slots, 3), dtype of `atoms`
        Local coordinates in nm; a point without target is never read.
    target : Tensor (queries, slots), int64
        Atom that each point is placed on, as the flat index residue * atoms + atom; -1 for none. Shared by
        all frames. An index out of range is an error on the CPU; on CUDA such a point has no target.

    Returns
    -------
    Tensor (*, residues, atoms, 3)
        origin + x e1 + y e2 + z e3 of the last point on each atom, in nm; other atoms as given.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    Gradients flow once: to `atoms` where nothing is placed, to `frame` and `local` from the points that
    count, zero elsewhere. Beside the results, the operator and its backward each allocate 8 bytes an atom of
    one frame.

    References
    ----------
    Jones, Shmilovich, Ferguson: DiAMoNDBack, J. Chem. Theory Comput. 2023.
    """
    return torch.ops.backmap.overlapping_placement(atoms, frame, local, target)
