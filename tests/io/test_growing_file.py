"""Outputs that grow: cut back after a kill, made of parts, and equal to those written at once."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.errors import InputError
from backmap.io import AtomList, Frames, GrowingOutput, open_source
from tests.fuzzing import tries

pytestmark = pytest.mark.filterwarnings("ignore:.*netCDF4")

FORMATS = (".pdb", ".pdb.gz", ".cif", ".cif.gz", ".gro", ".xtc", ".trr", ".dcd", ".nc", ".h5")
FRAMES = 11


@pytest.fixture(params=FORMATS)
def suffix(request) -> str:
    if request.param == ".h5":
        pytest.importorskip("tables")
    return request.param


@pytest.fixture
def frames(two_chains) -> tuple[AtomList, Frames]:
    topology, present, coordinates = two_chains
    rng = np.random.default_rng(1)
    many = np.concatenate([coordinates] * 4)[:FRAMES] + rng.normal(0, 0.01, (FRAMES, 1, 1, 3))
    atoms = AtomList.of_protein(topology, present)
    box = np.broadcast_to(np.diag([4.0, 5.0, 6.0]), (FRAMES, 3, 3))
    return atoms, Frames(
        coordinates=many[:, present], time=2.5 * np.arange(FRAMES), step=500 * np.arange(FRAMES), box=box
    )


def grow(folder: Path, name: str, atoms: AtomList, **how: object) -> GrowingOutput:
    folder.mkdir(exist_ok=True)
    return GrowingOutput(folder, folder.parent / name, atoms, **how)


def load(path: Path) -> mdtraj.Trajectory:
    if path.suffix in (".xtc", ".trr", ".dcd", ".nc"):
        return mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
    if path.name.endswith((".pdb.gz", ".cif.gz")):
        (chunk,) = open_source(path).chunks(FRAMES)
        return chunk.coordinates
    return mdtraj.load(str(path))


def content(path: Path) -> bytes:
    loaded = load(path)
    return (loaded if isinstance(loaded, np.ndarray) else loaded.xyz).tobytes()


def at_once(tmp_path: Path, suffix: str, atoms: AtomList, frames: Frames) -> Path:
    output = grow(tmp_path / "once", f"x{suffix}", atoms, frame_interval_ps=2.5)
    output.append(frames)
    output.finish()
    return tmp_path / "once" / f"x{suffix}"


def test_what_comes_after_a_note_of_the_length_is_cut_off(tmp_path, suffix, frames):
    atoms, frames = frames
    output = grow(tmp_path / "cut", f"x{suffix}", atoms)
    output.append(frames[:4])
    lengths = output.synchronise()
    output.append(frames[4:9])
    output.files[0].path.open("ab").write(b"half a frame")
    again = grow(tmp_path / "cut", f"x{suffix}", atoms, lengths=lengths, frame_interval_ps=2.5)
    assert again.n_frames == 4
    again.append(frames[4:])
    again.finish()
    expected = at_once(tmp_path, suffix, atoms, frames)
    assert content(tmp_path / "cut" / f"x{suffix}") == content(expected)
    if suffix not in (".nc", ".h5"):  # those write down when they were made
        assert (tmp_path / "cut" / f"x{suffix}").read_bytes() == expected.read_bytes()


def test_parts_make_a_whole(tmp_path, suffix, frames):
    atoms, frames = frames
    outputs = [
        grow(tmp_path / "parts", f"x{suffix}", atoms, first_model=first, frame_interval_ps=2.5)
        for first in (None, 3, 8)
    ]
    for output, part in zip(outputs, (slice(0, 3), slice(3, 8), slice(8, FRAMES)), strict=True):
        output.append(frames[part])
    for part in outputs[1:]:
        outputs[0].take(part)
    outputs[0].finish()
    expected = at_once(tmp_path, suffix, atoms, frames)
    assert content(tmp_path / "parts" / f"x{suffix}") == content(expected)


@pytest.mark.parametrize("count", [1, 3])
def test_finishing_twice_changes_nothing(tmp_path, suffix, frames, count):
    atoms, frames = frames
    output = grow(tmp_path / "twice", f"x{suffix}", atoms)
    output.append(frames[:count])
    lengths = output.synchronise()
    output.finish()
    path = tmp_path / "twice" / f"x{suffix}"
    before = content(path)
    grow(tmp_path / "twice", f"x{suffix}", atoms, lengths=lengths, finishing=True).finish()
    assert content(path) == before


@pytest.mark.fuzz
def test_damage_of_what_has_grown_is_refused(tmp_path, suffix, frames):
    atoms, frames = frames
    output = grow(tmp_path / "bad", f"x{suffix}", atoms)
    output.append(frames)
    lengths = output.synchronise()
    paths = [file.path for file in output.files]
    whole = [path.read_bytes() for path in paths]
    for seed in tries(20):
        generator = np.random.default_rng(seed)
        which = generator.integers(len(paths))
        data = bytearray(whole[which])
        data[generator.integers(len(data))] ^= generator.integers(1, 256)
        paths[which].write_bytes(data)
        with pytest.raises(InputError, match="was changed since the run wrote it; give --overwrite"):
            grow(tmp_path / "bad", f"x{suffix}", atoms, lengths=lengths)
        paths[which].write_bytes(whole[which])
    grow(tmp_path / "bad", f"x{suffix}", atoms, lengths=lengths)


def test_time_step_and_box_are_kept(tmp_path, suffix, frames):
    atoms, frames = frames
    path = at_once(tmp_path, suffix, atoms, frames)
    named = suffix.startswith((".pdb", ".cif", ".gro", ".h5"))
    source = open_source(path, None if named else path.with_suffix(".pdb"))
    (chunk,) = source.chunks(FRAMES)
    np.testing.assert_allclose(chunk.box, frames.box, atol=5e-6 if suffix == ".gro" else 2e-6)
    if not suffix.startswith((".pdb", ".cif")):
        np.testing.assert_allclose(chunk.time, frames.time, rtol=1e-6)
        assert suffix == ".gro" or source.frame_interval_ps == pytest.approx(2.5)
    if suffix in (".xtc", ".trr"):
        np.testing.assert_array_equal(chunk.step, frames.step)


def test_a_file_that_is_too_short_is_refused(tmp_path, suffix, frames):
    atoms, frames = frames
    output = grow(tmp_path / "lost", f"x{suffix}", atoms)
    output.append(frames)
    lengths = output.synchronise()
    path = output.files[0].path
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="has 50 bytes instead of .* give --overwrite to start the run anew"):
        grow(tmp_path / "lost", f"x{suffix}", atoms, lengths=lengths)
