"""The nearest residues of a residue in its own frame, and the network that reads them."""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

import backmap.ops  # noqa: F401  # registers the operators
from backmap.chemistry import NO_RESIDUE
from backmap.models.chain import Chain
from backmap.ops import FrameRule

MAX_SEQUENCE_OFFSET = 8
OFFSETS = 2 * MAX_SEQUENCE_OFFSET + 2
"""Classes of sequence offset: -8 (or further) ... 8 (or further) within the chain, and other chains."""


class Neighbourhood(NamedTuple):
    """Nearest residues of each of n sites.

    Attributes
    ----------
    positions : Tensor, (n, neighbours, points, 3)
        In the site's frame in nm.
    types : Tensor, (n, neighbours) uint8
        Residue types; ``NO_RESIDUE`` if there are fewer residues than neighbours.
    offsets : Tensor, (n, neighbours) uint8
        Classes of sequence offset.
    """

    positions: Tensor
    types: Tensor
    offsets: Tensor


def cut_neighbourhood(neighbourhood: Neighbourhood, first: int, last: int) -> Neighbourhood:
    """Return the sites from ``first`` up to ``last``."""
    return Neighbourhood(
        neighbourhood.positions[first:last],
        neighbourhood.types[first:last],
        neighbourhood.offsets[first:last],
    )


class NeighbourhoodEncoder(nn.Module):
    """Summarises a neighbourhood by a few attention queries that depend on the site.

    Parameters
    ----------
    points : int
        Points per neighbour.
    neighbours : int
        Number of neighbours.
    width : int
        Features per neighbour.
    queries : int
        Number of attention queries.
    own_width : int
        Number of features of the site.
    dropout : float
        Fraction of neighbours hidden in training, which prevents memorising structures.
    """

    no_residue: Final = NO_RESIDUE
    max_offset: Final = MAX_SEQUENCE_OFFSET
    frame_rule: Final = int(FrameRule.GRAM_SCHMIDT)

    def __init__(
        self, points: int, neighbours: int, width: int, queries: int, own_width: int, dropout: float
    ) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.queries = queries
        self.dropout = dropout
        self.position = nn.Linear(4 * points + 3, width)
        self.type_embedding = nn.Embedding(NO_RESIDUE + 1, width)
        self.offset_embedding = nn.Embedding(OFFSETS, width)
        self.inner = nn.Linear(width, width)
        self.query = nn.Linear(own_width, queries * width)

    def gather(
        self, points: Tensor, query: Tensor, triangle: Tensor, chain: Chain, box: Tensor | None = None
    ) -> tuple[Neighbourhood, Tensor]:
        """Find the residues nearest to each residue's query point, in that residue's frame.

        Parameters
        ----------
        points : Tensor, (frames, residues, points, 3)
            Points of each residue in nm, the C-alpha first; only the C-alpha determines the neighbours.
        query : Tensor, (frames, residues, 3)
            Query point of each residue.
        triangle : Tensor, (frames, residues, 3, 3)
            Three points that define each residue's frame (Gram-Schmidt, origin on the second).
        chain : Chain
            The sequence.
        box : Tensor, (frames, 3, 3), optional
            Periodic boxes; nearest images count.

        Returns
        -------
        Neighbourhood
            For frames x residues sites.
        Tensor, (frames, residues, 4, 3)
            Frames: three axes and the origin.
        """
        present = torch.ones(points.shape[1:3], dtype=torch.bool, device=points.device)
        selectable = torch.zeros_like(present)
        selectable[:, 0] = True
        own = torch.arange(chain.n_residues, device=points.device)
        # Call the operator directly: TorchScript cannot call functions with optional keywords.
        local, index, frame = torch.ops.backmap.canonical_alignment(
            points, present, selectable, query, triangle, own, self.neighbours, self.frame_rule, box
        )
        row = index.clamp_min(0)
        types = torch.where(index >= 0, chain.types[row], self.no_residue)
        steps = chain.steps_between(own[:, None], row)
        offset = steps.clamp(-self.max_offset, self.max_offset) + self.max_offset
        same_chain = chain.chain_index[row] == chain.chain_index[:, None]
        offsets = torch.where(same_chain, offset, 2 * self.max_offset + 1)
        return Neighbourhood(
            local.flatten(0, 1), types.flatten(0, 1).to(torch.uint8), offsets.flatten(0, 1).to(torch.uint8)
        ), frame

    def forward(self, neighbourhood: Neighbourhood, own: Tensor) -> Tensor:
        """Summarise neighbourhoods.

        Parameters
        ----------
        neighbourhood : Neighbourhood
            For n sites.
        own : Tensor, (n, own_width)
            Features of the sites.

        Returns
        -------
        Tensor, (n, queries * width)
        """
        query = self.query(own).unflatten(1, [self.queries, -1])
        if self.training or torch.is_grad_enabled() or own.is_cuda:
            return self._composed(neighbourhood, query).flatten(1)
        return torch.ops.backmap.encode_neighbourhood(
            neighbourhood.positions,
            neighbourhood.types,
            neighbourhood.offsets,
            query,
            self.position.weight,
            self.position.bias,
            self.type_embedding.weight,
            self.offset_embedding.weight,
            self.inner.weight,
            self.inner.bias,
        ).flatten(1)

    def _composed(self, neighbourhood: Neighbourhood, query: Tensor) -> Tensor:
        """Summarise neighbourhoods by operations that have gradients, which are also faster on a GPU."""
        types = neighbourhood.types.long()
        positions = neighbourhood.positions
        distance = torch.linalg.vector_norm(positions, dim=-1)
        direction = positions[:, :, 0] / distance[:, :, :1].clamp_min(0.05)
        numbers = torch.cat([positions.flatten(2), distance, direction], dim=-1)
        features = (
            self.position(numbers)
            + self.type_embedding(types)
            + self.offset_embedding(neighbourhood.offsets.long())
        )
        features = functional.silu(self.inner(functional.silu(features)))
        score = torch.matmul(query, features.transpose(1, 2)) * features.shape[-1] ** -0.5
        hidden = types == self.no_residue
        if self.training:
            hidden = hidden | (torch.rand(types.shape, device=types.device) < self.dropout)
        score = score.masked_fill(hidden[:, None, :], -1e4)
        return torch.matmul(torch.softmax(score, dim=-1), features)


class Trunk(nn.Module):
    """An input layer followed by residual layers."""

    def __init__(self, inputs: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.entry = nn.Linear(inputs, width)
        self.layers = nn.ModuleList([nn.Linear(width, width) for _ in range(layers)])

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (n, inputs) to (n, width)."""
        hidden = functional.silu(self.entry(inputs))
        for layer in self.layers:
            hidden = hidden + functional.silu(layer(self.dropout(hidden)))
        return self.dropout(hidden)
