import pytest
import torch

from backmap.models.protein.neighbourhood import OFFSETS, Neighbourhood, NeighbourhoodEncoder
from backmap.ops import encode_neighbourhood, reference
from tests.ops.operators import TYPES, neighbourhood

operator = torch.ops.backmap.encode_neighbourhood.default
NAMES = ["positions", "types", "offsets", "query", "position_weight", "position_bias", "type_embedding"]
NAMES += ["offset_embedding", "inner_weight", "inner_bias"]


def arguments(batch=(3,), neighbours=24, points=3, queries=4, width=112, dtype=torch.float32) -> list:
    return list(neighbourhood(batch, dtype, neighbours, points, queries, width).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"points": 1, "width": 96},
        {"batch": (2, 3), "neighbours": 7, "width": 21, "queries": 1},
        {"batch": (), "neighbours": 1, "width": 1, "points": 2},
        {"batch": (0,)},
    ],
    ids=str,
)
def test_matches_reference(sizes, dtype):
    args = arguments(**sizes, dtype=dtype)
    torch.testing.assert_close(operator(*args), reference.encode_neighbourhood(*args))


def test_matches_the_network_in_training():
    """What the model computes for inference is what it is trained with."""
    network = NeighbourhoodEncoder(3, 24, 40, 4, 10, dropout=0.0).eval()
    seen = Neighbourhood(
        torch.rand(50, 24, 3, 3) - 0.5,
        torch.randint(0, 21, (50, 24), dtype=torch.uint8),
        torch.randint(0, OFFSETS, (50, 24), dtype=torch.uint8),
    )
    own = torch.randn(50, 10)
    composed = network(seen, own)
    assert composed.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(network(seen, own), composed.detach())


def test_missing_neighbours_have_no_weight():
    args = arguments()
    args[1][:, 5:] = TYPES - 1
    args[1][:, :5] = 0
    fewer = [arg[:, :5] for arg in args[:3]] + args[3:]
    torch.testing.assert_close(operator(*args), operator(*fewer))
    args[1][:] = TYPES - 1  # all missing: the plain mean
    assert operator(*args).isfinite().all()


def test_activations_of_large_numbers():
    args = arguments(dtype=torch.float64)
    args[5] = torch.linspace(-1e3, 1e3, 112, dtype=torch.float64)
    torch.testing.assert_close(operator(*args), reference.encode_neighbourhood(*args))


def test_a_site_gives_the_same_in_every_batch():
    args = arguments(batch=(40,))
    together = operator(*args)
    for site in (0, 17, 39):
        alone = [arg[site : site + 1] if index < 4 else arg for index, arg in enumerate(args)]
        assert torch.equal(operator(*alone)[0], together[site])


def test_gradcheck():
    """There is no gradient, and asking for one is an error."""
    args = arguments()
    args[0].requires_grad_()
    with pytest.raises(RuntimeError, match="encode_neighbourhood"):
        operator(*args).sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, arguments(width=8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    for batch, width in (((1,), 112), ((3000,), 32)):
        args = arguments(batch=batch, width=width, dtype=dtype)
        torch.testing.assert_close(operator(*to_device(args, cuda)).cpu(), operator(*args))


def test_empty_and_single():
    assert operator(*arguments(batch=(0,))).shape == (0, 4, 112)
    assert operator(*arguments(queries=0)).shape == (3, 0, 112)
    assert operator(*arguments(batch=(1,), neighbours=1, points=1, queries=1, width=1)).isfinite().all()


def test_non_contiguous(scattered):
    args = arguments()
    assert torch.equal(operator(*map(scattered, args)), operator(*args))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"types": torch.zeros(3, 24, dtype=torch.int64)}, TypeError, "types must have dtype"),
        (
            {"types": torch.full((3, 24), 5, dtype=torch.uint8)},
            ValueError,
            "types must be less than the 5",
        ),
        (
            {"offsets": torch.full((3, 24), 4, dtype=torch.uint8)},
            ValueError,
            "must be less than the 4 rows",
        ),
        ({"positions": torch.zeros(3, 0, 3, 3)}, ValueError, "at least 1 neighbour and 1 point"),
        ({"query": torch.zeros(3, 4, 111)}, ValueError, "query must have shape"),
        ({"query": torch.zeros(3, 4, 112).double()}, TypeError, "query must have dtype"),
        ({"inner_weight": torch.zeros(112, 111)}, ValueError, "inner_weight must have shape"),
        ({"position_weight": torch.zeros(112, 14)}, ValueError, "position_weight must have shape"),
        ({"type_embedding": torch.zeros(0, 112)}, ValueError, "type_embedding must have at least 1 row"),
        ({"inner_bias": torch.zeros(112, device="meta")}, ValueError, "inner_bias must be on the device"),
    ],
)
def test_bad_input(changes, error, message):
    args = dict(zip(NAMES, arguments(), strict=True)) | changes
    with pytest.raises(error, match=f"encode_neighbourhood: .*{message}"):
        operator(*args.values())


def test_torchscript():
    @torch.jit.script
    def encode(
        positions: torch.Tensor,
        types: torch.Tensor,
        offsets: torch.Tensor,
        query: torch.Tensor,
        weights: list[torch.Tensor],
    ) -> torch.Tensor:
        first, bias, kinds, steps, inner, inner_bias = weights
        return torch.ops.backmap.encode_neighbourhood(
            positions, types, offsets, query, first, bias, kinds, steps, inner, inner_bias
        )

    args = arguments()
    named = dict(zip(NAMES[4:], args[4:], strict=True))
    expected = encode_neighbourhood(*args[:4], **named)
    assert torch.equal(encode(*args[:4], args[4:]), expected)
