"""The whole scorecard of a trajectory: itself, another run, shuffled frames, and what is refused."""

import json

import mdtraj
import numpy as np
import pytest

from backmap import evaluate_trajectory
from backmap.errors import InputError

from . import dipeptide

OPTIONS = {"states": 20, "lag_times": [1, 5], "metastable": 2}


@pytest.fixture(scope="module")
def reference():
    return dipeptide.trajectory(4000, seed=1)


@pytest.fixture(scope="module")
def itself(reference):
    energy = lambda positions: 100.0 * positions.std(axis=(1, 2))  # noqa: E731
    codes = energy(reference.xyz)[:, None] * np.array([[1.0, 0.2]])
    return evaluate_trajectory(
        reference, reference, energy=energy, codes=codes, one_frame=reference[:30], **OPTIONS
    )


def test_a_trajectory_against_itself(itself):
    assert itself.surface.divergence == itself.surface.plain_divergence == 0.0
    assert itself.velocities.scale == pytest.approx(1.0)
    compared = [itself.velocities.plain, itself.energies.distribution]
    compared += [*itself.geometry.bonds.values(), *itself.geometry.angles.values()]
    assert all(comparison.divergence == 0.0 for comparison in compared)
    assert itself.energies.wasserstein == 0.0
    assert all(process.agrees for process in itself.kinetics.processes if process.resolved)
    np.testing.assert_allclose(np.diag(itself.kinetics.cosine_similarities), 1.0)
    assert itself.latent.correlation == pytest.approx(1.0)
    assert itself.code_diversity.n_samples == 30


def test_the_known_time_scale_is_found(itself):
    slowest = itself.kinetics.processes[0]
    assert slowest.resolved
    found = slowest.time_scale["reference"]
    assert found.low < dipeptide.TIME_SCALE < found.high
    assert itself.kinetics.populations["reference"].value == pytest.approx([0.5, 0.5], abs=0.1)
    assert itself.kinetics.chapman_kolmogorov["reference"].largest_error < 0.1


def test_the_json_is_whole_and_plain(itself):
    scores = json.loads(itself.to_json())
    assert scores["schema"] == "backmap-trajectory-scorecard/2"
    assert scores["system"]["coordinates"] == ["phi, degrees", "psi, degrees"]
    assert len(scores["geometry"]["bonds"]) == 7
    assert None in scores["surface"]["free_energy"]["sample"][0]
    table = itself.to_table()
    assert "time scale at lag 5 ps" in table
    assert "energy, kJ/mol" in table


def test_shuffled_frames_keep_distributions_and_lose_the_time_scales(reference):
    order = np.random.default_rng(0).permutation(len(reference))
    shuffled = mdtraj.Trajectory(reference.xyz[order], reference.topology, time=reference.time)
    scores = evaluate_trajectory(reference, shuffled, **OPTIONS)
    slowest = scores.kinetics.processes[0]
    assert slowest.time_scale["sample"].value < 5.0 < slowest.time_scale["reference"].value
    assert not slowest.agrees
    assert scores.surface.plain_divergence == 0.0
    assert scores.velocities.scale < 0.8


def test_several_samples_are_pooled(reference):
    samples = [dipeptide.trajectory(1500, seed=seed) for seed in (2, 3)]
    scores = evaluate_trajectory(reference, samples, **OPTIONS)
    assert scores.system.n_frames["sample"] == 3000
    assert scores.system.n_trajectories["sample"] == 2
    assert scores.kinetics.processes[0].cosine_similarity > 0.95


def test_a_peptide_of_c_alphas_uses_their_slow_distances(reference):
    positions = np.random.default_rng(0).normal(0.0, 0.05, (3000, 4, 3))
    positions[:, :, 0] += np.arange(4)
    positions[:, 3, 1] += np.cumsum(np.random.default_rng(1).random(3000) < dipeptide.JUMP) % 2
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    atoms = [
        topology.add_atom("CA", mdtraj.element.carbon, topology.add_residue("ALA", chain)) for _ in range(4)
    ]
    for first, second in zip(atoms, atoms[1:], strict=False):
        topology.add_bond(first, second)
    trace = mdtraj.Trajectory(positions, topology, time=np.arange(3000.0))
    scores = evaluate_trajectory(trace, trace, **OPTIONS)
    assert scores.system.coordinates == ("component 1", "component 2")
    assert scores.system.tica_time_scales[0] == pytest.approx(dipeptide.TIME_SCALE, rel=0.4)


def test_refusals(reference):
    sample = reference[:500]
    damaged = mdtraj.Trajectory(sample.xyz.copy(), sample.topology, time=sample.time)
    damaged.xyz[17, 3, 1] = np.nan
    slower = mdtraj.Trajectory(sample.xyz, sample.topology, time=2.0 * sample.time)
    uneven = mdtraj.Trajectory(sample.xyz, sample.topology, time=sample.time**2)
    fewer = sample.atom_slice(range(16))
    renamed = sample.topology.copy()
    renamed.residue(1).name = "GLY"
    other = mdtraj.Trajectory(sample.xyz, renamed, time=sample.time)
    unnamed = sample.topology.copy()
    for atom in unnamed.atoms:
        atom.name = f"X{atom.index}"
    foreign = mdtraj.Trajectory(sample.xyz, unnamed, time=sample.time)
    mistakes = [
        (damaged, {}, "the sample: frame 17 contains NaN"),
        (slower, {}, "1 ps in the reference and 2 ps in the sample"),
        ([sample, slower], {}, "1 ps in the reference and 2 ps in the sample"),
        ([slower, sample], {}, "1 ps in the reference and 2 ps in the sample"),
        (uneven, {}, "not evenly spaced"),
        (fewer, {}, "the sample: has 2 residues, but the reference has 3"),
        (other, {}, "the sample: residue 2 is GLY2, but ALA2 in the reference"),
        (foreign, {}, "shares no heavy atom with the reference"),
        (sample, {"lag": 2.5}, "2.5 ps is not a multiple of the time between frames, 1 ps"),
        (sample, {"lag": 200.0}, "too short for lag times up to 1000 frames"),
        (sample, {"frame_interval": 0.0}, "frame_interval is 0.0; give a number"),
        (sample, {"codes": np.zeros((500, 2))}, "compared with energies"),
        ([], {}, "no trajectory to compare"),
    ]
    for given, options, message in mistakes:
        with pytest.raises(InputError) as refused:
            evaluate_trajectory(reference, given, **options)
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)
