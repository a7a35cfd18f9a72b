"""Motion from frame to frame: known rates, rigid motion, lost order, and atoms that differ."""

import json

import mdtraj
import numpy as np
import pytest

from backmap import evaluate_trajectory
from backmap.errors import InputError
from backmap.evaluation import coherence
from backmap.evaluation.kinetics import Lags
from backmap.evaluation.moving_parts import moving_parts
from backmap.evaluation.shared_atoms import restrict
from backmap.evaluation.side_chain_kinetics import SideChainKinetics, compare_side_chains
from backmap.evaluation.superposition import superpose

from . import dipeptide, turning_peptide


@pytest.fixture(scope="module")
def reference():
    return turning_peptide.trajectory(1500, seed=1)


def compared(reference: mdtraj.Trajectory, sample: mdtraj.Trajectory) -> coherence.Coherence:
    return coherence.compare_coherence(
        reference.topology, {"reference": [reference.xyz], "sample": [sample.xyz]}, 1.0
    )


def shuffled(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    order = np.random.default_rng(0).permutation(len(trajectory))
    return mdtraj.Trajectory(trajectory.xyz[order], trajectory.topology, time=trajectory.time)


def test_superposition_undoes_rigid_motion_and_never_reflects(reference):
    positions = reference.xyz[:20].astype(float)
    moved = turning_peptide.turned_at_random(positions)
    every = np.arange(positions.shape[1])
    np.testing.assert_allclose(superpose(moved, every, positions), positions, atol=1e-6)
    reflected = superpose(positions * (-1.0, 1.0, 1.0), every, positions)
    assert np.abs(reflected - positions).max() > 0.1


def test_rigid_motion_changes_nothing(reference):
    moved = mdtraj.Trajectory(turning_peptide.turned_at_random(reference.xyz), reference.topology)
    scores = compared(reference, moved)
    assert [each.ratio for each in scores.displacements.values()] == pytest.approx([1.0] * 3, abs=1e-3)
    assert all(each.rms_difference < 1e-3 for each in scores.order_parameters.values())


def test_a_trajectory_against_itself(reference):
    scores = compared(reference, reference)
    ratios = [*scores.displacements.values(), *(each.percent for each in scores.turns.values())]
    assert {each.ratio for each in ratios if each.reference} == {1.0}
    assert all(not each.difference.any() for each in scores.memory.values())
    averages = [*scores.order_parameters.values(), scores.couplings]
    assert {each.rms_difference for each in averages} == {0.0}
    assert scores.order_parameters["methyl axes"].correlation == pytest.approx(1.0)


def test_shuffled_frames_keep_averages_and_lose_coherence(reference):
    scores = compared(reference, shuffled(reference))
    assert scores.turns["chi1"].percent.reference == pytest.approx(100.0 * turning_peptide.JUMP, rel=0.4)
    assert scores.turns["chi1"].percent.ratio > 10.0
    assert scores.turns["phi"].percent.sample == 0.0
    assert scores.displacements["side chain beyond CB"].ratio > 2.0
    assert scores.displacements["backbone N, C, O"].ratio == pytest.approx(1.0, abs=0.05)
    kept = scores.memory["chi1"].correlation
    assert kept["reference"][0] > 0.8 > 0.1 > abs(kept["sample"][0])
    assert scores.order_parameters["methyl axes"].rms_difference < 1e-3


def test_residue_types_with_events_or_enough_frames_are_listed(reference):
    chi1 = compared(reference, reference).turns["chi1"]
    assert set(chi1.by_type) == set("LEU LYS PHE VAL MET THR".split())
    assert compared(reference[:20], reference[:20]).turns["phi"].by_type == {}


def test_short_trajectories_are_compared_without_long_times(reference):
    assert compared(reference, reference[:150]).memory["chi1"].times.tolist() == [1.0, 10.0]
    assert compared(reference, reference[:5]).memory == {}


def test_times_are_multiples_of_the_frame_interval(reference):
    sides = {"reference": [reference.xyz], "sample": [reference.xyz]}
    scores = coherence.compare_coherence(reference.topology, sides, 4.0)
    assert scores.memory["chi1"].times.tolist() == [4.0, 12.0, 52.0]


@pytest.mark.parametrize("lag", [1, 5])
def test_autocorrelation_of_jumps_with_a_known_rate(lag):
    jumps = np.random.default_rng(0).random((200_000, 1)) < 0.04
    angles = 180.0 * (np.cumsum(jumps, axis=0) % 2) - 60.0
    found = coherence.autocorrelation([angles, angles[:lag]], np.array([360.0]), lag)
    assert found == pytest.approx((1.0 - 2 * 0.04) ** lag, abs=0.02)
    folded = coherence.autocorrelation([angles], np.array([180.0]), lag)
    assert np.isnan(folded).all()


def test_turns_take_the_shorter_way_and_fold_half_turns():
    angles = np.array([[170.0, 85.0], [-170.0, -85.0], [10.0, -5.0]])
    expected = [[20.0, 10.0], [180.0, 80.0]]
    np.testing.assert_allclose(coherence.turned(angles, np.array([360.0, 180.0])), expected)


def test_order_parameters_of_rest_and_isotropy():
    random = np.random.default_rng(0).normal(size=(100_000, 3))
    fixed = np.broadcast_to((0.0, 0.1, 0.0), random.shape)
    flipping = fixed * np.where(np.arange(len(fixed)) % 2, 1.0, -1.0)[:, None]
    found = coherence.order_parameters(np.stack([fixed, random, flipping], axis=1))
    assert found == pytest.approx([1.0, 0.0, 1.0], abs=1e-3)


def test_couplings_of_strand_and_helix():
    found = coherence.couplings(np.array([[-120.0, -57.0]]))
    assert found == pytest.approx([9.87, 3.74], abs=0.02)


def test_moving_parts_are_found_by_name():
    parts = moving_parts(turning_peptide.topology())
    n = len(turning_peptide.SEQUENCE)
    found = {name: len(each.atoms) for name, each in parts.torsions.items()}
    assert found == {"chi1": 6, "chi2": 4, "chi3": 2, "chi4": 1, "phi": n - 1, "psi": n - 1}
    assert parts.torsions["chi2"].period.tolist() == [360.0, 360.0, 180.0, 360.0]
    assert len(parts.fitted) == n
    assert parts.bonds["methyl axes"].labels[1:3] == ["LEU2 CG-CD1", "LEU2 CG-CD2"]
    assert set(parts.bonds) == {"C-O", "CA-CB", "methyl axes"}
    hydrogens = turning_peptide.with_hydrogens(turning_peptide.trajectory(2)).topology
    assert len(moving_parts(hydrogens).bonds["N-H"].labels) == n - 1


def test_caps_give_their_neighbour_its_torsions():
    parts = moving_parts(dipeptide.topology())
    assert {name: each.residue_types.tolist() for name, each in parts.torsions.items()} == {
        "phi": ["ALA"],
        "psi": ["ALA"],
    }


def reordered(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """Return the same atoms, those of each residue in the opposite order."""
    order, topology = [], trajectory.topology.copy()
    for residue in trajectory.topology.residues:
        order += [atom.index for atom in residue.atoms][::-1]
    for atom, place in zip(topology.atoms, order, strict=True):
        other = trajectory.topology.atom(place)
        atom.name, atom.element = other.name, other.element
    return mdtraj.Trajectory(trajectory.xyz[:, order], topology, time=trajectory.time)


def test_the_same_atoms_in_another_order_keep_their_hydrogens(reference):
    hydrogens = turning_peptide.with_hydrogens(reference[:400])
    matched = restrict({"the reference": [hydrogens], "the sample": [reordered(hydrogens)]})["the sample"][0]
    assert matched.topology == hydrogens.topology
    np.testing.assert_array_equal(matched.xyz, hydrogens.xyz)


def test_differing_atoms_are_matched_and_named(reference):
    hydrogens, sample = turning_peptide.with_hydrogens(reference), reordered(reference)
    scores = evaluate_trajectory(hydrogens, sample, states=10, lag_times=[1, 5])
    assert scores.system.n_atoms == reference.n_atoms
    given = scores.system.n_atoms_given
    assert given == {"reference": hydrogens.n_atoms, "sample": reference.n_atoms}
    assert all(each.ratio == 1.0 for each in scores.coherence.displacements.values())
    assert f"compared are the {reference.n_atoms} heavy atoms that both sides have" in scores.to_table()
    with pytest.raises(InputError, match="energies cannot be compared"):
        evaluate_trajectory(hydrogens, sample, energy=lambda positions: positions.mean(axis=(1, 2)))


def test_shared_c_alphas_are_no_agreement(reference):
    """Other side chains on the same C-alphas: Markov models of C-alphas are left out of the table."""
    c_alphas = set(reference.topology.select("name CA"))
    others = [atom for atom in range(reference.n_atoms) if atom not in c_alphas]
    sample = reference.slice(range(len(reference)))
    sample.xyz[:, others] += 0.01
    scores = evaluate_trajectory(reference, sample, states=10, lag_times=[1, 5])
    assert scores.system.same_c_alphas and scores.kinetics is not None
    table = scores.to_table()
    assert "both sides have the same C-alphas in every frame" in table
    assert "time scale at lag" not in table and "metastable" not in table
    assert table.startswith("motion")
    moved = evaluate_trajectory(reference, shuffled(reference), states=10, lag_times=[1, 5])
    assert not moved.system.same_c_alphas and "metastable" in moved.to_table()


def test_too_few_data_are_said_and_the_rest_is_compared():
    short = turning_peptide.trajectory(60, jump=0.1)
    scores = evaluate_trajectory(short, shuffled(short))
    assert scores.kinetics is None
    assert json.loads(scores.to_json())["kinetics"] is None
    assert "too few data: the reference: has 60 distinct frames" in scores.to_table()
    assert scores.coherence.turns["chi1"].percent.ratio > 1.0
    with pytest.raises(InputError, match="too few for 90 states"):
        evaluate_trajectory(short, short, states=90)


def side_chains(reference: mdtraj.Trajectory, sample: mdtraj.Trajectory) -> SideChainKinetics | None:
    sides = {"reference": [reference.xyz], "sample": [sample.xyz]}
    return compare_side_chains(reference.topology, sides, Lags(1.0, 5, (5,)), seed=0)


def test_side_chains_have_their_time_scales(reference):
    scores = side_chains(reference, reference)
    assert (scores.n_agreeing, scores.n_judged) == (9, 9)
    slowest = scores.torsions[0].time_scale["reference"]
    assert slowest.low < -1.0 / np.log(1.0 - 2 * turning_peptide.JUMP) < slowest.high
    lost = side_chains(reference, shuffled(reference))
    assert (lost.n_agreeing, lost.n_judged) == (0, 9)
    assert scores.torsions[0].label.split()[1] in ("chi1", "chi2")


def test_side_chains_that_stay_in_a_well_are_not_judged(reference):
    at_rest = turning_peptide.trajectory(200, jump=0.0)
    scores = side_chains(at_rest, at_rest)
    assert scores.n_judged == 0
    assert np.isnan(scores.torsions[0].time_scale["sample"].value)
    c_alphas = reference.atom_slice(reference.topology.select("name CA"))
    assert side_chains(c_alphas, c_alphas) is None


def test_c_alphas_alone_have_no_coherence(reference):
    c_alphas = reference.atom_slice(reference.topology.select("name CA"))
    assert compared(c_alphas, c_alphas) is None
