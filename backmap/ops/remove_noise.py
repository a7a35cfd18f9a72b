"""Removal of noise from the points of residues, in all steps of a diffusion."""

import torch
from torch import Tensor
from torch.nn import functional


def in_panels(weight: Tensor) -> Tensor:
    """Arrange the weights of layers in panels of sixteen features, as :func:`remove_noise` reads them.

    Parameters
    ----------
    weight : Tensor (*, width, inputs)
        Weights as :class:`torch.nn.Linear` keeps them.

    Returns
    -------
    Tensor (*, panels, inputs, 16)
        Zero beyond the last feature.
    """
    together = 16  # here, because TorchScript does not read constants of modules
    panels = -(-weight.shape[-2] // together)
    padded = functional.pad(weight, [0, 0, 0, panels * together - weight.shape[-2]])
    return padded.unflatten(-2, [panels, together]).transpose(-1, -2).contiguous()


def remove_noise(
    given: Tensor,
    generated: Tensor,
    empty: Tensor,
    normals: Tensor,
    features: Tensor,
    modulation: Tensor,
    pairs: Tensor,
    atoms: Tensor,
    levels: Tensor,
    moves: Tensor,
    step_features: Tensor,
    step_modulation: Tensor,
    entry: Tensor,
    layers: Tensor,
    layer_bias: Tensor,
    leave: Tensor,
    leave_bias: Tensor,
    *,
    clip: float,
    furthest: float,
) -> Tensor:
    """Draw the points of residues by a diffusion, whose steps a network of perceptrons takes.

    The sample x begins as the given points and, for the generated ones, as the first random numbers. Level
    (signal, scale_in, skip, scale_out, variance, contact_scale) of a step scales it. With d the difference of
    two points of scale_in x, a pair (i < j) deviates from its mean distance by

        z = clamp((sqrt(d^2 + 1e-8) / (signal scale_in) - mean) / sqrt(pair variance + variance), furthest)

    times whether both points exist. Each atom a pushes the point c = contact_scale x by exp(-(a - c)^2 / 2)
    (a - c). The network reads scale_in x, all z, the sums of the pushes, and the sums of their weights:

        h = W x + features + step_features
        h = h + leave (silu((enter normalise(h)) (1 + scale) + shift))    for each layer
        (move, pull) = W h

    where scale and shift are the sums of both modulations. Pairs move their points by
    (pull + gain z) d, in opposite directions. The clean sample is skip x + scale_out move, 0 for empty
    points, within [-clip, clip]; the sample of the next step is

        moves[0] clean + moves[1] x + moves[2] normals

    for generated points; given ones stay.

    Parameters
    ----------
    given : Tensor (*, 3 P), float32 or float64
        Scaled coordinates of P points, x, y and z of each together.
    generated, empty : Tensor (*, P), bool
        Points to draw, and points whose clean coordinates are 0.
    normals : Tensor (*, steps, 3 P) or (*, 1, 3 P), dtype of `given`
        Random numbers for the start, then for each step except the last; or for the start only.
    features : Tensor (*, hidden), dtype of `given`
        What the first layer adds.
    modulation : Tensor (*, L, 2 hidden), dtype of `given`
        Scale and shift in each of L layers.
    pairs : Tensor (*, 4, P (P - 1) / 2), dtype of `given`
        Mean and variance of the distance, gain, and 1 where both points exist, 0 elsewhere. Pairs are in the
        order (0, 1), (0, 2), ..., (1, 2), ...
    atoms : Tensor (*, 3, A), dtype of `given`
        x, y and z of atoms around the points, in contact widths.
    levels, moves : Tensor (steps, 6) and (steps, 3), dtype of `given`
        Numbers of each step, in the order in which steps are taken.
    step_features, step_modulation : Tensor (steps, hidden) and (steps, L, 2 hidden), dtype of `given`
        What each step adds to `features` and `modulation`.
    entry, layers, leave : Tensor, dtype of `given`
        Weights in panels (:func:`in_panels`): (panels, 7 P + pairs, 16), (L, 2, panels, hidden, 16) of enter
        and leave, and (panels, hidden, 16).
    layer_bias, leave_bias : Tensor (L, 2, hidden) and (3 P + pairs,), dtype of `given`
        Biases; that of the first layer is part of `step_features`.
    clip, furthest : float
        Largest coordinate of the clean sample, and largest deviation.

    Returns
    -------
    Tensor (*, 3 P), dtype of `given`
        The sample after the last step.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    For inference: asking for a gradient is an error. On the CPU a residue gives the same result in every
    batch and for any number of threads. The weights of the noise level follow Karras et al., NeurIPS 2022;
    the steps are those of Ho, Jain and Abbeel, NeurIPS 2020, or of Song, Meng and Ermon, ICLR 2021.
    """
    return torch.ops.backmap.remove_noise(
        given,
        generated,
        empty,
        normals,
        features,
        modulation,
        pairs,
        atoms,
        levels,
        moves,
        step_features,
        step_modulation,
        entry,
        layers,
        layer_bias,
        leave,
        leave_bias,
        clip,
        furthest,
    )
