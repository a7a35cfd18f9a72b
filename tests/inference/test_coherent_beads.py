"""Coherent frames of beads and given atoms: in any chunks, and with the distribution of single frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backmap.chemistry import Topology
from backmap.chemistry.bead_mapping import load_mapping
from backmap.inference.beads import BeadBuilder
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.inference.coherence import Coherence
from backmap.inference.coherent import WANDERING_PS, CoherentBuilder
from backmap.inference.coherent_beads import CoherentBeadBuilder
from backmap.models.beads.evidence import BeadEvidence, bead_table
from backmap.models.counter_random import stream_keys
from backmap.models.protein.coherence import CoherentDrawer
from backmap.models.protein.coherence_rates import CoherenceRates
from backmap.models.protein.side_chains import measure_chi
from backmap.models.shipped import load_model, read_estimator
from backmap.models.wandering import wandering_streams
from tests.beaded import Beaded, crystal

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return load_model("protein", CPU)


@pytest.fixture(scope="module")
def structure() -> Beaded:
    return crystal(10, 12)


def builder(model, mapping: str, structure: Beaded) -> CoherentBeadBuilder:
    estimated = mapping in ("residue-centre", "martini3")
    estimator = read_estimator(load_mapping(mapping)).load(CPU) if estimated else None
    parts = structure.topology, structure.linked
    alone = BeadBuilder(model, *parts, structure.layout(mapping), CAlphaRule(), estimator, CPU)
    return CoherentBeadBuilder(alone, CoherentBuilder(model, *parts, Coherence(), CPU))


def swaying(beads: torch.Tensor, n_frames: int) -> torch.Tensor:
    noise = torch.randn(n_frames, *beads.shape[1:], generator=torch.Generator().manual_seed(1))
    return beads + 0.002 * noise


def build(engine: CoherentBeadBuilder, frames: torch.Tensor, first: int = 0, state=None, **how):
    numbers = torch.arange(first, first + len(frames))
    given = {"samples": 2, "seed": 0, "times": numbers.double().numpy()} | how
    fitted, state, jumps = engine.reconstruct(frames, numbers=numbers, state=state, **given)
    return fitted.atoms, state, jumps


def rms_step(atoms: torch.Tensor) -> float:
    return float((atoms[:, 1:] - atoms[:, :-1]).square().sum(dim=-1).mean().sqrt())


@pytest.mark.parametrize(
    "mapping", ["martini3", "residue-centre", "c-alpha+side-chain-centre", "awsem", "backbone", "sirah"]
)
def test_chunks_of_any_size_give_the_same_frames_on_their_beads(model, structure, mapping):
    engine, frames = builder(model, mapping, structure), swaying(structure.beads(mapping), 5)
    whole, last, jumps = build(engine, frames)
    first, state, _ = build(engine, frames[:2])
    second, after, _ = build(engine, frames[2:], 2, state)
    assert (torch.cat([first, second], dim=1) - whole).abs().max() < 1e-4
    assert all(np.allclose(after[name], last[name], atol=1e-4) for name in last)
    assert jumps == 0 and whole.isfinite().all() and not torch.equal(whole[0], whole[1])
    assert engine.beads.image_distance(whole, frames).square().mean().sqrt() < 0.005
    assert engine.beads.strained(whole).float().mean() < 0.01


@pytest.mark.parametrize("mapping", ["martini3", "residue-centre", "c-alpha+side-chain-centre"])
def test_atoms_move_less_than_in_frames_of_their_own(model, structure, mapping):
    engine, frames = builder(model, mapping, structure), swaying(structure.beads(mapping), 10)
    coherent, _, _ = build(engine, frames)
    alone = engine.beads.reconstruct(frames, numbers=torch.arange(10), samples=2, seed=0).atoms
    assert rms_step(coherent) < 0.85 * rms_step(alone)


def test_what_beads_leave_open_changes_in_time(model, structure):
    """C-alphas about centres at rest stay near where they were for a picosecond, and not for long."""
    alone = builder(model, "residue-centre", structure).beads
    frames = alone.describe(structure.beads("residue-centre").expand(3, -1, -1), numbers=torch.arange(3))
    elapsed = torch.tensor([0.0, 1.0, 200.0], dtype=torch.float64)
    moved = alone.draw_c_alphas(frames, 4, 0, *wandering_streams(0, 4, elapsed, WANDERING_PS))
    soon, late = ((moved[:, frame] - moved[:, 0]).norm(dim=-1).mean() for frame in (1, 2))
    assert 1e-5 < soon < 0.2 * late
    single = alone.draw_c_alphas(frames, 4, 5)
    assert torch.equal(single[:, 0], single[:, 2])
    assert 0.5 < late / (single[:2, 0] - single[2:, 0]).norm(dim=-1).mean() < 2


def test_frames_that_do_not_follow_begin_anew(model, structure):
    engine, frames = builder(model, "martini3", structure), swaying(structure.beads("martini3"), 4)
    _, _, jumps = build(engine, frames, times=np.array([0.0, 1.0, 0.0, 1.0]))
    assert jumps == 1


def wells(atoms: torch.Tensor, topology: Topology) -> torch.Tensor:
    """Shares (residues, 3) of the wells of chi1 among structures (n, residues, 15, 3)."""
    chi, there = measure_chi(
        atoms.flatten(0, 1),
        torch.from_numpy(topology.atom_mask).repeat(len(atoms), 1),
        torch.from_numpy(topology.residue_types).repeat(len(atoms)),
    )
    third = (torch.remainder(chi[:, 0], 2 * math.pi) * 3 / (2 * math.pi)).long().clamp_max(2)
    shares = torch.nn.functional.one_hot(third, 3).float().unflatten(0, (len(atoms), -1)).mean(dim=0)
    return shares[there.view(len(atoms), -1, 4)[0, :, 0]]


def test_beads_at_rest_sample_the_distribution_of_single_frames(model, monkeypatch):
    """Where side chains do not push each other, wells are taken as in single frames, by vague beads."""
    monkeypatch.setattr(model.packer, "strength", 0.0)
    structure, mapping, samples, n_frames = crystal(10, 10), "c-alpha+side-chain-centre", 500, 4
    topology, chain = structure.topology, structure.chain
    table = bead_table(structure.layout(mapping))
    everywhere = structure.c_alpha.expand(n_frames, -1, -1)
    beads = BeadEvidence(
        table, structure.beads(mapping).expand(n_frames, -1, -1), torch.full((n_frames,), 0.08)
    )
    drawer = CoherentDrawer(model, CoherenceRates())
    with torch.inference_mode():
        moved, _ = drawer.draw(
            everywhere,
            chain,
            stream_keys(0, samples, torch.arange(n_frames)),
            stream_keys(0, samples, torch.zeros(1, dtype=torch.int64))[:, 0],
            torch.full((n_frames, chain.n_residues), 20.0),
            beads=beads,
        )
        one = BeadEvidence(table, beads.positions[:1], beads.noise_nm[:1])
        single = model.draw(everywhere[:1], chain, stream_keys(1, 2000, torch.arange(1)), beads=one)
        unseen = model.draw(everywhere[:1], chain, stream_keys(1, 2000, torch.arange(1)))
    apart = (wells(moved[:, -1], topology) - wells(single[:, 0], topology)).abs()
    # 500 chains: standard deviations of up to 0.022.
    assert apart.max() < 0.09 and apart.mean() < 0.03
    without = (wells(unseen[:, 0], topology) - wells(single[:, 0], topology)).abs()
    assert without.max() > 0.2  # the beads do tell something


def test_side_chains_follow_their_beads(model, structure):
    """A bead that jumps takes its side chain with it in the same frame."""
    mapping = "c-alpha+side-chain-centre"
    engine = builder(model, mapping, structure)
    here = engine.beads.reconstruct(structure.beads(mapping), numbers=torch.arange(1), samples=8, seed=3)
    other = structure.layout(mapping).image(here.atoms[0].numpy())
    turned = model.draw(structure.c_alpha, structure.chain, stream_keys(7, 1, torch.arange(1)))
    there = torch.from_numpy(structure.layout(mapping).image(turned[0].detach().numpy())).float()
    frames = torch.cat([torch.from_numpy(other).float()] * 2 + [there] * 2)
    atoms, _, _ = build(engine, frames)
    assert engine.beads.strained(atoms).float().mean() < 0.05
    assert engine.beads.image_distance(atoms, frames).square().mean().sqrt() < 0.01


@pytest.mark.parametrize("slots", [range(4), range(5), range(8)])
def test_given_atoms_stay(model, structure, slots):
    present = np.zeros((structure.topology.n_residues, 15), dtype=bool)
    present[:, list(slots)] = structure.topology.atom_mask[:, list(slots)]
    present[:, 1] = True
    engine = CoherentBuilder(model, structure.topology, structure.linked, Coherence(), CPU, present)
    n_frames = 4
    noise = torch.randn(n_frames, 1, 1, 3, generator=torch.Generator().manual_seed(1))
    given = torch.from_numpy(structure.atoms).float() + 0.01 * noise
    atoms, _, _ = engine.reconstruct(
        given[:, :, 1],
        numbers=torch.arange(n_frames),
        times=np.arange(n_frames, dtype=float),
        state=None,
        samples=2,
        seed=0,
        given=given,
    )
    kept = torch.from_numpy(present)
    assert torch.equal(atoms[:, :, kept], given[:, kept].expand(2, -1, -1, -1))
    assert atoms.isfinite().all()
    assert rms_step(atoms) < 0.06
