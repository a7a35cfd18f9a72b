"""Penalties on angles along a chain, for what lies between an angle and the one before it."""

import torch
from torch import Tensor


def joint_penalty(
    forms: Tensor, kinds: Tensor, table: Tensor, cosine: Tensor, sine: Tensor, waves: Tensor
) -> Tensor:
    """Compute the penalty of each angle after each of several angles before it.

    A joint has quantities q that depend on both angles. With the waves w = (1, cosine, sine) of an angle,

        q = sum over m and n of w[m](before) forms[m, q, n] w[n](own).

    The first quantity is a strain, the next two are proportional to the sines of two torsions and the two
    after them to their cosines, and any others are strains too. The penalty is

        table[kind, row, column] + sum over strains of strain^2 / 2,

    where row and column are the cells of both torsions among equal parts of a turn from -pi. A torsion whose
    sine and cosine are zero counts as zero.

    Parameters
    ----------
    forms : Tensor (*, 3, quantities, 3), dtype of `cosine`
        Coefficients of five quantities or more.
    kinds : Tensor (*), int64
        Row of the table.
    table : Tensor (kinds, cells, cells), dtype of `cosine`
        Penalties of two torsions.
    cosine, sine : Tensor (*, previous), float32 or float64
        Waves of the angles before.
    waves : Tensor (3, angles), dtype of `cosine`
        Ones, cosines and sines of the own angles.

    Returns
    -------
    Tensor (*, previous, angles), dtype of `cosine`

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The operator is for inference: asking for a gradient is an error. Torsions are accurate to 2e-8 of a turn,
    so that one at the border of two cells may be in either. Joints are independent of each other.
    """
    return torch.ops.backmap.joint_penalty(forms, kinds, table, cosine, sine, waves)
