"""Neighbours along chains and around rings, and which residues are bonded as exported models decide it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backmap.chemistry import Topology
from backmap.models.chain import Chain, linked_residues


@pytest.mark.parametrize("seed", range(5))
def test_links_are_those_of_the_topology(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, 4)
    topology = Topology.from_sequences(*("A" * size for size in sizes))
    ways = rng.normal(size=(3, topology.n_residues, 3))
    ways *= rng.uniform(0.15, 0.6, (3, topology.n_residues, 1)) / np.linalg.norm(ways, axis=-1, keepdims=True)
    c_alpha = np.cumsum(ways, axis=1)
    linked = linked_residues(torch.from_numpy(c_alpha), torch.from_numpy(topology.chain_index))
    assert linked.tolist() == topology.linked(c_alpha).tolist()
    assert not linked.all() and linked.any()


def test_soft_bonds_are_no_breaks_in_any_frame():
    rng = np.random.default_rng(0)
    distances = np.clip(rng.normal(0.38, 0.0174, (200, 300)), 0.3, 0.5)
    c_alpha = torch.zeros(200, 301, 3, dtype=torch.float64)
    c_alpha[:, 1:, 0] = torch.from_numpy(np.cumsum(distances, axis=1))
    chain_index = torch.zeros(301, dtype=torch.int64)
    for frame in range(200):
        assert linked_residues(c_alpha[frame : frame + 1], chain_index).sum() == 300


def chain(lengths: tuple[int, ...], rings: tuple[int, ...] = ()) -> Chain:
    topology = replace(Topology.from_sequences(*("A" * n for n in lengths)), rings=rings)
    linked = topology.linked()
    return Chain.from_arrays(np.arange(topology.n_residues), topology.chain_index, linked, "cpu")


def test_shift():
    values = torch.tensor([1, 2, 3])
    of_three = chain((3,))
    assert of_three.shift(values, 1, 0).tolist() == [2, 3, 0]
    assert of_three.shift(values, -1, 9).tolist() == [9, 1, 2]
    assert of_three.shift(values, 5, 7).tolist() == [7, 7, 7]


@pytest.mark.parametrize("offset", range(-6, 7))
def test_neighbours_in_rings_are_those_around_it(offset):
    mixed = chain((3, 5, 4), rings=(1,))
    expected = [3 + (place + offset) % 5 for place in range(5)]
    assert mixed.shift(torch.arange(12), offset, -1)[3:8].tolist() == expected
    assert mixed.neighbour_types(offset)[3:8].tolist() == expected
    alone = [chain((n,)).has_neighbour(offset).tolist() for n in (3, 4)]
    assert mixed.has_neighbour(offset).tolist() == alone[0] + 5 * [True] + alone[1]


def test_segments_are_open_and_rings_are_closed():
    mixed = chain((3, 5, 4, 5), rings=(1, 3))
    assert mixed.segments().tolist() == [[8, 9, 10, 11], [0, 1, 2, -1]]
    assert [table.tolist() for table in mixed.rings()] == [[[3, 4, 5, 6, 7], [12, 13, 14, 15, 16]]]
    assert mixed.following.tolist() == [1, 2, -1, 4, 5, 6, 7, 3, 9, 10, 11, -1, 13, 14, 15, 16, 12]
    assert mixed.opened().segments()[:, 0].tolist() == [3, 12, 8, 0]
    assert chain((5,), rings=(0,)).segments().shape == (0, 0)


def test_steps_are_counted_the_shorter_way_round():
    mixed = chain((3, 8), rings=(1,))
    first, second = torch.tensor([0, 3, 3, 10]), torch.tensor([2, 10, 6, 5])
    assert mixed.steps_between(first, second).tolist() == [2, -1, 3, 3]
