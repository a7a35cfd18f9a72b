"""A network over the nearest neighbours of many sites, in one pass."""

import torch
from torch import Tensor


def encode_neighbourhood(
    positions: Tensor,
    types: Tensor,
    offsets: Tensor,
    query: Tensor,
    *,
    position_weight: Tensor,
    position_bias: Tensor,
    type_embedding: Tensor,
    offset_embedding: Tensor,
    inner_weight: Tensor,
    inner_bias: Tensor,
) -> Tensor:
    """Summarise the neighbours of each site by attention.

    A neighbour is described by the positions of its points, their distances from the origin, and the
    direction of the first one. Two layers, the first with embeddings of its type and offset added, turn this
    into features; each query then takes their mean, weighted by the softmax of its products with them.
    :func:`backmap.ops.reference.encode_neighbourhood` has the equations.

    Parameters
    ----------
    positions : Tensor (*, neighbours, points, 3), float32 or float64
        In the frames of the sites, in nm; at least one neighbour and one point.
    types : Tensor (*, neighbours), uint8
        Row of each neighbour in `type_embedding`. The last row stands for no neighbour, which has no weight
        beside others.
    offsets : Tensor (*, neighbours), uint8
        Row of each neighbour in `offset_embedding`.
    query : Tensor (*, queries, width), dtype of `positions`
        Attention queries of each site.
    position_weight, position_bias : Tensor (width, 4 points + 3) and (width,), dtype of `positions`
        First layer.
    type_embedding, offset_embedding : Tensor (rows, width), dtype of `positions`
        Added before the activation of the first layer.
    inner_weight, inner_bias : Tensor (width, width) and (width,), dtype of `positions`
        Second layer.

    Returns
    -------
    Tensor (*, queries, width), dtype of `positions`
        Mean features under each query.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value. The values of `types` and `offsets` are checked
        on the CPU only; on CUDA those out of range count as the last row.

    Notes
    -----
    The operator is for inference: asking for a gradient is an error. Sites are independent of each other, and
    the same site gives the same result in every batch and for any number of threads.
    """
    return torch.ops.backmap.encode_neighbourhood(
        positions,
        types,
        offsets,
        query,
        position_weight,
        position_bias,
        type_embedding,
        offset_embedding,
        inner_weight,
        inner_bias,
    )
