"""Operators in CUDA graphs, which record only what is on the current stream and never waits for the host."""

import pytest
import torch
from torch import Tensor

from .operators import OPERATORS

SIZES = (30, 4, 5, 6, 2, 7)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_replay_computes_with_new_values(cuda, operator):
    first, second = (
        operator.make((3,), torch.float64, **dict(zip(operator.sizes, SIZES, strict=False))) for _ in range(2)
    )
    recorded = {n: v.to(cuda) if isinstance(v, Tensor) else v for n, v in first.items()}
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        operator.evaluate(recorded)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = operator.evaluate(recorded)
    for name, value in second.items():
        if isinstance(value, Tensor):
            recorded[name].copy_(value)
    graph.replay()
    for actual, expected in zip(results, operator.evaluate(second), strict=True):
        torch.testing.assert_close(actual.cpu(), expected)
