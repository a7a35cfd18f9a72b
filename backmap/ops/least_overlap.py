"""Choice among trial positions for a few atoms."""

import torch
from torch import Tensor


def least_overlap(
    atoms: Tensor,
    trials: Tensor,
    penalty: Tensor,
    residue: Tensor,
    target: Tensor,
    *,
    distance: float,
    box: Tensor | None = None,
) -> Tensor:
    """Choose, for one group of points after another, the trial with the least overlap.

    The score of a trial is its penalty plus the sum of max(0, distance - d)^2 over its points and all atoms,
    except those of the group's own residue and the residues before and after it. The trial with the lowest
    score is chosen (the first of equals), and its points replace their target atoms before the next group is
    scored.

    Parameters
    ----------
    atoms : Tensor (*, residues, atoms, 3), float32 or float64
        Coordinates in nm. Atoms that are not finite overlap with nothing. The tensor is not modified.
    trials : Tensor (*, groups, trials, points, 3), dtype of `atoms`
        Coordinates of the points of each trial, in nm.
    penalty : Tensor (*, groups, trials), dtype of `atoms`
        Added to the score of each trial, in nm^2; NaN for trials that must not be chosen.
    residue : Tensor (groups,), int64
        Residue to which each group belongs.
    target : Tensor (groups, points), int64
        Atom that a chosen point replaces, as residue * atoms + atom; -1 for none.
    distance : float
        Distance in nm beyond which points and atoms do not overlap.
    box : Tensor (3, 3) or (*, 3, 3), dtype of `atoms`, optional
        Box vectors in nm as rows, of a periodic box in reduced form: (ax, 0, 0), (bx, by, 0), (cx, cy, cz)
        with |bx| and |cx| at most ax / 2 and |cy| at most by / 2, and ax, by, cz wider than twice `distance`.
        Distances are then between nearest images. No box by default.

    Returns
    -------
    Tensor (*, groups), int64
        The trial chosen for each group.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value. The values of `target` and `box` are checked on
        the CPU only; on CUDA a target out of range is ignored.

    Notes
    -----
    The result has no gradient. Frames are independent of each other, and the same arguments give the same
    result. CPU and CUDA sum in different orders, so they may choose differently between nearly equal trials.
    """
    return torch.ops.backmap.least_overlap(atoms, trials, penalty, residue, target, distance, box)
