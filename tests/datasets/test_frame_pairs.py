import os
from contextlib import suppress

import mdtraj
import numpy as np
import pytest

from backmap.datasets.frame_pairs import FramePairs, load_frame_pairs, molecule_of
from backmap.errors import InputError
from tests.models.temporal.dipeptide import STRUCTURE


@pytest.fixture
def two() -> FramePairs:
    coordinates = np.arange(10, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), dtype=np.float32)
    return FramePairs(coordinates, (6, 4), previous_frames=2)


def test_pairs_do_not_cross_trajectories(two):
    assert two.present.tolist() == [2, 3, 4, 5, 8, 9]
    frame, previous = two.take(np.array([3, 9]))
    assert frame[:, 0, 0].tolist() == [3, 9]
    assert previous[:, :, 0, 0].tolist() == [[1, 2], [7, 8]]


def test_split_cuts_every_trajectory_in_time(two):
    train, held_out = two.split(0.5)
    assert train.coordinates[:, 0, 0].tolist() == [0, 1, 2, 6, 7]
    assert held_out.coordinates[:, 0, 0].tolist() == [3, 4, 5, 8, 9]
    assert (train.lengths, held_out.lengths) == ((3, 2), (3, 2))
    assert train.data_hash != held_out.data_hash


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_a_share_that_leaves_nothing_is_refused(two, share):
    with pytest.raises(InputError, match=f"10 frames cannot be parted with train_share {share}"):
        two.split(share)


def trajectory(frames: int = 6) -> mdtraj.Trajectory:
    one = mdtraj.load(str(STRUCTURE))
    xyz = one.xyz + 0.001 * np.random.default_rng(0).normal(size=(frames, 22, 3)).astype(np.float32)
    return mdtraj.Trajectory(xyz, one.topology, time=2.0 * np.arange(frames))


def test_trajectories_are_read_with_their_molecule(tmp_path):
    made = trajectory()
    made.save(str(tmp_path / "a.xtc"))
    made[:4].save(str(tmp_path / "b.xtc"))
    pairs, molecule = load_frame_pairs([tmp_path / "a.xtc", tmp_path / "b.xtc"], STRUCTURE, previous_frames=1)
    assert pairs.lengths == (6, 4)
    assert pairs.frame_interval_ps == 2.0
    assert np.allclose(pairs.coordinates[:6], made.xyz, atol=1e-3)
    assert molecule.n_atoms == 22 and len(molecule.bonds) == 21
    assert molecule == molecule_of(made.topology)


def test_a_molecule_torn_by_its_box_is_made_whole(tmp_path):
    made = trajectory()
    made.unitcell_lengths, made.unitcell_angles = np.full((6, 3), 2.0), np.full((6, 3), 90.0)
    whole = made.xyz.copy()
    made.xyz[3, 10:, 0] += 2.0
    made.save(str(tmp_path / "a.xtc"))
    pairs, _ = load_frame_pairs([tmp_path / "a.xtc"], STRUCTURE, previous_frames=1)
    inside = pairs.coordinates - pairs.coordinates.mean(1, keepdims=True)
    assert np.allclose(inside, whole - whole.mean(1, keepdims=True), atol=3e-3)


@pytest.mark.parametrize(
    "spoil, message", [("box", "frame 4 has a bond longer than 0.4 nm"), ("nan", "frame 4 holds")]
)
def test_bad_frames_are_named(tmp_path, spoil, message):
    made = trajectory()
    if spoil == "box":
        made.xyz[3, 10:] += 2.0
    else:
        made.xyz[3, 2] = np.nan
    made.save(str(tmp_path / "a.dcd"))
    with pytest.raises(InputError, match=message):
        load_frame_pairs([tmp_path / "a.dcd"], STRUCTURE, previous_frames=1)


def test_too_few_frames_are_refused(tmp_path):
    trajectory(2).save(str(tmp_path / "a.dcd"))
    with pytest.raises(InputError, match="has 2 frames, too few"):
        load_frame_pairs([tmp_path / "a.dcd"], STRUCTURE, previous_frames=1)


def test_files_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "a.dcd").write_bytes(b"nothing")
    with pytest.raises(InputError, match="a.dcd: cannot be read as DCD"):
        load_frame_pairs([tmp_path / "a.dcd"], STRUCTURE, previous_frames=1)


@pytest.mark.parametrize("suffix", ["xtc", "trr", "dcd", "h5", "nc", "pdb"])
def test_every_format_and_stride_gives_the_same(tmp_path, suffix):
    made, path = trajectory(), tmp_path / f"a.{suffix}"
    made.unitcell_lengths, made.unitcell_angles = np.full((6, 3), 4.0), np.full((6, 3), 90.0)
    made.save(str(path))
    for stride in (1, 2):
        pairs, _ = load_frame_pairs([path], STRUCTURE, previous_frames=0, stride=stride)
        np.testing.assert_allclose(pairs.coordinates, made.xyz[::stride], atol=1e-3)


def test_damaged_trajectories_are_refused(tmp_path):
    """One sentence, whatever mdtraj's libraries make of a damaged file; some damage is only other numbers."""
    generator, path = np.random.default_rng(0), tmp_path / "a.xtc"
    trajectory().save(str(path))
    whole = path.read_bytes()
    for _ in range(60):
        data = bytearray(whole[: generator.integers(len(whole))] if generator.random() < 0.3 else whole)
        for place in generator.integers(0, max(len(data), 1), 3):
            data[place : place + 1] = bytes([generator.integers(256)])
        path.write_bytes(data)
        with suppress(InputError):
            load_frame_pairs([path], STRUCTURE, previous_frames=1)


@pytest.mark.parametrize("which", ["trajectory", "topology"])
def test_pipes_folders_and_nothing_are_refused(tmp_path, which):
    trajectory().save(str(tmp_path / "a.xtc"))
    os.mkfifo(tmp_path / "pipe.pdb")
    (tmp_path / "folder.pdb").mkdir()
    for name in ("pipe.pdb", "folder.pdb", "missing.pdb"):
        files = {"trajectory": tmp_path / "a.xtc", "topology": STRUCTURE} | {which: tmp_path / name}
        with pytest.raises(InputError, match=name):
            load_frame_pairs([files["trajectory"]], files["topology"], previous_frames=1)
