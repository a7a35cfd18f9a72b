"""Building along the chain: what decides a structure, and what does not."""

import numpy as np
import pytest
import torch

import backmap.inference.diamondback as along_chain
from backmap.chemistry import ATOM_MASK, SLOT_C, SLOT_CA, SLOT_O, SLOT_OXT, Topology
from backmap.inference.diamondback import DiamondbackBuilder, StructureBuilder, Traces, build_structures
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.diamondback.layout import Pass
from backmap.models.diamondback.representation import pass_kinds
from tests.models.conftest import ALL_TYPES, helix
from tests.models.diamondback.small import SMALL, make_model

SEQUENCES = ("GAWRLKDEYC", "MSTPV")
TRACE = torch.cat([helix(10), helix(5, offset=1.0)])


def frames(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return TRACE + 0.02 * torch.randn(count, 15, 3, generator=generator)


def make_engine(network: str = "compact", ddim_steps: int = 0) -> DiamondbackBuilder:
    topology = Topology.from_sequences(*SEQUENCES)
    return DiamondbackBuilder(make_model(network), topology, topology.linked(), ddim_steps=ddim_steps)


@pytest.mark.parametrize("ddim_steps", [0, 3])
@pytest.mark.parametrize("network", SMALL)
def test_builds_every_atom_on_the_c_alphas(network, ddim_steps):
    built = make_engine(network, ddim_steps).reconstruct(
        frames(3), numbers=torch.arange(3), samples=2, seed=7
    )
    assert built.shape == (2, 3, 15, 15, 3) and built.isfinite().all()
    torch.testing.assert_close(built[:, :, :, SLOT_CA], frames(3).expand(2, -1, -1, -1))
    mask = torch.from_numpy(Topology.from_sequences(*SEQUENCES).atom_mask)
    assert (built[:, :, mask] != 0).any(-1).all() and (built[:, :, ~mask] == 0).all()
    assert not torch.equal(built[0], built[1])


@pytest.mark.parametrize("network", SMALL)
def test_batch_does_not_change_a_frame(network):
    engine, trajectory = make_engine(network), frames(4)
    together = engine.reconstruct(trajectory, numbers=torch.arange(len(trajectory)), samples=2, seed=7)
    for frame in range(4):
        alone = engine.reconstruct(trajectory[frame, None], numbers=torch.tensor([frame]), samples=2, seed=7)
        torch.testing.assert_close(alone[:, 0], together[:, frame], atol=1e-3, rtol=0)


def test_seed_and_frame_number_decide():
    engine, trajectory = make_engine(), frames(1)
    first, again, other, later = (
        engine.reconstruct(trajectory, numbers=torch.tensor([frame]), samples=1, seed=seed)
        for seed, frame in ((7, 0), (7, 0), (8, 0), (7, 1))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, later)


def make_traces(sequences: tuple[str, ...], c_alpha: torch.Tensor) -> Traces:
    topology = Topology.from_sequences(*sequences)
    chain = Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")
    return Traces(c_alpha, chain, stream_keys(3, 2, torch.arange(len(c_alpha))))


def test_structures_of_different_size_in_one_batch_are_those_built_alone():
    traces = [
        make_traces(SEQUENCES, frames(2)),
        make_traces(("ACDEFGH",), helix(7)[None]),
        make_traces(("KKKK", "WWW", "GGGGGG"), torch.cat([helix(4), helix(3, 1.0), helix(6, 9.0)])[None]),
    ]
    model = make_model("compact")
    for part, together in zip(traces, build_structures(model, traces), strict=True):
        torch.testing.assert_close(build_structures(model, [part])[0], together, atol=1e-3, rtol=0)


def test_turns_give_what_one_residue_after_the_other_gives(monkeypatch):
    sequences, trace = (ALL_TYPES, ALL_TYPES[::-1]), torch.cat([helix(20), helix(20, offset=20.0)])[None]
    model, traces = make_model("compact"), make_traces(sequences, trace)
    turns = build_structures(model, [traces])[0]
    count = len(along_chain.build_order(traces.chain, trace))

    def one_by_one(chain, c_alpha):
        kind = pass_kinds(chain)
        interior = torch.nonzero(kind == Pass.INTERIOR)
        return [*interior, torch.nonzero(kind != Pass.INTERIOR).squeeze(-1)]

    monkeypatch.setattr(along_chain, "build_order", one_by_one)
    torch.testing.assert_close(build_structures(model, [traces])[0], turns, atol=1e-3, rtol=0)
    assert count == 19 < len(one_by_one(traces.chain, trace))


def test_a_peptide_bond_comes_from_one_pass(monkeypatch):
    """C and O of residue i - 1 stay as the pass of residue i places them."""
    written = []
    place = along_chain.overlapping_placement

    def watch(atoms, frame, local, target):
        placed = place(atoms, frame, local, target)
        written.append((target.clone(), placed.clone()))
        return placed

    monkeypatch.setattr(along_chain, "overlapping_placement", watch)
    built = build_structures(make_model("compact"), [make_traces(("ACDEFG",), helix(6)[None])])[0]
    flat = built.flatten(2, 3)
    for turn, (target, placed) in enumerate(written[:-1]):
        carbon, oxygen = ((turn * 15) + slot for slot in (SLOT_C, SLOT_O))  # the pass of residue turn + 1
        assert carbon in target and oxygen in target
        now = placed.unflatten(0, (2, 1)).flatten(2, 3)
        torch.testing.assert_close(flat[:, :, [carbon, oxygen]], now[:, :, [carbon, oxygen]])


def test_terminal_oxygen_is_opposite_and_as_far():
    built = make_engine().reconstruct(frames(1), numbers=torch.arange(1), samples=1, seed=7)[0, 0]
    for end in (9, 14):
        carbon = built[end, SLOT_C]
        assert float((built[end, SLOT_OXT] - carbon).norm()) == pytest.approx(0.125, abs=0.005)
        to_oxygen, to_c_alpha, to_oxt = (built[end, slot] - carbon for slot in (SLOT_O, SLOT_CA, SLOT_OXT))
        normal = torch.linalg.cross(to_oxygen, to_c_alpha)
        assert abs(float(normal @ to_oxt)) < 1e-6 * float(normal.norm())
        assert float(torch.linalg.cross(to_c_alpha, to_oxt) @ normal) > 0


def test_short_segments_are_refused_by_name():
    topology = Topology.from_sequences("ACDE", "AC")
    with pytest.raises(ValueError, match="chain B residue 1 ALA is in a segment of fewer than three"):
        DiamondbackBuilder(make_model("compact"), topology, topology.linked())


def test_breaks_are_ends():
    topology = Topology.from_sequences("ACDEFGH")
    linked = topology.linked()
    linked[2] = False
    engine = DiamondbackBuilder(make_model("compact"), topology, linked)
    assert np.flatnonzero(pass_kinds(engine.chain) != Pass.INTERIOR).tolist() == [0, 2, 3, 6]
    built = engine.reconstruct(helix(7)[None], numbers=torch.arange(1), samples=1, seed=0)
    assert built[0, 0][torch.from_numpy(ATOM_MASK)[engine.chain.types]].isfinite().all()


def test_cuda_matches_cpu(cuda):
    built = [
        DiamondbackBuilder(make_model("compact"), topology, topology.linked(), device).reconstruct(
            frames(2), numbers=torch.arange(2), samples=2, seed=7
        )
        for topology in [Topology.from_sequences(*SEQUENCES)]
        for device in ("cpu", cuda)
    ]
    torch.testing.assert_close(built[1].cpu(), built[0], atol=1e-3, rtol=0)


def test_residues_that_overlap_are_drawn_again(monkeypatch):
    """Every residue is called overlapping: a turn is drawn as often as allowed, from other random numbers."""
    drawn, normals = [], StructureBuilder.normals

    def watch(builder, keys, attempt, steps):
        drawn.append(attempt)
        return normals(builder, keys, attempt, steps)

    monkeypatch.setattr(StructureBuilder, "normals", watch)
    monkeypatch.setattr(StructureBuilder, "overlap_nm", 9.0)
    model, traces = make_model("compact"), make_traces(("ACDEFG",), helix(6)[None])
    once, thrice = (build_structures(model, [traces], 0, redraws)[0] for redraws in (0, 2))
    assert drawn == [0] * 5 + [0, 1, 2] * 5
    assert not torch.allclose(once, thrice)


def test_residues_out_of_touch_are_drawn_once(monkeypatch):
    monkeypatch.setattr(StructureBuilder, "overlap_nm", 1e-6)
    model, traces = make_model("compact"), make_traces(("ACDEFG",), helix(6)[None])
    once, thrice = (build_structures(model, [traces], 0, redraws)[0] for redraws in (0, 2))
    assert torch.equal(once, thrice)
