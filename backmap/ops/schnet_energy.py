"""The energy of beads by a network of tabulated filters, with its gradient."""

import torch
from torch import Tensor


def schnet_energy(
    beads: Tensor,
    features: Tensor,
    filters: Tensor,
    incoming: Tensor,
    mixing: Tensor,
    mixing_bias: Tensor,
    outgoing: Tensor,
    outgoing_bias: Tensor,
    readout: Tensor,
    readout_bias: Tensor,
    readout_weights: Tensor,
    *,
    cutoff_nm: float,
) -> tuple[Tensor, Tensor]:
    """Return the energy of beads by SchNet, and its gradient.

    With ``s(x) = log((1 + exp(x)) / 2)``, each block adds to the features h of every bead i

    ``outgoing s(mixing g_i + mixing_bias) + outgoing_bias``, where ``g_i = sum_j F(r_ij) * (incoming h_j)``

    sums over the beads j nearer than the cutoff, and the filters F are cubic polynomials between knots
    (Hermite interpolation). Distances are ``r = sqrt(d^2 + 1e-8 nm^2)``. The energy is the sum over beads of
    ``readout_weights . s(readout h_i + readout_bias)``. (Schütt et al., J. Chem. Phys. 148, 241722, 2018.)

    Parameters
    ----------
    beads : Tensor (*, beads, 3), float32 or float64
        Coordinates in nm.
    features : Tensor (beads, width), dtype of `beads`
        Features of each bead before the first block.
    filters : Tensor (blocks, knots, 2, width), dtype of `beads`
        Values of the filters of each block, and their derivatives by the distance in 1/nm, at two or more
        equally spaced distances from zero to the cutoff.
    incoming, mixing, outgoing : Tensor (blocks, width, width), dtype of `beads`
        Weights of the layers, one row per output.
    mixing_bias, outgoing_bias : Tensor (blocks, width), dtype of `beads`
        What is added to their outputs.
    readout : Tensor (hidden, width), dtype of `beads`
        Weights of the layer that reads the energy out.
    readout_bias, readout_weights : Tensor (hidden,), dtype of `beads`
        What is added to its outputs, and the share of each in the energy.
    cutoff_nm : float
        Beads farther apart do not interact. Filters should vanish there with their derivatives.

    Returns
    -------
    energy : Tensor (*)
        In the unit of `readout_weights`.
    gradient : Tensor (*, beads, 3)
        Gradient of each frame's energy, per nm: the exact derivative of the interpolated filters.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    The results have no gradient themselves. The energy and gradient of a frame with a coordinate that is not
    finite are NaN. Results are the same in every run, for any number of threads and whatever else is in the
    batch.
    """
    return torch.ops.backmap.schnet_energy(
        beads,
        features,
        filters,
        incoming,
        mixing,
        mixing_bias,
        outgoing,
        outgoing_bias,
        readout,
        readout_bias,
        readout_weights,
        cutoff_nm,
    )
