"""Logits of classes, from layers that depend on waves."""

import torch
from torch import Tensor


def wave_logits(context: Tensor, waves: Tensor, coefficients: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the logits of each draw of each site, in one pass.

    A draw depends on waves, such as sines and cosines of earlier angles:

        logits[d] = weight silu(context + sum over m of waves[d, m] coefficients[m]) + bias

    Parameters
    ----------
    context : Tensor (*, width), float32 or float64
        What all draws of a site have in common.
    waves : Tensor (*, draws, waves) or (draws, waves), dtype of `context`
        Waves of each draw.
    coefficients : Tensor (*, waves, width) or (waves, width), dtype of `context`
        What a wave adds to the context.
    weight, bias : Tensor (classes, width) and (classes,), dtype of `context`
        Last layer.

    Returns
    -------
    Tensor (*, draws, classes), dtype of `context`
        Logits.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape or device.

    Notes
    -----
    The operator is for inference: asking for a gradient is an error. Sites are independent of each other, and
    the same site gives the same result in every batch and for any number of threads.
    """
    return torch.ops.backmap.wave_logits(context, waves, coefficients, weight, bias)
