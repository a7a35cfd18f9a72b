"""Scoring trajectories in memory."""

import mdtraj
import numpy as np
import pytest

from backmap.errors import InputError
from backmap.evaluation import scoring
from backmap.evaluation.scoring import evaluate
from backmap.io import AtomList, to_mdtraj

from .peptide import build


def trajectory(
    sequence: str = "AFLWKA", frames: int = 1, noise: float = 0.0, seed: int = 0
) -> mdtraj.Trajectory:
    topology, atoms = build(sequence)
    present = np.isfinite(atoms[..., 0])
    shifts = np.random.default_rng(seed).normal(0, noise, (frames, *atoms.shape))
    return to_mdtraj(AtomList.of_protein(topology, present), (atoms + shifts)[:, present])


def test_a_trajectory_against_itself_is_perfect():
    reference = trajectory(frames=3)
    measures = evaluate(reference, reference).measures
    assert measures["bond"]["all"].value == 100
    assert measures["chi1_recovery"]["interior"].value == 100
    assert measures["rmsd"]["all"].value == pytest.approx(0, abs=1e-5)


def test_several_samples_give_a_diversity():
    card = evaluate(trajectory(), [trajectory(noise=0.003, seed=seed) for seed in range(3)])
    assert card.n_samples == 3
    assert "diversity" in card.measures


def test_stretches_do_not_change_the_scores(monkeypatch):
    reference = trajectory(frames=7)
    samples = [trajectory(frames=7, noise=0.003, seed=seed) for seed in range(2)]
    whole = evaluate(reference, samples).to_dict()
    monkeypatch.setattr(scoring, "RESIDUES_AT_A_TIME", 3 * 2 * 6)
    assert evaluate(reference, samples).to_dict() == whole


def test_a_reference_of_one_frame_is_compared_with_every_frame(monkeypatch):
    """As a reference that repeats it, however frames are divided; more frames than one must agree."""
    one, samples = trajectory(), trajectory(frames=5, noise=0.01)
    expected = evaluate(one[[0] * 5], samples).to_dict()
    assert evaluate(one, samples).to_dict() == expected
    monkeypatch.setattr(scoring, "RESIDUES_AT_A_TIME", 2 * 6)
    assert evaluate(one, samples).to_dict() == expected
    with pytest.raises(InputError, match="sample 1: has 5 frames, but the reference has 3"):
        evaluate(trajectory(frames=3), samples)


def test_without_a_reference():
    assert "chi1_recovery" not in evaluate(None, trajectory()).measures


def test_images_clash_in_a_box():
    """A molecule that a whole box vector parts from another lies upon it."""
    first, second = trajectory(), trajectory()
    topology = first.top.join(second.top)
    box = np.diag([5.0, 5, 5])
    both = mdtraj.Trajectory(np.concatenate([first.xyz, second.xyz + box[0]], axis=1), topology)
    assert evaluate(None, both).measures["clash"]["all"].value == 0
    both.unitcell_vectors = box[None]
    assert evaluate(None, both).measures["clash"]["all"].value == 100
    assert evaluate(both, both).measures["clash"]["all"].value == 100


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no samples"),
        (
            [trajectory("AFLWRA")],
            "sample 1: has chain A residue 5 ARG where the reference has .* residue 5 LYS",
        ),
        ([trajectory("AFLW")], "sample 1: has 4 residues, but the reference has 6; chain A residue 5 LYS"),
        ([trajectory(), trajectory(frames=2)], "sample 2: has 2 frames, but sample 1 has 1"),
        ([trajectory().atom_slice(trajectory().top.select("name CA"))], "only C-alphas"),
    ],
)
def test_what_does_not_fit_is_refused(samples, message):
    with pytest.raises(InputError, match=message):
        evaluate(trajectory(), samples)
