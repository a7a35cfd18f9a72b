"""Angles drawn along chains, each given the one before it."""

import torch
from torch import Tensor


def draw_angle_chains(
    context: Tensor,
    coefficients: Tensor,
    weight: Tensor,
    bias: Tensor,
    forms: Tensor,
    kinds: Tensor,
    table: Tensor,
    offsets: Tensor,
    chains: Tensor,
    uniforms: Tensor,
    *,
    known: Tensor | None = None,
) -> Tensor:
    """Draw angles along all chains by ancestral sampling.

    The logits of a residue's angle in equal classes of a turn, given the waves w = (1, cosine, sine) of the
    angle before, are

        weight silu(context + sum over m of w[m] coefficients[m]) + bias + offsets - penalty,

    with the penalty of :func:`joint_penalty` at the middles of the classes. The class is drawn by inversion
    of the cumulative distribution, and the angle is uniform in it. The angle before the first one counts as
    zero.

    Parameters
    ----------
    context : Tensor (*, residues, width), float32 or float64
        Features of each residue.
    coefficients : Tensor (*, residues, 3, width), dtype of `context`
        What the waves of the angle before add to them.
    weight, bias : Tensor (classes, width) and (classes,), dtype of `context`
        Last layer.
    forms, kinds, table : Tensor (*, residues, 3, quantities, 3), (*, residues) and (kinds, cells, cells)
        As for :func:`joint_penalty`.
    offsets : Tensor (*, residues, classes), dtype of `context`
        What is added to the logits.
    chains : Tensor (chains, longest), int64
        Residues of each chain in order, each in one chain at most. A chain ends before the first index that
        is out of range. The kernels are faster if chains are sorted by their lengths.
    uniforms : Tensor (*, samples, residues, 2), dtype of `context`
        Random numbers in [0, 1) for the class and for the position in it.
    known : Tensor (*, residues), dtype of `context`, optional
        Angles in radians that are not drawn; NaN for the others.

    Returns
    -------
    Tensor (*, samples, residues), dtype of `context`
        Angles in radians, in [-pi, pi]; zero outside the chains.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The result has no gradient. Each chain of each frame and sample gives the same angles, whatever else is
    drawn beside it and for any number of threads.
    """
    return torch.ops.backmap.draw_angle_chains(
        context,
        coefficients,
        weight,
        bias,
        forms,
        kinds,
        table,
        offsets,
        chains,
        uniforms,
        known,
    )
