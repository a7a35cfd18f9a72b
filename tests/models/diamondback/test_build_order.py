import numpy as np
import torch

from backmap.models.chain import Chain
from backmap.models.diamondback.build_order import build_order
from backmap.models.diamondback.layout import Pass
from backmap.models.diamondback.representation import pass_kinds
from tests.models.conftest import helix


def make_chain(*lengths: int) -> Chain:
    chain_index = np.repeat(np.arange(len(lengths)), lengths)
    linked = np.append(chain_index[1:] == chain_index[:-1], False)
    return Chain.from_arrays(np.zeros(len(chain_index), dtype=np.int64), chain_index, linked, "cpu")


def test_a_segment_is_built_one_after_the_other_and_ends_last():
    turns = build_order(make_chain(9), helix(9)[None])
    assert [turn.tolist() for turn in turns] == [[1], [2], [3], [4], [5], [6], [7], [0, 8]]


def test_chains_out_of_sight_are_built_side_by_side():
    chain = make_chain(20, 20)
    apart = torch.cat([helix(20), helix(20, offset=30.0)])[None]
    turns = build_order(chain, apart)
    assert [turn.tolist() for turn in turns[:-1]] == [[k, 20 + k] for k in range(1, 19)]
    assert turns[-1].tolist() == [0, 19, 20, 39]


def test_chains_in_sight_wait():
    chain = make_chain(20, 20)
    touching = torch.cat([helix(20), helix(20, offset=0.9)])[None]
    where = {int(k): turn for turn, row in enumerate(build_order(chain, touching)) for k in row}
    assert where[25] > where[5]


def test_one_frame_in_sight_makes_all_wait():
    chain = make_chain(20, 20)
    apart, touching = (torch.cat([helix(20), helix(20, offset=offset)]) for offset in (30.0, 0.9))
    both = build_order(chain, torch.stack([apart, touching]))
    assert len(both) == len(build_order(chain, touching[None])) > len(build_order(chain, apart[None]))


def test_every_residue_has_one_turn():
    chain = make_chain(5, 40, 3)
    trace = torch.cat([helix(5), helix(40, offset=1.2), helix(3, offset=2.5)])[None]
    order = torch.cat(build_order(chain, trace))
    assert sorted(order.tolist()) == list(range(48))
    kinds = pass_kinds(chain)[order]
    ends = kinds != Pass.INTERIOR
    assert bool(ends[-6:].all()) and not bool(ends[:-6].any())
