"""Choice among places for a few atoms."""

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
    """Choose for every group of points, one group after another, the trial that overlaps least.

    The score of a trial is its penalty and the sum over its points and the atoms of residues other than the
    group's own, the one before and the one behind, of max(0, distance - d)^2. The trial of the lowest score
    is chosen, the first of equals, and its points take the places of their targets before the next group's
    turn.

    Parameters
    ----------
    atoms : Tensor (*, residues, atoms, 3), float32 or float64
        Coordinates in nm. Atoms that are not finite touch nothing. They are not changed.
    trials : Tensor (*, groups, trials, points, 3), dtype of `atoms`
        Coordinates of the points of each trial, in nm.
    penalty : Tensor (*, groups, trials), dtype of `atoms`
        What is added to the score of each trial, in nm^2; NaN for one that is not to be chosen.
    residue : Tensor (groups,), int64
        Residue that each group belongs to.
    target : Tensor (groups, points), int64
        Atom, residue * atoms + atom, that a chosen point takes the place of; -1 for none.
    distance : float
        Points farther from an atom do not overlap with it, in nm.
    box : Tensor (3, 3) or (*, 3, 3), dtype of `atoms`, optional
        Box vectors in nm as rows, of a periodic box in reduced form: (ax, 0, 0), (bx, by, 0), (cx, cy, cz)
        with |bx| and |cx| at most ax / 2 and |cy| at most by / 2, and ax, by, cz wider than twice `distance`.
        Distances are then those of nearest images. No box by default.

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
        the CPU only; on CUDA a target out of range is none.

    Notes
    -----
    No gradient. Frames are independent of each other, and the same arguments give the same result. CPU and
    CUDA sum in different orders, so they may choose differently between trials equal to the last digits.
    """
    return torch.ops.backmap.least_overlap(atoms, trials, penalty, residue, target, distance, box)
