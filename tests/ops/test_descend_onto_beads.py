import pytest
import torch

from backmap.ops import descend_onto_beads, descent_places, reference

from .operators import descent

operator = torch.ops.backmap.descend_onto_beads.default
SIZES = {"atoms": 20, "springs": 30, "centres": 8, "links": 3, "beads": 5, "parts": 12}


def arguments(batch=(3,), dtype=torch.float64, **sizes) -> dict:
    return descent(batch, dtype, **(SIZES | sizes))


def water(batch: int) -> dict:
    """Three atoms, distorted; their mean is to stay at the origin."""
    square = torch.tensor([[0.0, 0.0, 0.0], [0.13, 0.02, 0.0], [-0.03, 0.11, 0.0]]).double()
    atoms = (square - square.mean(0)).expand(batch, -1, -1).clone()
    return arguments((batch,), atoms=3, springs=0, centres=0, links=0, beads=1, parts=0) | {
        "atoms": atoms,
        "before": atoms,
        "slope": torch.zeros(batch, 3, 3).double(),
        "springs": torch.tensor([[0, 1], [0, 2], [1, 2]]),
        "spring_length": torch.tensor([0.1, 0.1, 0.16]).double().expand(batch, 3),
        "spring_stiffness": torch.tensor([5000.0, 5000.0, 5000.0]).double(),
        "parts": torch.tensor([[0, 0], [0, 1], [0, 2]]),
        "weight": torch.full((3,), 1 / 3).double(),
        "pull": torch.ones(3).double(),
        "beads": torch.zeros(batch, 1, 3).double(),
        "share": torch.ones(batch, 1).double(),
        "steps": 300,
        "step_size": 1e-5,
    }


@pytest.mark.parametrize(
    "sizes",
    [{}, {"springs": 0}, {"centres": 0}, {"links": 0}, {"parts": 0}, {"batch": ()}, {"batch": (2, 7)}],
    ids=str,
)
def test_matches_reference(sizes):
    args = arguments(**sizes)
    for found, expected in zip(operator(**args), reference.descend_onto_beads(*args.values()), strict=True):
        torch.testing.assert_close(found, expected)


def test_springs_relax_and_the_bead_holds():
    args = water(9)
    atoms, _ = operator(**args)
    ends = atoms[:, args["springs"]]
    lengths = (ends[:, :, 0] - ends[:, :, 1]).norm(dim=-1)
    torch.testing.assert_close(lengths, args["spring_length"], atol=1e-6, rtol=0)
    assert atoms.mean(dim=1).abs().max() < 1e-12


def test_volumes_are_kept():
    atoms = torch.tensor([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]).double()[None]
    args = water(1) | {
        "atoms": atoms,
        "before": atoms,
        "slope": torch.zeros_like(atoms),
        "springs": torch.zeros(0, 2).long(),
        "spring_length": torch.zeros(1, 0).double(),
        "spring_stiffness": torch.zeros(0).double(),
        "centres": torch.tensor([[0, 1, 2, 3]]),
        "volume": torch.tensor([[2e-3]]).double(),
        "volume_stiffness": torch.tensor([2.5e7]).double(),
        "parts": torch.zeros(0, 2).long(),
        "weight": torch.zeros(0).double(),
        "pull": torch.zeros(0).double(),
        "step_size": 1e-6,
    }
    after, _ = operator(**args)
    sides = after[0, 1:] - after[0, 0]
    assert torch.linalg.det(sides).item() == pytest.approx(2e-3, rel=1e-3)


def test_a_link_acts_in_its_frame_only():
    args = water(2) | {
        "links": torch.tensor([[[1, 2]], [[-1, -1]]]),
        "link_length": torch.full((2, 1), 0.3).double(),
        "link_stiffness": torch.full((2, 1), 5000.0).double(),
    }
    apart = (operator(**args)[0][:, 1] - operator(**args)[0][:, 2]).norm(dim=-1)
    assert apart[0] > 0.18 and apart[1].item() == pytest.approx(0.16, abs=1e-6)


def test_a_bead_pulls_by_its_share():
    bead = torch.tensor([[[0.05, 0.0, 0.0]]]).double()
    args = water(1) | {"share": torch.full((1, 1), 0.2).double(), "beads": bead, "momentum": 0.0, "steps": 3}
    mean = operator(**args)[0].mean(dim=1)
    torch.testing.assert_close(mean, (1 - 0.8**3) * bead[:, 0])


def test_shares_of_noisy_beads_reach_the_least_energy():
    """A spring holds an atom at 0; its bead lies at 0.1, with a noise that makes both equally strong."""
    stiffness, step_size = 5000.0, 1e-5
    drawn = step_size * 2 * stiffness
    atoms = torch.tensor([[[0.01, 0.0, 0.0], [0.2, 0.0, 0.0]]]).double()
    args = water(1) | {
        "atoms": atoms,
        "before": atoms,
        "slope": torch.zeros_like(atoms),
        "springs": torch.tensor([[0, 1]]),
        "spring_length": torch.tensor([[0.2]]).double(),
        "spring_stiffness": torch.tensor([stiffness]).double(),
        "parts": torch.tensor([[0, 0], [1, 1]]),
        "weight": torch.ones(2).double(),
        "pull": torch.ones(2).double(),
        "beads": torch.tensor([[[0.1, 0.0, 0.0], [0.2, 0.0, 0.0]]]).double(),
        "share": torch.tensor([[drawn / (1 + drawn), 1.0]]).double(),
        "step_size": step_size,
    }
    assert operator(**args)[0][0, 0, 0].item() == pytest.approx(0.05, abs=1e-3)


def test_steps_may_be_taken_in_parts():
    args = arguments(dtype=torch.float32) | {"steps": 7}
    whole = operator(**args)
    half, before = operator(**(args | {"steps": 3}))
    rest = operator(**(args | {"atoms": half, "before": before, "steps": 4}))
    assert all(torch.equal(one, other) for one, other in zip(whole, rest, strict=True))


def test_no_atom_moves_farther_than_the_largest_step():
    args = arguments() | {
        "momentum": 0.0,
        "steps": 1,
        "largest_step": 1e-4,
        "parts": torch.zeros(0, 2).long(),
    }
    args |= {"weight": torch.zeros(0).double(), "pull": torch.zeros(0).double(), "step_size": 1.0}
    after, before = operator(**args)
    assert torch.equal(before, args["atoms"])
    assert (after - before).norm(dim=-1).max() < 1.0001e-4


@pytest.mark.parametrize("sizes", [{}, {"springs": 0, "parts": 0}, {"batch": (0,)}], ids=str)
def test_places_prepared_once_give_the_same(sizes):
    args = arguments(dtype=torch.float32, **sizes)
    atoms, beads = args["atoms"].shape[-2], args["beads"].shape[-2]
    places = descent_places(args["springs"], args["centres"], args["parts"], atoms, beads)
    for found, expected in zip(operator(**args, places=places), operator(**args), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda places: places[1:], "places must have shape"),
        (lambda places: places.flip(0), "places must ascend from 0"),
        (
            lambda places: places.where(torch.arange(len(places)) != 21, 60),
            r"places must lie in \[0, 60\), got 60",
        ),
        (lambda places: places.int(), "places must have dtype"),
    ],
)
def test_places_of_other_lists_are_refused(change, message):
    args = arguments()
    places = descent_places(args["springs"], args["centres"], args["parts"], 20, 5)
    with pytest.raises((TypeError, ValueError), match=f"descend_onto_beads: {message}"):
        operator(**args, places=change(places))


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_matter(threads):
    args = descent(
        (1,), torch.float32, atoms=9000, springs=9000, centres=900, links=3, beads=5000, parts=9000
    )
    args |= {"step_size": 1e-3}
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = operator(**args)
        torch.set_num_threads(threads)
        assert all(torch.equal(a, b) for a, b in zip(operator(**args), expected, strict=True))
    finally:
        torch.set_num_threads(before)


def test_gradcheck():
    """There is no gradient."""
    args = arguments()
    args["atoms"].requires_grad_()
    with pytest.raises(RuntimeError, match="not implemented"):
        operator(**args)[0].sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, (), arguments(batch=(3,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    args = arguments(batch=(50,), dtype=dtype)
    for found, expected in zip(
        operator(*to_device(list(args.values()), cuda)), operator(**args), strict=True
    ):
        torch.testing.assert_close(found.cpu(), expected)


def test_empty_and_single():
    assert operator(**arguments(batch=(0,)))[0].shape == (0, 20, 3)
    args = arguments() | {"steps": 0}
    assert torch.equal(operator(**args)[0], args["atoms"])


def test_non_contiguous(scattered):
    args = arguments()
    moved = {n: scattered(v) if isinstance(v, torch.Tensor) else v for n, v in args.items()}
    assert torch.equal(operator(**moved)[0], operator(**args)[0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"atoms": torch.zeros(3, 20, 3).half()}, TypeError, "atoms must have dtype"),
        ({"slope": torch.zeros(3, 19, 3).double()}, ValueError, "slope must have shape"),
        ({"springs": torch.zeros(30, 3).long()}, ValueError, "springs must have shape"),
        ({"spring_length": torch.zeros(30).double()}, ValueError, "spring_length must have shape"),
        ({"springs": torch.full((30, 2), 20)}, ValueError, r"springs must lie in \[0, 20\), got 20"),
        ({"centres": torch.full((8, 4), -1)}, ValueError, r"centres must lie in \[0, 20\), got -1"),
        ({"links": torch.full((3, 3, 2), -2)}, ValueError, r"links must lie in \[-1, 20\), got -2"),
        ({"links": torch.zeros(3, 2).long()}, ValueError, "links must have shape"),
        ({"parts": torch.tensor([[5, 0]] * 12)}, ValueError, r"parts must lie in \[0, 5\), got 5"),
        ({"parts": torch.tensor([[0, 20]] * 12)}, ValueError, r"parts must lie in \[0, 20\), got 20"),
        ({"pull": torch.zeros(12)}, TypeError, "pull must have dtype"),
        ({"share": torch.zeros(3, 4).double()}, ValueError, "share must have shape"),
        ({"steps": -1}, ValueError, "steps must lie in"),
        ({"step_size": 0.0}, ValueError, "step_size must be finite"),
        ({"momentum": 1.0}, ValueError, "momentum must lie in"),
        ({"largest_step": 0.0}, ValueError, "largest_step must be finite"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"descend_onto_beads: .*{message}"):
        operator(**(arguments() | changes))


def test_wrapper():
    args = arguments()
    for found, expected in zip(descend_onto_beads(**args), operator(**args), strict=True):
        assert torch.equal(found, expected)
