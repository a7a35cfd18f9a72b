import math

import pytest
import torch

from backmap.ops import draw_angle_chains, reference

from .operators import angle_chains, angle_chains_with_known_angles

operator = torch.ops.backmap.draw_angle_chains.default


def arguments(batch=(5,), samples=2, residues=30, width=160, classes=72, known=False, dtype=torch.float32):
    make = angle_chains_with_known_angles if known else angle_chains
    return make(batch, dtype, samples, residues, width, classes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"known": True},
        {"batch": (2, 3), "width": 21, "classes": 5, "samples": 3},
        {"batch": (), "width": 1, "classes": 1, "samples": 1, "residues": 1},
        {"batch": (), "width": 0},
    ],
    ids=str,
)
def test_matches_reference(sizes, dtype):
    torch.manual_seed(0)
    args = arguments(**sizes, dtype=dtype)
    torch.testing.assert_close(draw_angle_chains(**args), reference.draw_angle_chains(**args))


def test_draws_follow_the_distribution():
    """The second angle of a chain, over many samples, given the class of the first one."""
    args = arguments(batch=(), samples=20000, residues=2, width=8, classes=6, dtype=torch.float64)
    args |= {"chains": torch.tensor([[0, 1]]), "known": torch.tensor([0.7, math.nan], dtype=torch.float64)}
    drawn = draw_angle_chains(**args)
    assert (drawn[:, 0] == 0.7).all()
    counts = torch.histc(drawn[:, 1], bins=6, min=-math.pi, max=math.pi)
    turn = torch.tensor([0.7], dtype=torch.float64)
    middles = torch.tensor([(n + 0.5) / 6 * 2 * math.pi - math.pi for n in range(6)], dtype=torch.float64)
    waves = torch.stack([torch.ones_like(middles), middles.cos(), middles.sin()])
    penalty = reference.joint_penalty(
        args["forms"][1], args["kinds"][1], args["table"], turn.cos(), turn.sin(), waves
    )[0]
    before = torch.stack([torch.ones(1), turn.cos(), turn.sin()]).double()[:, 0]
    hidden = torch.nn.functional.silu(args["context"][1] + before @ args["coefficients"][1])
    logits = args["weight"] @ hidden + args["bias"] + args["offsets"][1] - penalty
    expected = 20000 * torch.softmax(logits, dim=0)
    assert ((counts - expected).abs() < 5 * expected.sqrt() + 1).all()


def test_a_chain_gives_the_same_in_every_batch():
    args = arguments(batch=(9,), samples=3)
    together = draw_angle_chains(**args)
    shared = ("weight", "bias", "table", "chains")
    for frame in (0, 4, 8):
        one = {name: part if name in shared else part[frame : frame + 1] for name, part in args.items()}
        assert torch.equal(draw_angle_chains(**one)[0], together[frame])
        one["uniforms"], one["chains"] = one["uniforms"][:, 1:2], one["chains"][:1]
        assert torch.equal(draw_angle_chains(**one)[0, 0, :15], together[frame, 1, :15])


def test_angles_outside_chains_are_zero():
    args = arguments(residues=6)
    args["chains"] = torch.tensor([[4, 1], [5, -1], [0, 6]])
    found = draw_angle_chains(**args)
    assert (found[..., [2, 3]] == 0).all() and (found[..., [0, 1, 4, 5]] != 0).all()


def test_gradcheck():
    """Draws are constants."""
    args = arguments()
    args["context"].requires_grad_()
    assert not draw_angle_chains(**args).requires_grad


def test_opcheck():
    args = arguments(width=8, known=True)
    torch.library.opcheck(operator, tuple(args.values()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    """A class at the border of two may be another one, after which the rest of a chain differs."""
    args = list(arguments(batch=(40,), known=True, dtype=dtype).values())
    alike = (operator(*to_device(args, cuda)).cpu() - operator(*args)).abs() < 1e-5
    assert alike.float().mean() > 0.99


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"context": torch.zeros(5, 30, 160).half()}, TypeError, "context must have dtype"),
        ({"coefficients": torch.zeros(5, 30, 2, 160)}, ValueError, "coefficients must have shape"),
        ({"weight": torch.zeros(0, 160)}, ValueError, "weight must have 1 class or more"),
        ({"bias": torch.zeros(71)}, ValueError, "bias must have shape"),
        ({"forms": torch.zeros(5, 30, 3, 4, 3)}, ValueError, "forms must have shape"),
        ({"kinds": torch.full((5, 30), -1)}, ValueError, r"kinds must lie in \[0, 3\), got -1"),
        ({"table": torch.zeros(3, 0, 0)}, ValueError, "table must have shape"),
        ({"offsets": torch.zeros(5, 30, 71)}, ValueError, "offsets must have shape"),
        ({"chains": torch.zeros(3, dtype=torch.int64)}, ValueError, "chains must have shape"),
        ({"uniforms": torch.zeros(2, 5, 30, 2)}, ValueError, "uniforms must have shape"),
        ({"known": torch.zeros(5, 29)}, ValueError, "known must have shape"),
        ({"known": torch.zeros(5, 30, device="meta")}, ValueError, "known must be on the device"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"draw_angle_chains: .*{message}"):
        operator(**arguments() | changes)
