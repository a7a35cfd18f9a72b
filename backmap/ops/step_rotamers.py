"""Steps of side-chain torsions in time, each given the torsions before it in the side chain."""

import torch
from torch import Tensor


def step_rotamers(
    context: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    bias: Tensor,
    moves: Tensor,
    repeats: Tensor,
    leaps_only: Tensor,
    before: Tensor,
    rate: Tensor,
    window: Tensor,
    uniforms: Tensor,
    *,
    smoothing_passes: int,
) -> tuple[Tensor, Tensor]:
    """Move the torsions of side chains by one step in time.

    The distribution p of torsion c over equal bins of a turn depends on the torsions w[0] ... w[c - 1], which
    have moved already:

        h = silu(context[c] + sum over j < c of (cos(w[j]) C[c, 0, j] + sin(w[j]) C[c, 1, j]))
        p = softmax(h weight[c] + bias[c])

    with C the coefficients. Torsions that repeat have the mean of this and of itself half a turn on. Each
    torsion then moves as in :func:`backmap.ops.step_angle`; once one has left its basin, those after it are
    drawn anew.

    Parameters
    ----------
    context : Tensor (*, torsions, width), float32 or float64
        What a torsion depends on besides the torsions before it.
    coefficients : Tensor (torsions, 2, torsions, width), dtype of `context`
        What cosines and sines of torsions before it add; others are ignored.
    weight, bias : Tensor (torsions, width, bins) and (torsions, bins), dtype of `context`
        Last layers.
    moves : Tensor (*, torsions), bool
        Torsions that move; the others keep their values.
    repeats : Tensor (*, torsions), bool
        Torsions that repeat after half a turn.
    leaps_only : Tensor (*), bool
        Side chains of which torsions only change if they, or ones before them, leave their basins.
    before, rate : Tensor (*, torsions), dtype of `context`
        Torsions in radians, and rates of leaving times the interval.
    window : Tensor (*), dtype of `context`
        Width of the window in radians.
    uniforms : Tensor (*, torsions, 5), dtype of `context`
        Random numbers in [0, 1), as for :func:`backmap.ops.step_angle`.
    smoothing_passes : int
        As for :func:`backmap.ops.find_basins`.

    Returns
    -------
    Tensor (*, torsions), dtype of `context`
        Torsions after the step in radians.
    Tensor (*), int64
        The first torsion that left its basin; the number of torsions where none did.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The results have no gradient. Side chains are independent of each other, and the same side chain gives the
    same result in every batch and for any number of threads.
    """
    return torch.ops.backmap.step_rotamers(
        context,
        coefficients,
        weight,
        bias,
        moves,
        repeats,
        leaps_only,
        before,
        rate,
        window,
        uniforms,
        smoothing_passes,
    )
