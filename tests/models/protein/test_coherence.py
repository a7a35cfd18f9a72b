import math

import numpy as np
import pytest
import torch

from backmap.chemistry import RESIDUE_INDEX, SLOT_CA, Topology
from backmap.inference.coherence import Coherence
from backmap.inference.coherent import CoherentBuilder
from backmap.inference.protein import ProteinBuilder
from backmap.models.protein.coherence_rates import CoherenceRates
from backmap.models.protein.coherent_state import remember
from backmap.models.protein.obstacles import Obstacles
from backmap.models.protein.side_chains import measure_chi


@pytest.fixture
def builder(model, two_helices):
    topology, _ = two_helices
    return CoherentBuilder(model, topology, topology.linked(), Coherence())


def swaying(c_alpha: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Frames (frames, residues, 3) of C-alphas that move a little."""
    noise = torch.randn(n_frames, *c_alpha.shape, generator=torch.Generator().manual_seed(1))
    return c_alpha + 0.003 * noise


def build(builder, frames, times=None, state=None, seed=0, samples=1, first=0, obstacles=None):
    times = np.arange(first, first + len(frames), dtype=float) if times is None else times
    return builder.reconstruct(
        frames,
        numbers=torch.arange(first, first + len(frames)),
        times=times,
        state=state,
        samples=samples,
        seed=seed,
        obstacles=obstacles,
    )


def rms_step(atoms: torch.Tensor) -> float:
    return float((atoms[0, 1:] - atoms[0, :-1]).square().sum(dim=-1).mean().sqrt())


def test_all_atoms_are_built_and_c_alphas_stay(builder, two_helices):
    topology, c_alpha = two_helices
    frames = swaying(c_alpha, 3)
    atoms, _, n_jumps = build(builder, frames, samples=2)
    assert atoms.shape == (2, 3, 25, 15, 3)
    assert torch.equal(atoms[..., SLOT_CA, :], frames.expand(2, -1, -1, -1))
    assert torch.isfinite(atoms).all() and n_jumps == 0
    assert (atoms != 0).any(dim=-1)[..., torch.from_numpy(topology.atom_mask)].all()
    assert not torch.equal(atoms[0], atoms[1])


@pytest.mark.parametrize("parts", [[1] * 7, [3, 4], [6, 1]])
def test_chunks_of_any_size_give_the_same_frames(builder, two_helices, parts):
    frames = swaying(two_helices[1], 7)
    whole, last, _ = build(builder, frames, samples=2)
    pieces, state, first = [], None, 0
    for size in parts:
        piece, state, _ = build(builder, frames[first : first + size], state=state, samples=2, first=first)
        pieces.append(piece)
        first += size
    assert (torch.cat(pieces, dim=1) - whole).abs().max() < 1e-5
    assert all(np.allclose(state[name], last[name], atol=1e-5) for name in last)


def test_atoms_move_less_than_in_frames_of_their_own(builder, model, two_helices):
    topology, c_alpha = two_helices
    frames = swaying(c_alpha, 20)
    coherent, _, _ = build(builder, frames)
    alone = ProteinBuilder(model, topology, topology.linked()).reconstruct(
        frames, numbers=torch.arange(20), samples=1, seed=0
    )
    assert rms_step(coherent) < 0.6 * rms_step(alone)


def test_nothing_is_remembered_over_a_long_time(builder, two_helices):
    frames = swaying(two_helices[1], 20)
    near, _, _ = build(builder, frames)
    far, _, _ = build(builder, frames, times=1e9 * np.arange(20))
    assert rms_step(near) < 0.6 * rms_step(far)


def test_time_scale_multiplies_the_time(model, two_helices):
    topology, c_alpha = two_helices
    frames = swaying(c_alpha, 6)
    scaled = CoherentBuilder(model, topology, topology.linked(), Coherence(time_scale=2.0))
    plain = CoherentBuilder(model, topology, topology.linked(), Coherence())
    slow, _, _ = build(scaled, frames)
    fast, _, _ = build(plain, frames, times=2.0 * np.arange(6))
    assert torch.equal(slow, fast)


def test_frames_that_do_not_follow_begin_anew(builder, two_helices):
    c_alpha = two_helices[1]
    frames = swaying(c_alpha, 6)
    stretched = frames.clone()
    stretched[3:, :, 2] *= 1.9
    assert build(builder, stretched)[2] == 1
    assert build(builder, frames, times=np.array([0.0, 1, 2, 0, 1, 2]))[2] == 1
    assert build(builder, frames, times=np.zeros(6))[2] == 5
    moved = frames.clone()
    moved[3:] += 5.0
    assert build(builder, moved)[2] == 0  # the molecule as a whole may drift


def test_resting_c_alphas_sample_the_distribution_of_single_frames(model, two_helices):
    """Where side chains do not push each other, wells of chi1 are taken as often as in independent draws."""
    model.packer.strength = 0.0
    topology, c_alpha = two_helices
    linked = topology.linked()
    builder = CoherentBuilder(model, topology, linked, Coherence())
    n_chains, n_frames = 1000, 8
    frames = c_alpha.expand(n_frames, -1, -1)
    moved, _, _ = build(builder, frames, times=20.0 * np.arange(n_frames), samples=n_chains)
    alone = ProteinBuilder(model, topology, linked)
    single = alone.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=4_000, seed=1)

    def classes(atoms: torch.Tensor) -> torch.Tensor:
        chi, there = measure_chi(
            atoms.reshape(-1, 15, 3),
            torch.from_numpy(topology.atom_mask).repeat(atoms.shape[0], 1),
            torch.from_numpy(topology.residue_types).repeat(atoms.shape[0]),
        )
        third = (torch.remainder(chi[:, 0], 2 * math.pi) * 3 / (2 * math.pi)).long().clamp_max(2)
        shares = torch.nn.functional.one_hot(third, 3).float().unflatten(0, (-1, 25)).mean(dim=0)
        return shares[there.view(-1, 25, 4)[0, :, 0]]

    apart = (classes(moved[:, -1]) - classes(single[:, 0])).abs()
    # 1000 chains: standard deviations of up to 0.018; the largest of some sixty shares.
    assert apart.max() < 0.07
    assert apart.mean() < 0.02


def far_tip(atoms: torch.Tensor, topology: Topology) -> tuple[int, int]:
    """Residue and slot of the atom of phenylalanine that is farthest from its C-alpha."""
    residue = int(np.flatnonzero(topology.residue_types == RESIDUE_INDEX["PHE"])[0])
    distances = (atoms[residue] - atoms[residue, SLOT_CA]).norm(dim=-1)
    return residue, int((distances * torch.from_numpy(topology.atom_mask[residue])).argmax())


def test_giving_way_is_not_remembered(builder, two_helices):
    """A side chain that an obstacle pushes away for a frame is where it was in the next one."""
    topology, c_alpha = two_helices
    frames, times = c_alpha.expand(5, -1, -1), 1e-4 * np.arange(5)
    alone = build(builder, frames, times)[0][0]
    residue, tip = far_tip(alone[2], topology)
    away = torch.full((5, 1, 3), 50.0)
    away[2, 0] = alone[1, residue, tip] + 0.07
    pushed = build(builder, frames, times, obstacles=Obstacles(away, torch.tensor([0.17])))[0][0]
    assert (pushed[2, residue, tip] - alone[2, residue, tip]).norm() > 0.02
    assert (pushed[3, residue, tip] - alone[3, residue, tip]).norm() < 0.005


@pytest.mark.parametrize(("interval", "leaves"), [(1e-9, False), (100.0, True)])
def test_overlaps_make_side_chains_leave_their_wells_in_time(builder, two_helices, interval, leaves):
    """One that overlaps everywhere in its well leaves it, but not in a vanishing interval."""
    topology, c_alpha = two_helices
    n_frames = 12
    frames, times = c_alpha.expand(n_frames, -1, -1), interval * np.arange(n_frames)
    alone = build(builder, frames, times)[0][0]
    residue, tip = far_tip(alone[0], topology)
    blocked = torch.full((n_frames, 1, 3), 50.0)
    blocked[1:, 0] = alone[0, residue, tip]
    obstacles = Obstacles(blocked, torch.tensor([0.3]))
    atoms = build(builder, frames, times, obstacles=obstacles)[0][0]
    moved = (atoms[-1, residue, tip] - alone[0, residue, tip]).norm()
    assert bool(moved > 0.3) == leaves


def test_a_cysteine_that_is_known_to_be_free_moves(model, two_helices, builder):
    """As one of which nothing is known, if there is none that it could be bonded to."""
    topology, c_alpha = two_helices
    cysteine = int(np.flatnonzero(topology.residue_types == RESIDUE_INDEX["CYS"])[0])
    free = np.array([[cysteine, cysteine]])
    known = CoherentBuilder(model, topology, topology.linked(), Coherence(), disulfides=free)
    frames = c_alpha.expand(30, -1, -1)
    times = 20.0 * np.arange(30)
    assert torch.equal(build(known, frames, times)[0], build(builder, frames, times)[0])


def test_noise_is_stationary():
    generator = torch.Generator().manual_seed(6)
    start = torch.randn(20_000, 1, generator=generator)
    memory = torch.tensor([0.9, 0.5, 0.0, 0.99])
    moved = remember(start, memory, torch.randn(20_000, 4, 1, generator=generator))
    assert torch.allclose(moved.std(dim=0), torch.ones(4, 1), atol=0.02)
    assert torch.corrcoef(torch.stack([start[:, 0], moved[:, 0, 0]]))[0, 1] == pytest.approx(0.9, abs=0.01)


def test_rates_grow_with_temperature_and_shrink_with_burial():
    cold, hot = CoherenceRates(280.0), CoherenceRates(360.0)
    types, open_place, usual = torch.arange(20), torch.zeros(20, 3), torch.zeros(20, 4)
    assert (
        hot.of_peptides(types, open_place, usual[:, 0]) > cold.of_peptides(types, open_place, usual[:, 0])
    ).all()
    assert (hot.of_torsions(types, open_place, usual) > cold.of_torsions(types, open_place, usual)).all()
    buried = open_place + torch.tensor([1.0, 0.0, 0.0])
    assert (
        cold.of_torsions(types, buried, usual)[:, :2] < cold.of_torsions(types, open_place, usual)[:, :2]
    ).all()
