"""C-alphas drawn about beads: against the specification, and what the physics asks for."""

import math

import pytest
import torch

from backmap.ops import c_alpha_energy, draw_c_alphas, reference
from tests.ops.operators import (
    c_alpha_beads,
    c_alpha_beads_between_streams,
    c_alpha_beads_in_a_box,
    c_alpha_beads_of_rings,
    c_alpha_windows,
    c_alpha_windows_of_rings,
    followed_in_rings,
)

SIZES = {"kinds": 3, "angles": 5, "dihedrals": 7}


@pytest.mark.parametrize("make", [c_alpha_windows, c_alpha_windows_of_rings])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("residues", [0, 1, 3, 4, 30])
def test_energies_match_the_reference(make, batch, residues):
    arguments = make(batch, torch.float64, residues=residues, **SIZES)
    actual = torch.ops.backmap.c_alpha_energy(**arguments)
    torch.testing.assert_close(actual, reference.c_alpha_energy(**arguments))
    assert residues < 30 or actual.abs().max() > 0


@pytest.mark.parametrize(
    "make",
    [c_alpha_beads, c_alpha_beads_in_a_box, c_alpha_beads_of_rings, c_alpha_beads_between_streams],
)
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("residues, steps", [(0, 3), (1, 3), (2, 3), (5, 1), (40, 12), (40, 0)])
def test_draws_match_the_reference(make, batch, residues, steps):
    arguments = make(batch, torch.float64, residues=residues, **SIZES)
    arguments["steps"] = torch.full(batch, steps)
    arguments["weights"] = arguments["weights"].clone()
    actual = torch.ops.backmap.draw_c_alphas(**arguments)
    torch.testing.assert_close(actual, reference.draw_c_alphas(**arguments), atol=1e-9, rtol=1e-9)
    assert steps or torch.equal(actual, arguments["beads"])
    assert residues < 40 or not steps or not torch.allclose(actual, arguments["beads"])


def test_turning_from_one_stream_to_the_other():
    """At either end the draw is that of one stream; between them, near turns are near draws."""
    arguments = c_alpha_beads((1,), torch.float64, residues=30, **SIZES)
    arguments["steps"][:] = 20
    other = {**arguments, "keys": arguments["keys"] + 1}

    def draw(turn: float) -> torch.Tensor:
        between = {"other_keys": other["keys"], "turns": torch.tensor([turn], dtype=torch.float64)}
        return torch.ops.backmap.draw_c_alphas(**arguments, **between)

    begin, end = draw(0.0), draw(math.pi / 2)
    assert torch.equal(begin, torch.ops.backmap.draw_c_alphas(**arguments))
    torch.testing.assert_close(end, torch.ops.backmap.draw_c_alphas(**other))
    assert (draw(0.05) - begin).norm() < 0.2 * (end - begin).norm()


def test_residues_without_noise_stay():
    arguments = c_alpha_beads((4,), torch.float64, residues=30, **SIZES)
    arguments["steps"][:] = 20
    arguments["noise"][:, 5:12] = 0
    drawn = torch.ops.backmap.draw_c_alphas(**arguments)
    assert torch.equal(drawn[:, 5:12], arguments["beads"][:, 5:12])
    assert (drawn - arguments["beads"])[:, 13:].norm(dim=-1).min() > 0


def test_bonds_have_their_lengths():
    arguments = c_alpha_beads((2,), torch.float64, residues=50, **SIZES)
    arguments["beads"] += 0.02 * torch.randn(2, 50, 3, dtype=torch.float64)
    arguments["bonds"] = torch.full((2, 50), 0.38, dtype=torch.float64)
    arguments["steps"][:] = 30
    drawn = torch.ops.backmap.draw_c_alphas(**arguments)
    lengths = (drawn[:, 1:] - drawn[:, :-1]).norm(dim=-1)
    assert (lengths - 0.38).abs().max() < 1e-3


def test_nothing_depends_on_where_a_ring_begins():
    """A ring of beads, and the same ring from its fourth residue on, without heat."""
    arguments = c_alpha_beads((2,), torch.float64, residues=12, **SIZES)
    turn = torch.arange(12) * math.pi / 6
    circle = torch.stack([0.73 * turn.cos(), 0.73 * turn.sin(), 0.08 * (-1.0) ** torch.arange(12)], dim=-1)
    arguments |= {
        "beads": circle + 0.05 * torch.randn(2, 12, 3, dtype=torch.float64),
        "bonds": torch.full((2, 12), 0.38, dtype=torch.float64),
        "weights": torch.ones(2, 12, dtype=torch.float64),
        "steps": torch.tensor([60, 60]),
        "temperature": 0.0,
        "following": torch.arange(1, 13) % 12,
    }
    turned = {name: arguments[name].roll(-4, 1) for name in ("beads", "noise", "bonds", "weights")}
    drawn = draw_c_alphas(**arguments)
    other = draw_c_alphas(**{**arguments, **turned, "kinds": arguments["kinds"].roll(-4)})
    torch.testing.assert_close(other.roll(4, 1), drawn, atol=2e-4, rtol=0)  # bonds are restored in turn
    assert ((drawn.roll(-1, 1) - drawn).norm(dim=-1) - 0.38).abs().max() < 1e-3
    assert (drawn - arguments["beads"]).abs().max() > 0.01


def test_chains_that_touch_across_the_box_part():
    """Two residues are images of near neighbours: they repel only where the box is known."""
    beads = torch.tensor([[0.05, 1.0, 1.0], [2.85, 1.0, 1.0]]).double()
    call = dict(
        beads=beads,
        noise=torch.full((2,), 0.1).double(),
        bonds=torch.zeros(2).double(),
        kinds=torch.zeros(2, dtype=torch.int64),
        weights=torch.zeros(2).double(),
        table=torch.zeros(1, 3, 1, 3).double(),
        keys=torch.tensor(7),
        steps=torch.tensor(200),
        first_angle=1.0,
        last_angle=3.0,
        temperature=0.0,
        step_size=1e-4,
        largest_step=0.01,
        contact_distance=0.4,
        contact_strength=2000.0,
    )
    assert torch.equal(draw_c_alphas(**call), beads)
    drawn = draw_c_alphas(**call, box=3.0 * torch.eye(3).double())
    gap = 3.0 - (drawn[1, 0] - drawn[0, 0])
    # Contact 4000 (0.4 - gap) on each balances (gap - 0.2) / 2 / 0.01 from its bead.
    assert abs(gap - (4000 * 0.4 + 50 * 0.2) / 4050) < 1e-3


def test_a_free_residue_spreads_as_its_noise_and_heat_say():
    """The variance in a harmonic well, step by step."""
    frames, noise = 4000, 0.1
    drawn = draw_c_alphas(
        torch.zeros(frames, 1, 3).double(),
        torch.full((frames, 1), noise).double(),
        torch.zeros(frames, 1).double(),
        torch.zeros(1, dtype=torch.int64),
        torch.zeros(frames, 1).double(),
        torch.zeros(1, 3, 1, 3).double(),
        torch.arange(frames),
        torch.full((frames,), 100),
        first_angle=1.0,
        last_angle=3.0,
        temperature=4.0,
        step_size=1e-3,
        largest_step=1.0,
        contact_distance=0.1,
        contact_strength=0.0,
    )
    variance, mobility = 0.0, 1e-3
    for n in range(100):
        heat = 4.0 * (99 - n) / 100
        variance = variance * (1 - mobility / noise**2) ** 2 + 2 * mobility * heat
    assert abs(drawn.std() - math.sqrt(variance)) < 0.03 * math.sqrt(variance)
    assert drawn.mean().abs() < 0.01


@pytest.mark.parametrize("rings", [False, True])
@pytest.mark.parametrize("unbroken", [False, True])
@pytest.mark.parametrize("batch", [(1,), (3,)])
def test_threads_within_a_frame_change_nothing(batch, unbroken, rings):
    """Frames of several times what is worth a thread, of many segments and of one."""
    arguments = c_alpha_beads_in_a_box(batch, torch.float32, residues=9001, **SIZES)
    arguments["steps"][:] = 12
    if unbroken:
        arguments["bonds"] = torch.full_like(arguments["bonds"], 0.38)
    if rings:
        arguments = followed_in_rings(arguments)
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            drawn.append(torch.ops.backmap.draw_c_alphas(**arguments))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0], arguments["beads"])


def test_bad_input():
    arguments = c_alpha_windows((2,), torch.float32, residues=8, **SIZES)
    c_alpha_energy(**arguments)
    with pytest.raises(ValueError, match="kinds must lie in"):
        c_alpha_energy(**{**arguments, "kinds": torch.full((8,), 3)})
    with pytest.raises(
        ValueError, match="following must be -1, the next residue, or the first one of a ring"
    ):
        c_alpha_energy(**arguments, following=torch.tensor([2, 2, 3, 4, 5, 6, 7, -1]))
    with pytest.raises(ValueError, match="table must have shape"):
        c_alpha_energy(**{**arguments, "table": torch.zeros(3, 5, 7, 4)})
    beads = c_alpha_beads_in_a_box((2,), torch.float32, residues=8, **SIZES)
    with pytest.raises(ValueError, match="box must be wider than twice the reach of contacts"):
        draw_c_alphas(**{**beads, "box": 0.9 * torch.eye(3)})
    with pytest.raises(ValueError, match="give both other_keys and turns"):
        draw_c_alphas(**beads, turns=torch.zeros(2))
    with pytest.raises(TypeError, match="noise must have dtype"):
        draw_c_alphas(**{**beads, "noise": beads["noise"].double()})
