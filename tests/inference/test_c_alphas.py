"""Rules for C-alphas: what is asked for, and what is refused."""

import numpy as np
import pytest
import torch

from backmap.chemistry import Topology
from backmap.errors import InputError, OptionError
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.inference.c_alphas import CAlphaDrawer
from backmap.inference.protein_job import BuiltAtoms, ProteinJob
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain
from backmap.runs.c_alpha_record import CAlphaRecord, describe_cis, describe_motion
from backmap.runs.request import Building
from tests.proteins import c_alpha_sites
from tests.toy_protein import install

TOPOLOGY = Topology.from_sequences("ACDEFGHIKLMNPQRSTVWY")
CHAIN = Chain.from_arrays(TOPOLOGY.residue_types, TOPOLOGY.chain_index, TOPOLOGY.linked(), "cpu")


def helix(n_frames: int = 1) -> torch.Tensor:
    """C-alphas of an ideal helix: no noise at all."""
    turn = torch.arange(20) * np.radians(100.0)
    points = torch.stack([0.23 * torch.cos(turn), 0.23 * torch.sin(turn), 0.15 * torch.arange(20)], dim=1)
    return points.float().expand(n_frames, -1, -1)


def soft(n_frames: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return helix(n_frames) + 0.02 * torch.randn(n_frames, 20, 3, generator=generator)


@pytest.mark.parametrize(
    ("rule", "beads", "moves"),
    [
        (CAlphaRule("keep"), soft(), False),
        (CAlphaRule("auto"), helix(), False),
        (CAlphaRule("auto"), soft(), True),
        (CAlphaRule("relax"), helix(), True),
        (CAlphaRule("auto", 0.02), helix(), True),
    ],
)
def test_rules(rule, beads, moves):
    drawn = CAlphaDrawer(rule, CHAIN).draw(beads, samples=2, seed=3)
    assert drawn.shape == ((2, *beads.shape) if moves else beads.shape)
    assert torch.equal(drawn, beads) is not moves


def test_frames_without_noise_stay_among_others():
    beads = torch.cat([helix(), soft(), helix()])
    drawn = CAlphaDrawer(CAlphaRule(), CHAIN).draw(beads, samples=2, seed=0)
    assert torch.equal(drawn[:, 0], helix().expand(2, -1, -1)) and not torch.equal(drawn[0, 1], beads[1])


def test_equal_frames_are_drawn_alike_and_seeds_differ():
    beads = soft().expand(3, -1, -1) + torch.zeros(3, 20, 3)
    drawer = CAlphaDrawer(CAlphaRule(), CHAIN)
    drawn = drawer.draw(beads, samples=2, seed=0)
    assert torch.equal(drawn[:, 0], drawn[:, 2])
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, drawer.draw(beads, samples=2, seed=5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("move",), "c-alphas move: unknown; use auto, keep or relax"),
        (("keep", 0.1), "does not apply to C-alphas that are kept"),
        (("auto", 0.0), "bead-noise 0.0: give a standard deviation in nm"),
        (("auto", -1.0), "bead-noise -1.0: give a standard deviation in nm"),
        (("relax", float("nan")), "bead-noise nan: give a standard deviation in nm"),
        (("relax", 2.0), "bead-noise 2.0: .* at most 0.3"),
    ],
)
def test_rules_that_contradict_themselves(arguments, message):
    with pytest.raises(InputError, match=message):
        CAlphaRule(*arguments)


@pytest.mark.parametrize("options", [{"c_alphas": "relax"}, {"bead_noise": 0.05}])
def test_given_atoms_and_moving_c_alphas_exclude_each_other(options):
    (name,) = options
    with pytest.raises(OptionError, match=f"{name}: moves C-alphas, which keep_given keeps in place"):
        Building(keep_given=True, **options)
    assert Building(keep_given=True).c_alpha_rule == CAlphaRule()


@pytest.fixture
def kept_and_built(tmp_path, monkeypatch):
    """Give a function that builds frames on C-alphas that stay."""
    install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)

    def build(beads: torch.Tensor, samples: int = 1) -> BuiltAtoms:
        sites, rule = c_alpha_sites(TOPOLOGY), CAlphaRule("keep")
        job = ProteinJob("in.pdb", None, TOPOLOGY, TOPOLOGY.linked(), sites, samples=samples, c_alphas=rule)
        return job.open("cpu")(beads.numpy(), np.arange(len(beads)))

    return build


def test_motion_and_cis_peptides_are_recorded(kept_and_built):
    beads = helix(3).clone()
    beads[:, 7:] += 0.29 / 0.3806 * (beads[:, 7:8] - beads[:, 6:7]) - (beads[:, 7:8] - beads[:, 6:7])
    built = kept_and_built(beads, samples=2)
    assert not built.displacement.any()
    assert built.cis.tolist() == [0] * 7 + [6] + [0] * 12
    moved = built._replace(displacement=np.full((2, 3, 20), 0.02, dtype=np.float32))
    record = CAlphaRecord.of(built, np.arange(3)) + CAlphaRecord.of(moved, np.arange(3))
    assert CAlphaRecord.from_notes(record.to_notes()) == record
    summary = record.summary(TOPOLOGY, None)
    assert describe_motion(summary) == (
        "C-alphas moved in 6 of 12 structures by 0.0200 nm rms, 0.020 nm at most"
    )
    assert (
        describe_cis(summary) == "a cis peptide precedes a residue other than proline: chain A residue 8 ILE"
    )
    assert (
        describe_motion(CAlphaRecord().summary(TOPOLOGY, None))
        == describe_cis(CAlphaRecord().summary(TOPOLOGY, None))
        == ""
    )


def test_cis_before_proline_is_usual(kept_and_built):
    beads = helix().clone()
    step = beads[:, 12:13] - beads[:, 11:12]
    beads[:, 12:] += (0.29 / 0.3806 - 1) * step
    assert not kept_and_built(beads).cis.any()


def test_threads_do_not_change_the_noise_of_large_frames():
    """Sums over so many residues are shared among threads."""
    generator = torch.Generator().manual_seed(5)
    n_residues, posterior, before = 100_000, CAlphaPosterior(), torch.get_num_threads()
    linked = torch.ones(n_residues, dtype=torch.bool)
    linked[-1] = False
    chain = Chain(
        torch.zeros(n_residues, dtype=torch.int64), torch.zeros(n_residues, dtype=torch.int64), linked
    )
    try:
        for _ in range(40):
            lengths = 0.38 + 0.0174 * torch.randn(n_residues, generator=generator)
            beads = torch.zeros(1, n_residues, 3)
            beads[0, ::2, 0] = lengths[::2]
            spreads = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                spreads.append(posterior.bond_spread(beads, chain))
            assert torch.equal(spreads[0], spreads[1]) and torch.equal(spreads[0], spreads[2])
            assert 0.01 < spreads[0] < 0.02
    finally:
        torch.set_num_threads(before)
