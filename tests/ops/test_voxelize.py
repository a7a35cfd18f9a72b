import math

import pytest
import torch

from backmap.ops import density_to_coordinates, reference, voxelize

operator = torch.ops.backmap.voxelize.default
into = torch.ops.backmap.voxelize_into.default
WIDTH, SIGMA = 1.2, 0.15


def particles(batch=(2,), count=5, dtype=torch.float64):
    return (torch.rand(*batch, count, 3, dtype=dtype) - 0.5) * WIDTH


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("grid_points", [1, 2, 7, 8, 12, 16, 20])
def test_matches_reference(batch, grid_points, dtype):
    x = particles(batch, dtype=dtype).requires_grad_()
    exact = x.detach().double().requires_grad_()
    actual = operator(x, grid_points, WIDTH, SIGMA)
    expected = reference.voxelize(exact, grid_points, WIDTH, SIGMA)
    tolerance = {"rtol": 0, "atol": 2e-6 if dtype == torch.float32 else 1e-14}
    torch.testing.assert_close(actual.double(), expected, **tolerance)
    grad = torch.randn_like(expected)
    actual.backward(grad.to(dtype))
    expected.backward(grad)
    tolerance = {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-11, "atol": 1e-11}
    torch.testing.assert_close(x.grad.double(), exact.grad, **tolerance)


@pytest.mark.parametrize("sigma", [0.01, 0.0707, 1.0, 100.0])
def test_narrow_and_wide(sigma):
    x = particles()
    torch.testing.assert_close(
        operator(x, 12, WIDTH, sigma), reference.voxelize(x, 12, WIDTH, sigma), rtol=1e-12, atol=1e-100
    )


def test_axes_are_x_y_z():
    x = torch.tensor([[0.45, -0.15, 0.15]])  # voxel centres at -0.45, -0.15, 0.15, 0.45
    peak = operator(x, 4, WIDTH, SIGMA)[0].flatten().argmax()
    assert peak == (3 * 4 + 1) * 4 + 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_that_are_not_finite(dtype):
    x = particles((), 6, dtype)
    expected = operator(x, 8, WIDTH, SIGMA)
    inf, nan = float("inf"), float("nan")
    x[0, 1], x[1, 2], x[2, 0], x[3, 0] = nan, inf, -inf, 1e30
    x.requires_grad_()
    density = operator(x, 8, WIDTH, SIGMA)
    density.sum().backward()
    assert density[0].isnan().all() and x.grad[0].isnan().all()
    assert not density[1:4].any() and not x.grad[1:4].any()
    assert torch.equal(density[4:], expected[4:]) and x.grad[4:].isfinite().all()


@pytest.mark.parametrize("dtype, sigmas", [(torch.float32, 7.7), (torch.float64, 22.0)])
def test_no_subnormal_numbers(dtype, sigmas):
    x = torch.linspace(0, 3 * sigmas, 50, dtype=dtype).unsqueeze(-1).repeat(1, 3)
    density = operator(x, 8, 8.0, 1.0)
    assert (density > 0).any() and not density[-1].any()
    assert density[density > 0].min() >= torch.finfo(dtype).tiny


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("grid_points", [5, 8])
def test_gradcheck(batch, grid_points):
    x = particles(batch, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: operator(x, grid_points, WIDTH, SIGMA), x)


def test_gradient_of_a_channel_slice():
    """The gradient of a slice of a larger tensor is read in place, and of an expanded one too."""
    x = particles((2, 3)).requires_grad_()
    everything = torch.randn(2, 3, 9, 8, 8, 8, dtype=x.dtype)
    one = everything[:1, :1, 2:7]
    shared, turned, constant = one.expand(2, 3, 5, 8, 8, 8), everything.mT[:, :, 2:7], one[..., :1, :1, :1]
    for grad in (everything[:, :, 2:7], shared, turned, constant.expand(2, 3, 5, 8, 8, 8)):
        slices, copies = (
            torch.autograd.grad(operator(x, 8, WIDTH, SIGMA), x, g) for g in (grad, grad.contiguous())
        )
        assert torch.equal(slices[0], copies[0])


def test_second_derivative_is_refused():
    x = particles().requires_grad_()
    (grad,) = torch.autograd.grad(operator(x, 4, WIDTH, SIGMA).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="voxelize_backward"):
        grad.sum().backward()


# ---- Into a caller's tensor --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (2, 1, 2)])
@pytest.mark.parametrize("grid_points", [5, 12])
def test_out_is_a_slice(batch, grid_points, dtype):
    everything = torch.full((*batch, 11, *[grid_points] * 3), 7.0, dtype=dtype)
    x = particles(batch, dtype=dtype)
    out = everything[..., 4:9, :, :, :]
    assert voxelize(x, width=WIDTH, sigma=SIGMA, out=out) is out
    assert torch.equal(out, voxelize(x, grid_points=grid_points, width=WIDTH, sigma=SIGMA))
    assert (everything[..., :4, :, :, :] == 7).all() and (everything[..., 9:, :, :, :] == 7).all()


@pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (0, 2, 1)])
def test_out_in_any_order_of_frames(order):
    x = particles((4, 3))
    sizes = [(4, 3, 5)[d] for d in order]
    everything = torch.full((*[2 * s for s in sizes], 8, 8, 8), 7.0, dtype=x.dtype)
    inverse = [order.index(d) for d in range(3)]
    out = everything[::2, ::2, ::2].permute(*inverse, 3, 4, 5)
    into(x, out, WIDTH, SIGMA)
    assert torch.equal(out, operator(x, 8, WIDTH, SIGMA))
    assert (everything[1::2] == 7).all() and (everything[:, 1::2] == 7).all()


def test_out_beyond_the_cache():
    x = particles((3,), 800, torch.float32)
    out = torch.empty(3, 802, 16, 16, 16)[:, 1:801]
    assert out.nbytes > 32 << 20
    into(x, out, WIDTH, SIGMA)
    assert torch.equal(out[2], operator(x[2], 16, WIDTH, SIGMA))


def test_out_has_no_gradient():
    x, out = particles().requires_grad_(), torch.zeros(2, 5, 4, 4, 4, dtype=torch.float64)
    with pytest.raises(
        RuntimeError, match="voxelize_into: out= has no gradient, but coordinates requires grad"
    ):
        into(x, out, WIDTH, SIGMA)
    with torch.no_grad():
        into(x, out, WIDTH, SIGMA)
    into(x.detach(), out, WIDTH, SIGMA)
    with pytest.raises(RuntimeError, match="but out requires grad"):
        into(x.detach(), (out.requires_grad_() * 1)[:], WIDTH, SIGMA)


def test_out_counts_as_changed():
    out = torch.zeros(2, 5, 4, 4, 4, dtype=torch.float64)
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    product = weight * out
    into(particles(), out, WIDTH, SIGMA)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


# ---- What holds for every operator -------------------------------------------------------------


def test_opcheck():
    for x in (particles(), particles().requires_grad_()):
        torch.library.opcheck(operator, (x, 5, WIDTH, SIGMA))
    everything = torch.zeros(2, 9, 5, 5, 5, dtype=torch.float64)
    torch.library.opcheck(into, (particles(), everything[:, 2:7], WIDTH, SIGMA))
    grad = torch.rand(2, 5, 5, 5, 5, dtype=torch.float64)
    torch.library.opcheck(torch.ops.backmap.voxelize_backward.default, (grad, particles(), WIDTH, SIGMA))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, dtype):
    for grid_points in (5, 8, 12, 16, 20):
        x = particles((3,), 50, dtype).requires_grad_()
        on_gpu = x.detach().to(cuda).requires_grad_()
        actual, expected = (operator(a, grid_points, WIDTH, SIGMA) for a in (on_gpu, x))
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-6, atol=1e-7)
        grad = torch.randn_like(expected)
        actual.backward(grad.to(cuda))
        expected.backward(grad)
        torch.testing.assert_close(on_gpu.grad.cpu(), x.grad, rtol=1e-4, atol=1e-4)
        everything = torch.zeros(3, 53, *[grid_points] * 3, dtype=dtype, device=cuda)
        into(on_gpu.detach(), everything[:, 1:51], WIDTH, SIGMA)
        assert torch.equal(everything[:, 1:51], actual)


def test_rotation_translation():
    """A turn by 90 degrees turns the grid; a shift by a voxel shifts it."""
    x = particles() / 2
    density = operator(x, 12, WIDTH, SIGMA)
    turned = torch.stack([-x[..., 1], x[..., 0], x[..., 2]], -1)  # x to y, y to -x
    torch.testing.assert_close(operator(turned, 12, WIDTH, SIGMA), density.transpose(-3, -2).flip(-3))
    shifted = operator(x + torch.tensor([0, WIDTH / 12, 0], dtype=x.dtype), 12, WIDTH, SIGMA)
    torch.testing.assert_close(shifted[..., 1:, :], density[..., :-1, :])


@pytest.mark.parametrize("batch", [(), (0,), (2, 0)])
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("grid_points", [1, 8])
def test_empty_and_single(batch, count, grid_points):
    x = particles(batch, count).requires_grad_()
    density = operator(x, grid_points, WIDTH, SIGMA)
    assert density.shape == (*batch, count, grid_points, grid_points, grid_points)
    density.sum().backward()
    assert x.grad.shape == x.shape
    into(x.detach(), torch.empty_like(density), WIDTH, SIGMA)


def test_non_contiguous(scattered):
    x = particles((2, 3))
    assert torch.equal(operator(scattered(x), 8, WIDTH, SIGMA), operator(x, 8, WIDTH, SIGMA))


def test_same_for_any_number_of_threads():
    x = particles((40,), 30, torch.float32)
    before, threads = operator(x, 12, WIDTH, SIGMA), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(operator(x, 12, WIDTH, SIGMA), before)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"coordinates": particles().half()}, TypeError, "coordinates must have dtype float32 or float64"),
        ({"coordinates": particles()[..., 1:]}, ValueError, r"coordinates must have .*, got \[2, 5, 2\]"),
        ({"coordinates": torch.zeros(3)}, ValueError, r"coordinates must have shape .*, got \[3\]"),
        ({"grid_points": 0}, ValueError, r"grid_points must lie in \[1, 512\], got 0"),
        ({"grid_points": 513}, ValueError, r"grid_points must lie in \[1, 512\], got 513"),
        ({"width": 0.0}, ValueError, "width must be finite and more than 0 nm, got 0"),
        ({"width": float("inf")}, ValueError, "width must be finite and more than 0 nm, got inf"),
        ({"sigma": -1.0}, ValueError, "sigma must be finite and more than 0 nm, got -1"),
        ({"sigma": float("nan")}, ValueError, "sigma must be finite and more than 0 nm, got nan"),
    ],
)  # fmt: skip
def test_bad_input(change, error, message):
    good = {"coordinates": particles(), "grid_points": 4, "width": WIDTH, "sigma": SIGMA}
    with pytest.raises(error, match=f"voxelize: {message}"):
        operator(**{**good, **change})


CUBES = torch.zeros(2, 5, 4, 4, 4, dtype=torch.float64)


@pytest.mark.parametrize(
    "out, error, message",
    [
        (CUBES.float(), TypeError, "out must have dtype Double, got Float"),
        (CUBES.to("meta"), ValueError, r"out must be on the device of coordinates \(cpu\), got meta"),
        (CUBES[0, 0], ValueError, r"out must have shape \(\*, particles, d, d, d\), got \[4, 4, 4\]"),
        (CUBES[..., 1:], ValueError, r"out must have shape \(\*, particles, d, d, d\)"),
        (CUBES[:, 1:], ValueError, r"out must have shape \[2, 5, 4, 4, 4\], got \[2, 4, 4, 4, 4\]"),
        (CUBES.mT, ValueError, "out must be dense in its last three dimensions"),
        (CUBES[:1].expand(2, 5, 4, 4, 4), ValueError, "elements of out must not overlap"),
        (CUBES.as_strided(CUBES.shape, (64, 32, 16, 4, 1)), ValueError, "elements of out must not overlap"),
    ],
)  # fmt: skip
def test_bad_out(out, error, message):
    with pytest.raises(error, match=f"voxelize_into: .*{message}"):
        into(particles(), out, WIDTH, SIGMA)


def test_out_beside_coordinates_and_grid_points():
    memory = torch.zeros(2 * 5 * 64 + 30, dtype=torch.float64)
    with pytest.raises(ValueError, match="out must not share memory with coordinates"):
        into(memory[:30].view(2, 5, 3), memory[20:660].view(2, 5, 4, 4, 4), WIDTH, SIGMA)
    with pytest.raises(ValueError, match=r"voxelize: out must end in \(5, 5, 5\) \(grid_points\)"):
        voxelize(particles(), grid_points=5, width=WIDTH, sigma=SIGMA, out=CUBES)
    with pytest.raises(TypeError, match="voxelize: give grid_points or out"):
        voxelize(particles(), width=WIDTH, sigma=SIGMA)


def test_torchscript():
    @torch.jit.script
    def density(x, out, width: float, sigma: float):
        torch.ops.backmap.voxelize_into(x, out, width, sigma)
        return torch.ops.backmap.voxelize(x, 4, width, sigma)

    x, out = particles(), torch.zeros_like(CUBES)
    assert torch.equal(density(x, out, WIDTH, SIGMA), out)
    assert torch.equal(out, operator(x, 4, WIDTH, SIGMA))


def test_compile():
    def joined(x, y):
        """Two sets of particles side by side, one of them with a gradient through another path."""
        n = x.shape[1]
        everything = torch.empty(x.shape[0], n + y.shape[1], 4, 4, 4, dtype=x.dtype)
        voxelize(x, width=WIDTH, sigma=SIGMA, out=everything[:, :n])
        voxelize(y, width=WIDTH, sigma=SIGMA, out=everything[:, n:])
        return 2 * everything

    compiled = torch.compile(joined, fullgraph=True, dynamic=True)
    for batch in (2, 3):
        x, y = particles((batch,)), particles((batch,), 3)
        assert torch.equal(compiled(x, y), joined(x, y))

    def loss(x):
        return voxelize(x, grid_points=8, width=WIDTH, sigma=SIGMA).square().sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=True)
    for batch in (2, 3):
        x = particles((batch,)).requires_grad_()
        gradients = [torch.autograd.grad(f(x), x)[0] for f in (compiled, loss)]
        torch.testing.assert_close(*gradients)


def test_export():
    class Density(torch.nn.Module):
        def forward(self, x):
            return voxelize(x, grid_points=8, width=WIDTH, sigma=SIGMA)

    batch = torch.export.Dim("batch", min=2, max=100)
    program = torch.export.export(Density(), (particles((2,)),), dynamic_shapes=({0: batch},))
    x = particles((7,))
    assert torch.equal(program.module()(x), Density()(x))


def test_memory(allocated):
    x = particles((8,), 20, torch.float32)
    density = operator(x, 12, WIDTH, SIGMA)
    assert allocated(lambda: operator(x, 12, WIDTH, SIGMA)) == density.nbytes
    everything = torch.empty(8, 60, 12, 12, 12)
    assert allocated(lambda: into(x, everything[:, 20:40], WIDTH, SIGMA)) == 0
    backward = torch.ops.backmap.voxelize_backward.default
    grad = everything[:, 20:40]
    assert allocated(lambda: backward(grad, x, WIDTH, SIGMA)) == x.nbytes


# ---- With density_to_coordinates ---------------------------------------------------------------


@pytest.mark.parametrize(
    "grid_points, sigma", [(12, 0.0707), (12, 0.1), (12, 0.15), (16, 0.0707), (24, 0.0707)]
)
def test_round_trip(grid_points, sigma):
    """Positions come back but for what the spacing of voxels, and the end of the grid, take away."""
    width = 1.8
    spacing = width / grid_points
    accuracy = 4 * math.pi * sigma**2 / spacing * math.exp(-2 * (math.pi * sigma / spacing) ** 2)
    x = (2 * torch.rand(500, 3, dtype=torch.float64) - 1) * (width / 2 - 5.5 * sigma)
    density = voxelize(x, grid_points=grid_points, width=width, sigma=sigma)
    back = density_to_coordinates(density, width=width)
    torch.testing.assert_close(back, x, rtol=0, atol=1.01 * accuracy + 1e-6)


def test_gradient_of_the_round_trip():
    x = ((torch.rand(2, 4, 3, dtype=torch.float64) - 0.5) * 0.4).requires_grad_()

    def trip(x):
        return density_to_coordinates(voxelize(x, grid_points=12, width=1.8, sigma=0.2), width=1.8)

    assert torch.autograd.gradcheck(trip, x)
    (grad,) = torch.autograd.grad(trip(x).sum(), x)
    torch.testing.assert_close(grad, torch.ones_like(x), rtol=0, atol=1e-2)
