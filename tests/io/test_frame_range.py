"""Which frames are read: ranges, places to begin at, bad frames left out, and files that end early."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import LinearMapping, Molecule
from backmap.errors import InputEndsEarly, InputError
from backmap.io import FrameRange, load_trajectory, open_beads, open_source
from backmap.io.bead_source import warn_of_intervals
from backmap.io.formats.frame_layout import dcd_bytes
from backmap.io.formats.trajectory_file import StreamedTrajectory

from .conftest import atom_line, helix

pytestmark = pytest.mark.filterwarnings("ignore:.*netCDF4")

FRAMES = 17
BINARY = (".xtc", ".trr", ".dcd", ".h5", ".nc")
TEXT = (".pdb", ".pdb.gz", ".cif")
RANGES = (
    FrameRange(),
    FrameRange(begin=5),
    FrameRange(end=6),
    FrameRange(begin=3, end=100, stride=4),
    FrameRange(stride=6),
    FrameRange(begin=16),
)


def glycines(residues: int) -> mdtraj.Topology:
    """Make a topology of C-alphas."""
    topology = mdtraj.Topology()
    chain = topology.add_chain(chain_id="A")
    for number in range(1, residues + 1):
        topology.add_atom("CA", mdtraj.element.carbon, topology.add_residue("GLY", chain, resSeq=number))
    return topology


def moving(residues: int = 12, frames: int = FRAMES) -> mdtraj.Trajectory:
    """Give a helix whose frames differ, with times and a box that changes."""
    places = helix(residues) + np.random.default_rng(0).normal(0, 0.01, (frames, residues, 3))
    sizes = np.stack([4 + 0.1 * np.arange(frames), np.full(frames, 5.0), np.full(frames, 6.0)], axis=1)
    angles = np.tile([90.0, 80.0, 70.0], (frames, 1))
    time = 2.0 * np.arange(frames) + 1
    return mdtraj.Trajectory(places + 1, glycines(residues), time, sizes, angles)


def write(path: Path, trajectory: mdtraj.Trajectory) -> Path:
    """Write a trajectory in the format of a name, and its first frame as PDB beside it."""
    if path.suffix in (".xtc", ".trr"):
        with mdtraj.open(str(path), "w") as file:
            step = 500 * np.arange(len(trajectory)) + 7
            file.write(trajectory.xyz, time=trajectory.time, step=step, box=trajectory.unitcell_vectors)
    elif path.name.endswith(TEXT):
        text = "".join(pdb_model(number, places) for number, places in enumerate(trajectory.xyz, 1))
        if path.suffix == ".gz":
            path.write_bytes(gzip.compress(text.encode()))
        elif path.suffix == ".cif":
            path.with_suffix(".pdb").write_text(text)
            import gemmi

            structure = gemmi.read_structure(str(path.with_suffix(".pdb")))
            structure.setup_entities()
            structure.make_mmcif_document().write_file(str(path))
        else:
            path.write_text(text)
    else:
        trajectory.save(str(path))
    if path.suffix in BINARY:
        write_top(path, trajectory.n_atoms)
    return path


def pdb_model(number: int, places: np.ndarray) -> str:
    atoms = "".join(atom_line("CA", "GLY", residue, place) for residue, place in enumerate(places, 1))
    return f"MODEL     {number:>4}\n{atoms}TER\nENDMDL\n"


def top_of(path: Path) -> Path:
    return path.with_name("top.pdb")


def write_top(path: Path, residues: int) -> None:
    """Write the topology of a trajectory beside it."""
    top_of(path).write_text(pdb_model(1, helix(residues)))


def opened(path: Path, **asked):
    return open_source(path, top_of(path) if path.suffix in BINARY else None, **asked)


def together(chunks, name: str) -> np.ndarray:
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


@pytest.fixture(autouse=True)
def _needs_tables(request):
    if ".h5" in request.node.name:
        pytest.importorskip("tables")


@pytest.mark.parametrize("with_box", [True, False])
@pytest.mark.parametrize("suffix", BINARY)
def test_all_is_read_as_mdtraj_reads_it(tmp_path, suffix, with_box):
    trajectory = moving()
    if not with_box:
        trajectory.unitcell_vectors = None
    path = write(tmp_path / f"in{suffix}", trajectory)
    chunks = list(opened(path).chunks(5))
    expected = mdtraj.load(str(path), **({} if suffix == ".h5" else {"top": str(top_of(path))}))
    np.testing.assert_array_equal(together(chunks, "coordinates"), expected.xyz)
    np.testing.assert_array_equal(together(chunks, "time"), expected.time)
    if with_box:
        np.testing.assert_allclose(together(chunks, "box"), expected.unitcell_vectors, atol=2e-6)
    else:
        assert all(chunk.box is None for chunk in chunks)
    if suffix in (".xtc", ".trr"):
        steps = together(chunks, "step")
        assert steps.dtype == np.int64 and steps.tolist() == [7 + 500 * frame for frame in range(FRAMES)]
    else:
        assert all(chunk.step is None for chunk in chunks)


@pytest.mark.parametrize("seeks", [False, True])
@pytest.mark.parametrize("suffix", [*BINARY, *TEXT])
def test_ranges(tmp_path, monkeypatch, suffix, seeks):
    monkeypatch.setattr(StreamedTrajectory, "_hops", lambda self, stride: seeks and stride > 1)
    path = write(tmp_path / f"in{suffix}", moving())
    everything = together(opened(path).chunks(100), "coordinates")
    for asked in RANGES:
        numbers = np.arange(FRAMES)[asked.begin : asked.end : asked.stride]
        source = opened(path, frames=asked)
        assert source.n_frames == len(numbers) == len(asked.numbers(FRAMES))
        chunks = list(source.chunks(4))
        assert [chunk.first_frame for chunk in chunks] == list(range(0, len(numbers), 4))
        assert [chunk.looked_at for chunk in chunks] == [len(chunk) for chunk in chunks]
        np.testing.assert_array_equal(together(chunks, "numbers"), numbers)
        np.testing.assert_array_equal(together(chunks, "coordinates"), everything[numbers])
        if suffix in BINARY and suffix != ".dcd":
            np.testing.assert_array_equal(together(chunks, "time"), 2.0 * numbers + 1)
        if suffix == ".dcd":
            np.testing.assert_array_equal(together(chunks, "time"), numbers)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("suffix", [*BINARY, *TEXT])
def test_every_place_to_begin_at(tmp_path, suffix, stride):
    path = write(tmp_path / f"in{suffix}", moving(8))
    source = opened(path, frames=FrameRange(begin=1, stride=stride))
    everything = together(source.chunks(100), "coordinates")
    for first in range(source.n_frames):
        chunks = list(source.chunks(3, first))
        assert [chunk.first_frame for chunk in chunks] == list(range(first, source.n_frames, 3))
        np.testing.assert_array_equal(together(chunks, "coordinates"), everything[first:])
        np.testing.assert_array_equal(together(chunks, "numbers"), np.asarray(source.numbers)[first:])
    assert list(source.chunks(3, source.n_frames)) == []


def test_memory_does_not_change_the_chunks(tmp_path, monkeypatch):
    path = write(tmp_path / "in.xtc", moving())
    whole = list(opened(path, frames=FrameRange(stride=2)).chunks(4))
    monkeypatch.setattr("backmap.io.formats.trajectory_file.MAX_ATOM_POSITIONS_PER_READ", 3 * 12)
    small = list(opened(path, frames=FrameRange(stride=2)).chunks(4))
    assert [chunk.covered for chunk in small] == [chunk.covered for chunk in whole]
    np.testing.assert_array_equal(together(small, "step"), together(whole, "step"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"begin": -1}, "frame 0: frames are counted from 1"),
        ({"begin": 4, "end": 4}, "empty frame range 5 to 4"),
        ({"stride": 0}, "stride 0: must be at least 1"),
    ],
)
def test_impossible_ranges(asked, message):
    with pytest.raises(InputError, match=message):
        FrameRange(**asked)


@pytest.mark.parametrize("suffix", [".xtc", ".pdb"])
def test_a_range_behind_the_end(tmp_path, suffix):
    path = write(tmp_path / f"in{suffix}", moving())
    with pytest.raises(InputError, match=f"in{suffix}: has 17 frames, but frames from 18 on were requested"):
        opened(path, frames=FrameRange(begin=17))


def spoiled() -> mdtraj.Trajectory:
    """Give frames of which 1, 4, 5, 6, 7 and 17 (from 1) are bad."""
    trajectory = moving()
    trajectory.xyz[[0, 4, 5, 16], 2] = np.nan
    trajectory.xyz[[3, 6], 7] = trajectory.xyz[[3, 6], 2]
    return trajectory


BAD = [0, 3, 4, 5, 6, 16]


@pytest.mark.parametrize("suffix", [".trr", ".dcd", ".h5", ".nc", ".pdb"])
def test_bad_frames_are_left_out(tmp_path, suffix):
    path = write(tmp_path / f"in{suffix}", spoiled())
    sound = [frame for frame in range(FRAMES) if frame not in BAD]
    source = opened(path, skip_bad=True)
    assert source.n_frames == FRAMES
    chunks = list(source.chunks(3))
    assert [chunk.first_frame for chunk in chunks] == list(range(0, FRAMES, 3))
    assert [chunk.looked_at for chunk in chunks] == [3, 3, 3, 3, 3, 2]
    assert [len(chunk) for chunk in chunks] == [2, 0, 2, 3, 3, 1]
    assert together(chunks, "numbers").tolist() == sound
    assert together(chunks, "skipped").tolist() == BAD
    np.testing.assert_allclose(together(chunks, "coordinates"), moving().xyz[sound], atol=6e-4)
    for name in ("time", "box", "step"):
        parts = [getattr(chunk, name) for chunk in chunks]
        assert all(part is None or len(part) == len(chunk) for part, chunk in zip(parts, chunks, strict=True))
    (last,) = source.chunks(3, 15)
    assert (last.numbers.tolist(), last.skipped.tolist()) == ([15], [16])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (FrameRange(), "frame 1, chain A residue 3 GLY: a coordinate is not a finite number"),
        (FrameRange(begin=1), "frame 4: the C-alphas of chain A residue 3 GLY and chain A residue 8"),
        (FrameRange(begin=2, stride=2), "frame 5, chain A residue 3 GLY"),
        (
            FrameRange(begin=1, stride=5),
            "frame 7: the C-alphas of chain A residue 3 GLY and chain A residue 8",
        ),
    ],
)
@pytest.mark.parametrize("suffix", [".dcd", ".pdb"])
def test_bad_frames_are_numbered_as_in_the_file(tmp_path, suffix, asked, message):
    path = write(tmp_path / f"in{suffix}", spoiled())
    with pytest.raises(InputError, match=f"in{suffix}: {message}"):
        opened(path, frames=asked)


def test_a_file_of_bad_frames(tmp_path):
    path = write(tmp_path / "in.dcd", spoiled())
    with pytest.raises(InputError, match="in.dcd: all its frames are bad"):
        opened(path, frames=FrameRange(begin=3, end=7), skip_bad=True)


THREE = Molecule(("CA",) * 3, ("C",) * 3, ("GLY",) * 3, (1, 2, 3), ())
THREE_BEADS = LinearMapping.from_atoms(range(3), THREE)


def test_bad_frames_of_beads(tmp_path):
    trajectory = moving(3)
    trajectory.xyz[[0, 2, 8], 1] = np.inf
    path = write(tmp_path / "in.trr", trajectory)
    asked = {"frames": FrameRange(stride=2), "top": top_of(path)}
    with pytest.raises(InputError, match="in.trr: frame 9, residue 2 GLY atom CA: a coordinate"):
        list(open_beads(path, THREE, THREE_BEADS, **asked).chunks(2, 3))
    source = open_beads(path, THREE, THREE_BEADS, skip_bad=True, **asked)
    chunks = list(source.chunks(2, 1))
    assert [chunk.first_frame for chunk in chunks] == [1, 3, 5, 7]
    assert [chunk.numbers.tolist() for chunk in chunks] == [[4], [6], [10, 12], [14, 16]]
    assert together(chunks, "skipped").tolist() == [2, 8]
    np.testing.assert_allclose(together(chunks, "coordinates"), trajectory.xyz[[4, 6, 10, 12, 14, 16]])
    assert source.first_frames(1).numbers.tolist() == [4]
    with pytest.warns(match="frames are 4 ps apart after a stride of 2"):
        warn_of_intervals([source], 1.0)


def cuts(path: Path, last: int) -> list[int]:
    """Give lengths that cut the last so many bytes of a file somewhere, the frame's border left out."""
    size = path.stat().st_size
    return sorted({size - last + 1, size - last + 3, *range(size - last + 4, size, 7), size - 1})


def frame_bytes(path: Path) -> int:
    """Length of the last frame of a file."""
    if path.suffix == ".dcd":
        return (path.stat().st_size - 276) // FRAMES
    with mdtraj.open(str(path)) as file:
        return int(path.stat().st_size - file.offsets[-1])


@pytest.mark.parametrize("residues", [5, 12])
@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd"])
def test_files_cut_in_the_last_frame(tmp_path, suffix, residues):
    path = write(tmp_path / f"in{suffix}", moving(residues))
    whole, last = path.read_bytes(), frame_bytes(path)
    expected = together(opened(path).chunks(100), "coordinates")
    for length in cuts(path, last):
        path.write_bytes(whole[:length])
        chunks = reading_until_cut(opened(path), "ends in the middle of frame 17; its 16 whole frames were")
        np.testing.assert_array_equal(together(chunks, "coordinates"), expected[:-1])
        with pytest.raises(InputEndsEarly, match="in the middle of frame 17"):
            load_trajectory(path, top_of(path))
    assert len(list(opened(path, frames=FrameRange(end=16)).chunks(1))) == 16
    path.write_bytes(whole[: len(whole) - last])
    assert len(list(opened(path).chunks(1))) == 16


def reading_until_cut(source, message: str, frames: int = FRAMES - 1):
    """Read all chunks there are, and make sure that an error about the end comes after them."""
    assert source.n_frames == frames
    chunks, stream = [], source.chunks(5)
    with pytest.raises(InputEndsEarly, match=message):
        chunks.extend(iter(lambda: next(stream, None), None))
    return chunks


@pytest.mark.parametrize("with_box", [True, False])
def test_dcd_frames_with_and_without_a_cell(tmp_path, with_box):
    trajectory = moving()
    if not with_box:
        trajectory.unitcell_vectors = None
    path = write(tmp_path / "in.dcd", trajectory)
    whole = bytearray(path.read_bytes())
    for claimed in (0, 3, FRAMES):
        whole[8:12] = struct.pack("<i", claimed)
        path.write_bytes(whole)
        assert len(list(opened(path).chunks(1))) == FRAMES
        path.write_bytes(whole[:-20])
        reading_until_cut(opened(path), "frame 17; its 16 whole frames were read")


@pytest.mark.parametrize("suffix", [".xtc", ".trr"])
def test_a_file_cut_in_its_first_frame(tmp_path, suffix):
    path = write(tmp_path / f"in{suffix}", moving())
    path.write_bytes(path.read_bytes()[:110])
    with pytest.raises(InputEndsEarly, match="ends in the middle of its first frame; copy it again"):
        opened(path)


@pytest.mark.parametrize("suffix", [".pdb", ".pdb.gz"])
def test_models_cut_in_the_last(tmp_path, suffix):
    models = [pdb_model(number, places) for number, places in enumerate(moving(5, 3).xyz, 1)]
    before = "".join(models[:2])
    atoms = models[2].index("TER")
    path = tmp_path / f"in{suffix}"
    for length in range(len(models[2]) + 1):
        text = before + models[2][:length]
        path.write_bytes(gzip.compress(text.encode()) if suffix == ".pdb.gz" else text.encode())
        source = open_source(path)
        if length == 0 or length >= atoms - 24:  # what is cut off stands behind the last coordinate
            assert source.n_frames == len(list(source.chunks(1))) == (3 if length else 2)
        else:
            chunks = reading_until_cut(source, "in the middle of frame 3; its 2 whole frames were", 2)
            assert together(chunks, "numbers").tolist() == [0, 1]


@pytest.mark.filterwarnings("ignore:.*a chain break")
def test_gzip_stream_that_ends_early(tmp_path):
    models = [pdb_model(number, places) for number, places in enumerate(moving(30, 9).xyz, 1)]
    path = tmp_path / "in.pdb.gz"
    whole = gzip.compress("".join(models).encode())
    found = set()
    for length in range(len(whole) // 3, len(whole), 97):
        path.write_bytes(whole[:length])
        source = open_source(path)
        found.add(source.n_frames)
        reading_until_cut(source, f"frame {source.n_frames + 1}; its", source.n_frames)
    assert len(found) > 3


@pytest.mark.parametrize("suffix", [".xtc", ".trr"])
@pytest.mark.parametrize(("first", "second"), [(5, 12), (12, 5), (12, 13), (5, 6), (1, 2), (12, 1)])
def test_frames_of_differing_numbers_of_atoms(tmp_path, suffix, first, second):
    path = write(tmp_path / f"in{suffix}", moving(first))
    other = write(tmp_path / f"other{suffix}", moving(second, 1))
    path.write_bytes(path.read_bytes() + other.read_bytes())
    write_top(path, first)
    with pytest.raises(
        InputError, match=f"in{suffix}: frame 18 has {second} atoms, but the first has {first};"
    ):
        opened(path)


@pytest.mark.parametrize("residues", [5, 12])
@pytest.mark.parametrize("suffix", [".xtc", ".trr"])
def test_damage_in_the_middle(tmp_path, suffix, residues):
    path = write(tmp_path / f"in{suffix}", moving(residues))
    with mdtraj.open(str(path)) as file:
        offset = int(file.offsets[9])
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged after frame 9") as refusal:
        opened(path)
    assert refusal.type is InputError


def test_trr_in_double_precision_and_frames_without_positions(tmp_path):
    trajectory = moving(frames=3)
    frames = [trr_frame(places, number) for number, places in enumerate(trajectory.xyz)]
    path = tmp_path / "in.trr"
    write_top(path, 12)
    path.write_bytes(b"".join(frames))
    (chunk,) = opened(path).chunks(5)
    np.testing.assert_allclose(chunk.coordinates, trajectory.xyz, atol=1e-6)
    assert (chunk.step.tolist(), chunk.time.tolist()) == ([0, 10, 20], [0.0, 1.0, 2.0])
    path.write_bytes(b"".join(frames)[:-1])
    reading_until_cut(opened(path), "frame 3; its 2 whole frames were", 2)
    path.write_bytes(b"".join([*frames, trr_frame(trajectory.xyz[0][:0], 3, atoms=12)]))
    with pytest.raises(InputError, match="frame 4 has no positions"):
        opened(path)


def trr_frame(places: np.ndarray, number: int, atoms: int | None = None) -> bytes:
    """Give a TRR frame of doubles without a box."""
    sizes = (0, 0, 0, 0, 0, 0, 0, 24 * len(places), 0, 0)
    counts = (len(places) if atoms is None else atoms, 10 * number, 0)
    start = struct.pack(">3i12s", 1993, 13, 12, b"GMX_trn_file")
    return start + struct.pack(">13i2d", *sizes, *counts, number, 0.0) + places.astype(">f8").tobytes()


@pytest.mark.parametrize(
    ("order", "cell", "fourth"),
    [("<", False, False), ("<", True, False), ("<", False, True), ("<", True, True), (">", True, False)],
)
def test_layouts_of_dcd(tmp_path, order, cell, fourth):
    places = moving(5, 4).xyz
    path = tmp_path / "in.dcd"
    write_top(path, 5)
    whole = dcd_file(10 * places, order, cell, fourth)
    path.write_bytes(whole)
    (chunk,) = opened(path).chunks(9)
    np.testing.assert_allclose(chunk.coordinates, places, atol=1e-6)
    path.write_bytes(whole[:-9])
    reading_until_cut(opened(path), "frame 4; its 3 whole frames were read", 3)


def test_dcd_with_fixed_atoms_is_left_to_mdtraj(tmp_path):
    path = tmp_path / "in.dcd"
    content = bytearray(dcd_file(moving(5, 4).xyz, "<", True, False))
    path.write_bytes(content)
    assert dcd_bytes(path) is not None
    content[40:44] = struct.pack("<i", 2)
    path.write_bytes(content)
    assert dcd_bytes(path) is None


def dcd_file(places: np.ndarray, order: str, cell: bool, fourth: bool) -> bytes:
    """Give a DCD file in CHARMM's layout, positions in Angstrom."""

    def record(content: bytes) -> bytes:
        length = struct.pack(f"{order}i", len(content))
        return length + content + length

    numbers = [0] * 20
    numbers[0], numbers[10], numbers[11], numbers[19] = len(places), cell, fourth, 24
    parts = [
        record(b"CORD" + struct.pack(f"{order}20i", *numbers)),
        record(struct.pack(f"{order}i80s", 1, b"A TITLE")),
        record(struct.pack(f"{order}i", places.shape[1])),
    ]
    for frame in places:
        if cell:
            parts.append(record(struct.pack(f"{order}6d", 40, 0, 50, 0, 0, 60)))
        axes = [*frame.T, np.zeros(len(frame))][: 3 + fourth]
        parts += [record(axis.astype(f"{order}f4").tobytes()) for axis in axes]
    return b"".join(parts)


def test_frames_before_the_first_are_not_read(tmp_path):
    path = write(tmp_path / "in.xtc", moving())
    with mdtraj.open(str(path)) as file:
        offset = int(file.offsets[1])
    content = bytearray(path.read_bytes())
    content[offset + 56 : offset + 88] = bytes(32)  # precision and range of the packed positions
    path.write_bytes(content)
    with pytest.raises(InputError, match="in.xtc: "):
        opened(path)
    assert len(list(opened(path, frames=FrameRange(begin=2)).chunks(1))) == FRAMES - 2
    path = write(tmp_path / "in.pdb", moving())
    lines = path.read_text().splitlines(keepends=True)
    second = 1 + len(lines) // FRAMES
    lines[second] = f"{lines[second][:30]}{'*' * 24}{lines[second][54:]}"
    path.write_text("".join(lines))
    with pytest.raises(InputError, match="lacks three coordinates"):
        opened(path)
    assert len(list(opened(path, frames=FrameRange(begin=2)).chunks(1))) == FRAMES - 2


@pytest.mark.parametrize("suffix", [".nc", ".h5"])
def test_a_read_that_comes_up_short(tmp_path, suffix):
    path = write(tmp_path / f"in{suffix}", moving())
    source = opened(path)
    write(path, moving(frames=9))
    stream = source.chunks(5)
    assert len(next(stream)) == 5
    with pytest.raises(InputEndsEarly, match=f"in{suffix}: ends after frame 9 of 17"):
        next(stream)
