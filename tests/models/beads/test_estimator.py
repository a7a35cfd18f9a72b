"""C-alphas are estimated from the beads around them, wherever and however these lie."""

import numpy as np
import pytest
import torch

from backmap.chemistry.bead_mapping import load_mapping
from backmap.models.beads.candidates import choose_by_beads
from backmap.models.beads.estimator import CAlphaEstimator, EstimatorConfig
from backmap.models.beads.evidence import BeadEvidence, BeadTable, bead_table, by_residue, image
from backmap.models.chain import Chain
from tests.beaded import crystal


def untrained(mapping: str) -> CAlphaEstimator:
    torch.manual_seed(0)
    beads = load_mapping(mapping)
    return CAlphaEstimator(EstimatorConfig(mapping, beads.digest, beads.most_beads, width=32)).eval()


def estimate(network, beads, chain=None, mapping="martini3"):
    structure = crystal()
    with torch.inference_mode():
        return network(beads, bead_table(structure.layout(mapping)), chain or structure.chain)


def test_estimates_turn_and_move_with_the_beads(random_rotation):
    network, beads = untrained("martini3"), crystal().beads("martini3")
    shift = torch.tensor([1.0, -2.0, 0.5])
    found, noise = estimate(network, beads)
    moved, same = estimate(network, beads @ random_rotation.T + shift)
    assert torch.allclose(moved, found @ random_rotation.T + shift, atol=1e-4)
    assert torch.allclose(noise, same, atol=1e-5) and (noise > 0).all()


def test_only_near_residues_of_the_segment_matter():
    structure, network = crystal(), untrained("martini3")
    beads = structure.beads("martini3")
    table = bead_table(structure.layout("martini3"))
    other = beads.clone()
    other[:, table.residues == 20] += 0.1
    changed = (estimate(network, beads)[0] - estimate(network, other)[0]).norm(dim=-1)[0] > 1e-7
    assert changed.nonzero().squeeze(-1).tolist() == list(range(17, 24))
    linked = structure.linked.copy()
    linked[18] = False
    types, index = structure.topology.residue_types, structure.topology.chain_index
    broken = Chain.from_arrays(types, index, linked, "cpu")
    changed = (estimate(network, beads, broken)[0] - estimate(network, other, broken)[0]).norm(dim=-1)[
        0
    ] > 1e-7
    assert changed.nonzero().squeeze(-1).tolist() == list(range(19, 24))


def test_c_alphas_among_the_beads_are_kept():
    structure = crystal()
    flags = np.arange(structure.topology.n_residues) < 12
    layout = load_mapping("residue-centre").layout(structure.topology.residue_types, flags)
    beads = torch.from_numpy(layout.image(structure.atoms)).float()
    found, noise = untrained("residue-centre")(beads, bead_table(layout), structure.chain)
    assert torch.equal(found[:, :12], structure.c_alpha[:, :12]) and not noise[:, :12].any()
    assert (found[:, 12:] != beads[:, 12:]).any() and noise[:, 12:].all()


@pytest.mark.parametrize("mapping", ["backbone", "martini3", "residue-centre"])
def test_the_main_bead_is_in_the_first_column(mapping):
    structure = crystal()
    layout, table = structure.layout(mapping), bead_table(structure.layout(mapping))
    arranged = by_residue(structure.beads(mapping), table, structure.topology.n_residues, 8)
    assert torch.equal(arranged[:, :, 0], structure.beads(mapping)[:, torch.from_numpy(layout.main)])
    if mapping == "backbone":
        assert torch.allclose(arranged[:, :, 0], structure.c_alpha)


def test_image_is_that_of_the_layout():
    structure = crystal()
    table = bead_table(structure.layout("martini3"))
    assert torch.allclose(
        image(torch.from_numpy(structure.atoms).float(), table), structure.beads("martini3")
    )


def test_candidates_that_explain_the_bead_are_chosen():
    weights = torch.zeros(1, 15)
    weights[0, 4] = 1.0
    table = BeadTable(torch.tensor([1]), torch.tensor([0]), weights)
    candidates = torch.zeros(3, 2, 8, 10, 3)
    candidates[:, 1, :, 0, 0] = torch.arange(8) * 0.1
    beads = BeadEvidence(table, torch.tensor([[[0.31, 0.0, 0.0]]]).expand(3, -1, -1), torch.zeros(3))
    chosen = choose_by_beads(candidates, torch.zeros(3, 2, 4, 3), beads, torch.rand(3, 2), 5)
    assert chosen.shape == (3, 2, 5, 10, 3)
    assert torch.allclose(chosen[:, 1, :, 0, 0], torch.tensor(0.3))


def test_candidates_without_beads_are_drawn_evenly():
    table = BeadTable(
        torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0, 15)
    )
    candidates = torch.arange(8.0)[None, None, :, None, None].expand(1, 1, 8, 10, 3)
    beads = BeadEvidence(table, torch.empty(1, 0, 3), torch.zeros(1))
    chosen = choose_by_beads(candidates, torch.zeros(1, 1, 4, 3), beads, torch.full((1, 1), 0.7), 4)
    assert chosen[0, 0, :, 0, 0].tolist() == [1.0, 3.0, 5.0, 7.0]


def test_estimates_do_not_depend_on_the_other_frames_at_all():
    """Not even in their last bits, or a resumed run could differ from an uninterrupted one."""
    network, exact = untrained("residue-centre"), crystal(0, 11).beads("residue-centre")
    beads = exact + 0.01 * torch.randn(9, *exact.shape[1:], generator=torch.Generator().manual_seed(0))
    table = bead_table(crystal(0, 11).layout("residue-centre"))
    with torch.inference_mode():
        together = network(beads, table, crystal(0, 11).chain)
        for frame in range(9):
            alone = network(beads[frame : frame + 1].clone(), table, crystal(0, 11).chain)
            assert all(torch.equal(one[0], many[frame]) for one, many in zip(alone, together, strict=True))
