import pytest
import torch

from backmap.ops import density_to_coordinates, reference

operator = torch.ops.backmap.density_to_coordinates.default
backward = torch.ops.backmap.density_to_coordinates_backward.default
WIDTH = 1.2
INF, NAN = float("inf"), float("nan")


def densities(batch=(2,), count=5, points=8, dtype=torch.float64, logits=False):
    """With some negative entries."""
    values = torch.rand(*batch, count, points, points, points, dtype=dtype) - 0.2
    return 10 * values if logits else values


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("points", [1, 2, 7, 8, 12, 16, 20])
def test_matches_reference(batch, points, dtype, logits):
    density = densities(batch, points=points, dtype=dtype, logits=logits).requires_grad_()
    exact = density.detach().double().requires_grad_()
    actual = operator(density, WIDTH, logits)
    expected = reference.density_to_coordinates(exact, WIDTH, logits)
    tolerance = {"rtol": 2e-6, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-13, "atol": 1e-14}
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a.double(), e, **tolerance)
    grad = torch.randn_like(expected[0])
    actual[0].backward(grad.to(dtype))
    expected[0].backward(grad)
    torch.testing.assert_close(density.grad.double(), exact.grad, **tolerance)


def test_no_density_is_the_centre():
    density = densities()
    density[0, 1], density[1, 3] = 0, -1
    density.requires_grad_()
    coordinates = density_to_coordinates(density, width=WIDTH)
    coordinates.sum().backward()
    for empty in ((0, 1), (1, 3)):
        assert not coordinates[empty].any() and not density.grad[empty].any()
    assert (coordinates != 0).any(-1).sum() == 8


def test_negative_entries_count_as_zero():
    density = densities()
    inside = density_to_coordinates(density, width=WIDTH)
    assert torch.equal(density_to_coordinates(density.clamp(min=0), width=WIDTH), inside)
    density.requires_grad_()
    density_to_coordinates(density, width=WIDTH).sum().backward()
    assert not density.grad[density < 0].any() and density.grad[density > 0].all()


def test_gradient_at_zero_is_that_from_above():
    """So that a density with zeros has the gradient of the plain quotient of sums."""
    density = densities().clamp(min=0).requires_grad_()
    density_to_coordinates(density, width=WIDTH).sum().backward()
    assert density.grad[density == 0].all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("points", [7, 12])
def test_stays_inside_the_grid(points, dtype):
    density = torch.randn(1000, points, points, points, dtype=dtype) ** 3
    single = torch.zeros_like(density)
    single.flatten(1)[torch.arange(1000), torch.randint(0, points**3, (1000,))] = torch.rand(
        1000, dtype=dtype
    )
    for values in (density, single, torch.finfo(dtype).tiny * single):
        assert density_to_coordinates(values, width=WIDTH).abs().max() <= WIDTH / 2


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_values_that_are_not_finite(value, dtype, logits):
    density = densities(dtype=dtype, logits=logits)
    expected = operator(density, WIDTH, logits)[0]
    density[1, 2, 3, 4, 5] = value
    density.requires_grad_()
    coordinates = operator(density, WIDTH, logits)[0]
    coordinates.sum().backward()
    others = torch.ones(2, 5, dtype=torch.bool)
    others[1, 2] = False
    assert torch.equal(coordinates[others], expected[others]) and density.grad[others].isfinite().all()
    if logits and value == value:  # a density of 0 or 1
        assert coordinates.isfinite().all() and density.grad.isfinite().all()
        assert density.grad[1, 2, 3, 4, 5] == 0
        limit = density.detach().clamp(-1000, 1000)
        torch.testing.assert_close(coordinates, operator(limit, WIDTH, logits)[0])
    else:
        assert coordinates[1, 2].isnan().all() and density.grad[1, 2].isnan().all()


@pytest.mark.parametrize("largest", [2e38, 1e35])
def test_sums_that_overflow(largest):
    """Of the weights, or of weight times coordinate alone."""
    density = torch.zeros(2, 16, 16, 16)
    density[0, -1] = largest
    density[1, 0, 0, 0] = 1
    coordinates = density_to_coordinates(density, width=WIDTH)
    assert coordinates[0].isnan().all() and (coordinates[1] == -WIDTH * 15 / 32).all()


def test_faint_logits():
    """The sigmoid keeps what is far below one part in the mantissa."""
    logits = torch.full((1, 4, 4, 4), -80.0)
    logits[0, 1, 2, 3] = -60
    expected = reference.density_to_coordinates(logits.double(), WIDTH, True)[0]
    torch.testing.assert_close(density_to_coordinates(logits, width=WIDTH, logits=True), expected.float())
    assert not density_to_coordinates(logits - 100, width=WIDTH, logits=True).any()


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("points", [5, 8])
def test_gradcheck(points, logits):
    density = (densities((), 2, points, logits=logits).abs() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: operator(d, WIDTH, logits)[0], density)


def test_second_derivative_is_refused():
    density = densities().requires_grad_()
    (grad,) = torch.autograd.grad(operator(density, WIDTH, False)[0].sum(), density, create_graph=True)
    with pytest.raises(RuntimeError, match="density_to_coordinates_backward"):
        grad.sum().backward()


@pytest.mark.parametrize("logits", [False, True])
def test_opcheck(logits):
    for density in (densities(points=4), densities(points=4).requires_grad_()):
        torch.library.opcheck(operator, (density, WIDTH, logits))
    density = densities(points=4)
    coordinates, total = operator(density, WIDTH, logits)
    grad = torch.rand_like(coordinates)
    torch.library.opcheck(backward, (grad, density, coordinates, total, WIDTH, logits))


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, dtype, logits):
    for points in (5, 8, 12, 16, 20):
        density = densities((3,), 50, points, dtype, logits).requires_grad_()
        on_gpu = density.detach().to(cuda).requires_grad_()
        actual, expected = (operator(d, WIDTH, logits) for d in (on_gpu, density))
        for a, e in zip(actual, expected, strict=True):
            torch.testing.assert_close(a.cpu(), e, rtol=1e-5, atol=1e-6)
        grad = torch.randn_like(expected[0])
        actual[0].backward(grad.to(cuda))
        expected[0].backward(grad)
        torch.testing.assert_close(on_gpu.grad.cpu(), density.grad, rtol=1e-4, atol=1e-5)


def test_rotation_translation():
    """A turn of the density by 90 degrees turns the positions; a shift by a voxel shifts them."""
    density = torch.nn.functional.pad(densities(points=6).clamp(min=0), (1, 1) * 3)
    x, y, z = density_to_coordinates(density, width=WIDTH).unbind(-1)
    turned = density_to_coordinates(density.transpose(-3, -2).flip(-3), width=WIDTH)  # x to y, y to -x
    torch.testing.assert_close(turned, torch.stack([-y, x, z], -1))
    shifted = density_to_coordinates(density.roll(1, -1), width=WIDTH)
    torch.testing.assert_close(shifted, torch.stack([x, y, z + WIDTH / 8], -1))


@pytest.mark.parametrize("batch", [(), (0,), (2, 0)])
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("points", [1, 8])
def test_empty_and_single(batch, count, points):
    density = densities(batch, count, points).requires_grad_()
    coordinates, total = operator(density, WIDTH, False)
    assert coordinates.shape == (*batch, count, 3) and total.shape == (*batch, count)
    coordinates.sum().backward()
    assert density.grad.shape == density.shape
    if points == 1:
        assert not coordinates.any()


@pytest.mark.parametrize("logits", [False, True])
def test_non_contiguous(scattered, logits):
    density = densities((2, 3))
    everything = torch.randn(2, 3, 9, 8, 8, 8, dtype=density.dtype)
    everything[..., 2:7, :, :, :] = density
    expected = operator(density, WIDTH, logits)
    grad = torch.randn_like(expected[0])
    for spread in (scattered(density), everything[..., 2:7, :, :, :]):
        for a, e in zip(operator(spread, WIDTH, logits), expected, strict=True):
            assert torch.equal(a, e)
        assert torch.equal(
            backward(scattered(grad), spread, scattered(expected[0]), scattered(expected[1]), WIDTH, logits),
            backward(grad, density, *expected, WIDTH, logits),
        )


def test_same_for_any_number_of_threads():
    density = densities((40,), 30, 12, torch.float32)
    before, threads = operator(density, WIDTH, True), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for a, b in zip(operator(density, WIDTH, True), before, strict=True):
            assert torch.equal(a, b)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"density": densities().half()}, TypeError, "density must have dtype float32 or float64, got"),
        ({"density": densities()[0, 0]}, ValueError, r"density must have shape .*, got \[8, 8, 8\]"),
        ({"density": densities()[..., 1:]}, ValueError, r"density must have shape .*, got \[2, 5, 8, 8, 7\]"),
        ({"density": torch.zeros(2, 0, 0, 0)}, ValueError, r"density must lie in \[1, 512\], got 0"),
        ({"width": 0.0}, ValueError, "width must be finite and more than 0 nm, got 0"),
        ({"width": NAN}, ValueError, "width must be finite and more than 0 nm, got nan"),
    ],
)  # fmt: skip
def test_bad_input(change, error, message):
    with pytest.raises(error, match=f"density_to_coordinates: {message}"):
        operator(**{"density": densities(), "width": WIDTH, "logits": False, **change})


@pytest.mark.parametrize("name", ["grad", "coordinates", "total"])
def test_bad_input_of_the_gradient(name):
    density = densities()
    coordinates, total = operator(density, WIDTH, False)
    good = {"grad": coordinates, "density": density, "coordinates": coordinates, "total": total}
    for change, error, message in [
        (lambda t: t.float(), TypeError, "must have dtype Double, got Float"),
        (lambda t: t[:1], ValueError, "must have shape"),
        (lambda t: t.to("meta"), ValueError, r"must be on the device of density \(cpu\), got meta"),
    ]:
        with pytest.raises(error, match=f"density_to_coordinates_backward: {name} {message}"):
            backward(**{**good, name: change(good[name])}, width=WIDTH, logits=False)


def test_torchscript():
    @torch.jit.script
    def centres(density, width: float, logits: bool):
        return torch.ops.backmap.density_to_coordinates(density, width, logits)

    density = densities()
    for a, b in zip(centres(density, WIDTH, True), operator(density, WIDTH, True), strict=True):
        assert torch.equal(a, b)


def test_compile():
    def loss(density):
        return density_to_coordinates(density, width=WIDTH, logits=True).square().sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=True)
    for batch in (2, 3):
        density = densities((batch,), points=4, logits=True).requires_grad_()
        torch.testing.assert_close(*(torch.autograd.grad(f(density), density)[0] for f in (compiled, loss)))


def test_export():
    class Centres(torch.nn.Module):
        def forward(self, density):
            return density_to_coordinates(density, width=WIDTH)

    batch = torch.export.Dim("batch", min=2, max=100)
    program = torch.export.export(Centres(), (densities((2,)),), dynamic_shapes=({0: batch},))
    density = densities((7,))
    assert torch.equal(program.module()(density), Centres()(density))


def test_memory(allocated):
    density = densities((8,), 20, 12, torch.float32)
    coordinates, total = operator(density, WIDTH, True)
    results = coordinates.nbytes + total.nbytes
    assert allocated(lambda: operator(density, WIDTH, True)) == results
    everything = torch.empty(8, 60, 12, 12, 12)
    assert allocated(lambda: operator(everything[:, 20:40], WIDTH, True)) == results
    gradient = (coordinates, density, coordinates, total, WIDTH, True)
    assert allocated(lambda: backward(*gradient)) == density.nbytes
