"""Frames built as they come."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.errors import InputError
from backmap.io import AtomList, to_mdtraj
from tests import toy_protein, toy_temporal

TOP = Path(__file__).parents[1] / "examples" / "ww_c_alpha.pdb"


@pytest.fixture
def c_alphas() -> mdtraj.Trajectory:
    return mdtraj.load(str(TOP.with_suffix(".xtc")), top=str(TOP))[:6]


@pytest.fixture
def toy(tmp_path, monkeypatch) -> toy_protein.FixedOffsets:
    return toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)


def test_each_frame_is_built_before_the_next_is_asked_for(toy, c_alphas):
    asked: list[int] = []

    def frames():
        for number, positions in enumerate(c_alphas.xyz):
            asked.append(number)
            yield positions

    stream = backmap.reconstruct_stream(frames(), top=c_alphas.topology, samples=2, seed=5)
    whole = backmap.reconstruct(c_alphas, samples=2, seed=5)
    for number, built in enumerate(stream):
        assert asked == list(range(number + 1))
        assert built.n_frames == 2 and built.time.tolist() == [number, number]
        for sample in range(2):
            np.testing.assert_array_equal(built.xyz[sample], whole[sample].xyz[number])
    assert asked == list(range(6))


def test_batches_and_boxes(toy, c_alphas):
    c_alphas.unitcell_vectors = np.broadcast_to(np.diag([5.0, 6.0, 7.0]), (6, 3, 3))
    built = mdtraj.join(list(backmap.reconstruct_stream([c_alphas[:4], c_alphas[4:]], seed=5)))
    assert [frames for _, frames in toy.calls] == [4, 2]
    assert [len(box) for box in toy.boxes] == [4, 2]
    whole = backmap.reconstruct(c_alphas, seed=5)
    np.testing.assert_array_equal(built.xyz, whole.xyz)
    np.testing.assert_allclose(built.unitcell_lengths, np.broadcast_to([5.0, 6.0, 7.0], (6, 3)), rtol=1e-6)
    assert built.time.tolist() == c_alphas.time.tolist()


def test_a_topology_file_will_do(toy, c_alphas):
    built = list(backmap.reconstruct_stream(c_alphas.xyz, top=TOP))
    assert len(built) == 6 and built[0].topology == built[5].topology


def test_temporal_models_remember(tmp_path, monkeypatch):
    toy_temporal.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    atoms = np.zeros((7, 22, 3))
    atoms[:, toy_temporal.BEAD_ATOMS] = toy_temporal.beads(7)
    given = to_mdtraj(AtomList.of_molecule(toy_temporal.DIPEPTIDE), atoms).atom_slice(toy_temporal.BEAD_ATOMS)
    whole = backmap.reconstruct(given, model="toy", seed=1)
    stream = backmap.reconstruct_stream(given.xyz, top=given.topology, model="toy", seed=1)
    np.testing.assert_array_equal(mdtraj.join(list(stream)).xyz, whole.xyz)


def test_frames_of_other_atoms_are_refused(tmp_path, monkeypatch):
    toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    whole = mdtraj.load(str(TOP))
    part = whole.atom_slice(range(20))
    stream = backmap.reconstruct_stream([whole, part])
    next(stream)
    with pytest.raises(InputError, match="frame 2: has 20 atoms, but the first frame has 34"):
        next(stream)


def test_frames_whose_atoms_are_in_another_order_are_refused(toy, c_alphas):
    backwards = c_alphas.atom_slice(range(c_alphas.n_atoms))
    names = [residue.name for residue in backwards.topology.residues]
    for residue, name in zip(backwards.topology.residues, reversed(names), strict=True):
        residue.name = name
    stream = backmap.reconstruct_stream([c_alphas[:2], backwards[2]])
    assert [next(stream).n_frames for _ in range(2)] == [1, 1]
    message = (
        "frame 3: atom 1 is CA of residue .* in chain 1, but CA of residue .* in the first frame; "
        "give frames of the same atoms in the same order"
    )
    with pytest.raises(InputError, match=message):
        next(stream)


@pytest.mark.parametrize(
    "frames, options, message",
    [
        ([np.zeros((3, 3))], {}, "the frames are coordinates without names; give their topology as top"),
        ([np.zeros((3, 3))], {"top": TOP}, "frame 1: has shape .3, 3., but the topology has 34 atoms"),
        ([np.full((34, 3), np.nan)], {"top": TOP}, "a coordinate is not a finite number"),
        ([np.full((34, 3), "a")], {"top": TOP}, "frame 1: contains <U1 instead of numbers"),
        (mdtraj.load(str(TOP)), {}, r"frames is an mdtraj.Trajectory; give it as \[trajectory\]"),
        (
            [],
            {"top": mdtraj.load(str(TOP))},
            "top is an mdtraj.Trajectory; give its topology, trajectory.topology",
        ),
        (mdtraj.load(str(TOP)).topology, {}, "frames is an mdtraj.Topology; give the frames first"),
        ([], {"refine": 3}, "refine: applies only to temporal models"),
        ([], {"samples": 0}, "samples is 0; give a whole number"),
        ([np.zeros((3, 3))], {"top": "none.pdb"}, "none.pdb: no such file; check the name"),
    ],
)
def test_bad_input(toy, frames, options, message):
    with pytest.raises(backmap.InputError, match=message):
        list(backmap.reconstruct_stream(frames, **options))


def test_stretched_bonds_of_a_simulation_are_no_breaks(toy, c_alphas, recwarn):
    positions = c_alphas.xyz[0].copy()
    step = positions[10] - positions[9]
    for longest, breaks in ((0.44, 0), (0.5, 0), (0.55, 1)):
        stretched = positions.copy()
        stretched[10:] += step * (longest / np.linalg.norm(step) - 1)
        recwarn.clear()
        list(backmap.reconstruct_stream([stretched], top=TOP))
        assert sum("chain break" in str(warning.message) for warning in recwarn) == breaks


def test_a_bad_frame_later_is_named(toy, c_alphas):
    positions = c_alphas.xyz.copy()
    positions[3, 7] = np.inf
    stream = backmap.reconstruct_stream(positions, top=c_alphas.topology)
    assert [next(stream).n_frames for _ in range(3)] == [1, 1, 1]
    with pytest.raises(backmap.InputError, match="frame 4, chain A residue .*: a coordinate is not a finite"):
        next(stream)
