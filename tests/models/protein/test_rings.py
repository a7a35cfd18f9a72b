"""Chains that are closed head to tail."""

import math
from dataclasses import replace

import pytest
import torch

from backmap.chemistry import ATOM_SLOTS, SLOT_C, SLOT_CA, SLOT_N, SLOT_OXT, Topology
from backmap.chemistry.ideal_geometry import ideal_geometry
from backmap.inference.protein import ProteinBuilder
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from tests.rings import circle

SEQUENCE = "AGPVRNDK"


def ring_of(sequence: str) -> Topology:
    return replace(Topology.from_sequences(sequence), rings=(0,))


def build(model, topology, c_alpha, samples=20, **options):
    builder = ProteinBuilder(model, topology, topology.linked(), **options)
    return builder.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=samples, seed=0)


def bond_angle(a, b, c):
    first, second = a - b, c - b
    return torch.acos((first * second).sum(-1) / first.norm(dim=-1) / second.norm(dim=-1))


@pytest.mark.parametrize("best", [False, True])
def test_the_last_peptide_bond_is_like_the_others(model, best):
    topology, c_alpha = ring_of(SEQUENCE), circle(8)
    atoms = build(model, topology, c_alpha, best=best)[:, 0]
    n, ca, c = (atoms[:, :, slot] for slot in (SLOT_N, SLOT_CA, SLOT_C))
    ideal = ideal_geometry()["peptide"]["trans"]
    following_n, following_ca = n.roll(-1, 1), ca.roll(-1, 1)
    assert torch.equal(ca, c_alpha.expand_as(ca))
    assert ((c - following_n).norm(dim=-1) - ideal["C-N"]).abs().max() < 6e-3
    for angle, name in (
        (bond_angle(ca, c, following_n), "angle CA-C-N"),
        (bond_angle(c, following_n, following_ca), "angle C-N-CA"),
    ):
        assert (angle - ideal[name]).abs().max() < math.radians(5)
    # Angles at the ends of the ring are no worse than elsewhere.
    bend = (bond_angle(n, ca, c) - math.radians(111)).abs().mean(dim=0)
    assert bend[[0, -1]].max() < bend[1:-1].max() + math.radians(3)
    assert not atoms[:, :, SLOT_OXT].any()


def test_angles_are_drawn_from_the_distribution_of_the_ring(model):
    """The marginal of each angle is the diagonal of the product of all transitions, from it back to it."""
    planes = model.peptide_planes
    topology = ring_of(SEQUENCE)
    chain = Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")
    (rings,) = chain.rings()
    with torch.no_grad():
        encoded, _ = planes.encode_all(circle(8)[None], chain, 100)
        uniforms = torch.rand(6000, 1, 8, 2)
        angles = planes.draw_ring_angles(encoded, rings, uniforms)[:, 0, 0]
        middles = torch.atan2(planes.class_waves[2], planes.class_waves[1])
        transitions = []
        for residue in range(8):
            own = type(encoded)(*(part[:, residue, None].expand(-1, 72, *part.shape[2:]) for part in encoded))
            logits = planes.angle_logits(own, torch.cos(middles), torch.sin(middles))[0]
            transitions.append(torch.softmax(logits, dim=-1).double())
    for residue in (0, 3, 7):
        product = torch.eye(72, dtype=torch.float64)
        for step in range(1, 9):
            product = product @ transitions[(residue + step) % 8]
        share = product.diagonal() / product.trace()
        found = torch.histc(angles[:, residue], 24, -math.pi, math.pi).double() / len(angles)
        assert (found - share.unflatten(0, (24, 3)).sum(dim=1)).abs().sum() < 0.1


@pytest.mark.parametrize("turn", [1, 3])
def test_the_best_guess_does_not_depend_on_where_the_ring_begins(model, turn):
    c_alpha = circle(8) + 0.02 * torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
    atoms = build(model, ring_of(SEQUENCE), c_alpha, best=True)[0, 0]
    rolled = SEQUENCE[turn:] + SEQUENCE[:turn]
    turned = build(model, ring_of(rolled), c_alpha.roll(-turn, 0), best=True)[0, 0]
    assert (turned.roll(turn, 0) - atoms)[:, :SLOT_OXT].abs().max() < 1e-3


def test_a_ring_in_two_batches_is_the_same_ring(model):
    topology = ring_of(SEQUENCE)
    builder = ProteinBuilder(model, topology, topology.linked())
    c_alpha = circle(8) + 0.01 * torch.rand(5, 8, 3, generator=torch.Generator().manual_seed(0))
    whole = builder.reconstruct(c_alpha, numbers=torch.arange(5), samples=2, seed=1)
    parts = [
        builder.reconstruct(c_alpha[part], numbers=torch.arange(5)[part], samples=2, seed=1)
        for part in (slice(0, 1), slice(1, 5))
    ]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)


def test_given_atoms_of_a_ring_are_kept(model):
    topology, c_alpha = ring_of(SEQUENCE), circle(8)
    atoms = build(model, topology, c_alpha, samples=1)[0]
    present = torch.zeros(8, ATOM_SLOTS, dtype=torch.bool)
    present[[0, 7], : SLOT_C + 1] = True
    present[:, SLOT_CA] = True
    builder = ProteinBuilder(model, topology, topology.linked(), present=present.numpy())
    again = builder.reconstruct(
        c_alpha[None], numbers=torch.arange(1), samples=3, seed=5, given=atoms.clone()
    )
    assert torch.equal(again[:, 0][:, present], atoms[0][present].expand(3, -1, -1))
    closing = (again[:, 0, 7, SLOT_C] - again[:, 0, 0, SLOT_N]).norm(dim=-1)
    assert (closing - 0.133).abs().max() < 5e-3


def test_c_alphas_of_noisy_rings_have_the_bonds_of_proteins():
    topology = ring_of("A" * 12)
    chain = Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")
    beads = circle(12) + 0.0124 * torch.randn(3, 12, 3, generator=torch.Generator().manual_seed(0))
    keys = stream_keys(0, 4, torch.arange(3))
    drawn, moves = CAlphaPosterior()(beads, chain, keys, None, 0.0124)
    assert moves.all()
    apart = (drawn - drawn.roll(-1, 2)).norm(dim=-1)
    assert (apart - 0.3805).abs().max() < 2e-3
    assert (drawn - beads).norm(dim=-1).mean() < 0.1  # a circle is no shape that proteins have
