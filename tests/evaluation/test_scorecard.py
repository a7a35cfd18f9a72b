"""Scorecards of structures, trajectories and sets."""

import json

import numpy as np
import pytest

from backmap.evaluation import MEASURES, combine, score
from backmap.evaluation.measurement import join_frames, measure
from backmap.evaluation.scorecard import SCHEMA, Part, Scorecard, block_error

from .peptide import build

SEQUENCE = "MAFWRDPEYTILVA"


def noisy(samples=5, frames=1, noise=0.02, seed=0, sequence=SEQUENCE):
    topology, atoms = build(sequence)
    present = np.isfinite(atoms[..., 0])
    reference = np.repeat(atoms[None], frames, axis=0)
    shifts = np.random.default_rng(seed).normal(0, noise, (samples, *reference.shape))
    return topology, reference, reference + shifts, present


def card_of(name="structure", **options) -> Scorecard:
    topology, reference, samples, present = noisy(**options)
    return score(topology, reference, samples, present, present, name=name)


def test_the_reference_against_itself_is_perfect():
    measures = card_of(samples=1, noise=0.0).measures
    perfect = {"bond": 100, "clash": 0, "chirality": 100, "chirality_beta": 100, "chi1_recovery": 100}
    perfect |= {"cis": 0, "cis_proline": 0, "rings": 0, "rmsd": 0, "consistency": 0, "completeness": 100}
    perfect |= {name: 0 for name in MEASURES if "divergence" in name}
    for region in ("interior", "all"):
        for name, value in perfect.items():
            assert measures[name][region].value == pytest.approx(value, abs=1e-9), name


def test_chi1_recovery_is_within_40_degrees():
    topology, reference = build("ALLLLA", chi=-60.0)
    turned = [build("ALLLLA", chi=-60.0 + turn)[1] for turn in (0.0, 39.0, -41.0, 180.0)]
    sample = reference.copy()
    for residue, other in enumerate(turned, 1):
        sample[residue] = other[residue]
    present = np.isfinite(reference[..., 0])
    card = score(topology, reference[None], sample[None, None], present, present)
    assert card.measures["chi1_recovery"]["all"].value == pytest.approx(50)
    (row,) = card.residue_types
    assert row["residue"] == "LEU"
    assert row["all"]["count"] == 4
    assert row["all"]["recovery"] == pytest.approx(50)


def test_stretches_of_a_trajectory_join_to_the_whole():
    topology, reference, samples, present = noisy(frames=7)
    parts = [
        measure(topology, reference[some], samples[:, some], present, present)
        for some in (slice(0, 3), slice(3, 7))
    ]
    joined = Scorecard((Part("structure", join_frames(parts)),))
    assert joined.to_dict() == score(topology, reference, samples, present, present).to_dict()


def test_absent_coordinates_are_never_read():
    topology, reference, samples, present = noisy()
    filled = np.where(present[..., None], samples, 1e6)
    first = score(topology, reference, samples, present, present)
    assert first.to_dict() == score(topology, reference, filled, present, present).to_dict()


def test_c_alphas_alone_as_reference_give_their_consistency():
    topology, reference, samples, present = noisy(samples=1, noise=0.0, sequence="AFWRA")
    only = np.zeros_like(present)
    only[:, 1] = True
    measures = score(topology, reference + 0.01, samples, only, present).measures
    assert measures["consistency"]["all"].value == pytest.approx(0.1 * np.sqrt(3))
    assert measures["bond"]["all"].value == 100
    assert "rmsd" not in measures


def test_missing_atoms_lower_completeness():
    topology, reference, samples, present = noisy(sequence="AAAA")
    built = present.copy()
    built[0, 4] = False
    measures = score(topology, reference, samples, present, built).measures
    assert measures["completeness"]["all"].value == pytest.approx(95)
    assert measures["completeness"]["interior"].value == 100


def test_a_set_is_the_mean_of_its_structures_and_names_the_extremes():
    cards = [card_of(name, noise=noise) for name, noise in (("good", 0.001), ("poor", 0.03), ("fair", 0.01))]
    together = combine(cards)
    values = [card.measures["bond"]["interior"].value for card in cards]
    bond = together.measures["bond"]["interior"]
    assert bond.value == pytest.approx(np.mean(values))
    assert bond.best == ("good", pytest.approx(values[0]))
    assert bond.worst == ("poor", pytest.approx(values[1]))
    assert together.n_residues == 3 * len(SEQUENCE)
    assert combine([together, cards[0]]).n_residues == 4 * len(SEQUENCE)


def test_torsions_of_a_set_are_pooled():
    first, second = build("ALA", chi=-60.0), build("ALA", chi=170.0)
    present = np.isfinite(first[1][..., 0])
    crossed = [
        score(topology, atoms[None], other[None, None], present, present)
        for (topology, atoms), (_, other) in ((first, second), (second, first))
    ]
    assert crossed[0].measures["chi1_divergence"]["all"].value == pytest.approx(1)
    assert combine(crossed).measures["chi1_divergence"]["all"].value == pytest.approx(0)


def test_block_error_of_known_blocks():
    assert block_error(np.repeat([1.0, 2.0, 3.0, 4.0, 5.0], 3)) == pytest.approx(np.sqrt(2.5 / 5))
    assert np.isnan(block_error(np.ones(4)))


def test_errors_come_from_frames_samples_or_structures():
    assert card_of(samples=5).measures["bond"]["all"].error > 0
    assert card_of(samples=1, frames=10).measures["bond"]["all"].error > 0
    assert card_of(samples=1).measures["bond"]["all"].error is None
    several = combine(card_of(samples=1, seed=seed) for seed in range(5))
    assert several.measures["bond"]["all"].error > 0


def test_json_is_plain_and_complete():
    numbers = json.loads(combine([card_of("one"), card_of("two", seed=1)]).to_json())
    assert numbers["schema"] == SCHEMA
    assert (numbers["n_structures"], numbers["n_samples"], numbers["n_frames"]) == (2, 5, 2)
    need_hydrogens = {"clashscore", "molprobity", "strain_0", "strain_50", "strain_200"}
    assert set(numbers["measures"]) == set(MEASURES) - need_hydrogens
    assert [row["name"] for row in numbers["each"]] == ["one", "two"]
    assert numbers["measures"]["bond"]["interior"]["reference"] == 100
    assert sum(numbers["torsion_histograms"]["chi1"]["TRP"]["sample"]) == 10


def test_json_of_a_region_with_nothing_to_measure():
    """The only proline is at the end of the chain, so the interior has no proline peptide."""
    card = card_of(sequence="GAVLIP", frames=7)
    cis = json.loads(card.to_json())["measures"]["cis_proline"]
    assert cis["interior"]["value"] is None
    assert cis["all"]["value"] is not None


def test_table_has_one_line_per_measure():
    card = card_of(samples=2)
    lines = card.to_table().splitlines()
    assert len(lines) == 2 + len(card.measures)
    assert lines[0].split("  ")[0] == "measure"


def test_table_explains_errors_if_there_are_any():
    card = card_of(samples=5)
    lines = card.to_table().splitlines()
    assert len(lines) == 2 + len(card.measures) + 2
    assert "±" in lines[2] and lines[-1].startswith("± standard error")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, s: (r[:0], s), "reference has shape"),
        (lambda r, s: (r, s[0]), "samples has shape"),
        (lambda r, s: (r, np.full_like(s, np.inf)), "not finite"),
    ],
)
def test_bad_input(change, message):
    topology, reference, samples, present = noisy()
    with pytest.raises(ValueError, match=message):
        score(topology, *change(reference, samples), present, present)
