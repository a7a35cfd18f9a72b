"""Files damaged at random: whatever the damage, they are read or refused in one sentence."""

from __future__ import annotations

import gzip
import os
import random
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.errors import InputEndsEarly, InputError
from backmap.io import load_trajectory, open_source
from backmap.io.formats import lammps_dump, pdb_file, reading_process, text_file
from backmap.io.naming import INPUT_SUFFIXES, TOPOLOGY_SUFFIXES
from tests.fuzzing import tries

from .conftest import helix

RESIDUES, FRAMES = 14, 4
NAMES = "ALA GLY SER TRP LYS LEU GLU ASP VAL ILE THR ASN GLN PRO".split()
LETTERS = "AGSWKLEDVITNQP"


def trajectory() -> mdtraj.Trajectory:
    """C-alphas of a helix that moves a little, in a box."""
    topology = mdtraj.Topology()
    chain = topology.add_chain("A")
    for number, name in enumerate(NAMES, 1):
        residue = topology.add_residue(name, chain, number)
        topology.add_atom("CA", mdtraj.element.carbon, residue)
    moved = np.random.default_rng(0).normal(0, 0.003, (FRAMES, RESIDUES, 3))
    places = (helix(RESIDUES) + 3 + moved).astype(np.float32)
    return mdtraj.Trajectory(
        places,
        topology,
        unitcell_lengths=np.full((FRAMES, 3), 20.0),
        unitcell_angles=np.full((FRAMES, 3), 90.0),
    )


def psf_text() -> str:
    rows = [
        f"{number:>8} A    {number:<4} {name:<4} CA   C    0.000000       12.0110           0\n"
        for number, name in enumerate(NAMES, 1)
    ]
    bonds = "".join(f"{number:>8}{number + 1:>8}" for number in range(1, RESIDUES))
    return (
        f"PSF\n\n       1 !NTITLE\n REMARKS made\n\n{RESIDUES:>8} !NATOM\n{''.join(rows)}\n"
        f"{RESIDUES - 1:>8} !NBOND: bonds\n{bonds}\n\n"
    )


def mol2_text(places: np.ndarray) -> str:
    rows = [
        f"{number} CA {x:.3f} {y:.3f} {z:.3f} C.3 {number} {name}{number} 0.0\n"
        for number, (name, (x, y, z)) in enumerate(zip(NAMES, 10 * places, strict=True), 1)
    ]
    bonds = [f"{number} {number} {number + 1} 1\n" for number in range(1, RESIDUES)]
    return (
        f"@<TRIPOS>MOLECULE\nmade\n{RESIDUES} {RESIDUES - 1} {RESIDUES}\nPROTEIN\nNO_CHARGES\n\n"
        f"@<TRIPOS>ATOM\n{''.join(rows)}@<TRIPOS>BOND\n{''.join(bonds)}"
    )


def dump_text(places: np.ndarray) -> str:
    return "".join(
        f"ITEM: TIMESTEP\n{number}\nITEM: NUMBER OF ATOMS\n{RESIDUES}\nITEM: BOX BOUNDS pp pp pp\n"
        + "0 200\n" * 3
        + "ITEM: ATOMS id type x y z\n"
        + "".join(
            f"{atom} {letter} {x:.3f} {y:.3f} {z:.3f}\n"
            for atom, (letter, (x, y, z)) in enumerate(zip(LETTERS, 10 * frame, strict=True), 1)
        )
        for number, frame in enumerate(places)
    )


def write_gsd(path: Path, places: np.ndarray) -> None:
    """Write a GSD file where the package is there."""
    try:
        import gsd.hoomd
    except ImportError:
        return
    with gsd.hoomd.open(str(path), "w") as file:
        for number, frame in enumerate(places):
            made = gsd.hoomd.Frame()
            made.particles.N, made.particles.types = RESIDUES, list(LETTERS)
            made.particles.typeid, made.particles.position = range(RESIDUES), frame
            made.bonds.N, made.bonds.types = RESIDUES - 1, ["b"]
            made.bonds.group = [(atom, atom + 1) for atom in range(RESIDUES - 1)]
            made.configuration.step, made.configuration.box = number, [20, 20, 20, 0, 0, 0]
            file.append(made)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Give a folder of undamaged files of the helix, in all formats."""
    folder = tmp_path_factory.mktemp("whole")
    made = trajectory()
    for name in "xtc trr dcd h5 nc pdb gro mdcrd xyz".split():
        made.save(str(folder / f"run.{name}"))
    made[0].save(str(folder / "run.rst7"))
    made[0].save(str(folder / "run.ncrst"))
    made[0].save(str(folder / "run.cif"))
    np.save(folder / "run.npy", 10 * made.xyz)
    (folder / "top.fasta").write_text(f">a\n{LETTERS}\n")
    (folder / "run.psf").write_text(psf_text())
    (folder / "run.mol2").write_text(mol2_text(made.xyz[0]))
    (folder / "run.lammpstrj").write_text(dump_text(made.xyz))
    write_gsd(folder / "run.gsd", made.xyz)
    for name in ("pdb", "cif"):
        (folder / f"run.{name}.gz").write_bytes(gzip.compress((folder / f"run.{name}").read_bytes()))
    return folder


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes or a whole field, cut the end off, take a piece out or put one in."""
    content = bytearray(data)
    kind = rng.randrange(6)
    place = rng.randrange(len(content))
    if kind == 0:
        del content[place:]
    elif kind == 1:
        del content[place : place + rng.randrange(1, 100)]
    elif kind == 2:
        content[place:place] = rng.randbytes(rng.randrange(1, 100))
    elif kind == 3:
        field = rng.choice([0, 1, -1, 2**31 - 1, -(2**31), rng.randrange(10**5)])
        start = place // 4 * 4
        content[start : start + 4] = field.to_bytes(4, rng.choice(["big", "little"]), signed=True)
    else:
        for _ in range(rng.choice([1, 2, 8, 30])):
            content[rng.randrange(len(content))] = rng.choice([0, 10, 32, 255, rng.randrange(256)])
    return bytes(content)


TRAJECTORIES = ["run.xtc", "run.trr", "run.dcd", "run.nc", "run.mdcrd", "run.xyz", "run.rst7", "run.ncrst"]
STRUCTURES = ["run.pdb", "run.gro", "run.cif", "run.pdb.gz", "run.cif.gz", "run.h5", "run.mol2"]
TOPOLOGIES = ["run.pdb", "run.gro", "run.cif", "run.psf", "run.mol2", "run.h5"]
OF_SEQUENCES = ["run.npy", "run.lammpstrj", "run.gsd"]

CASES = [
    *[(name, "top", name, "run.pdb") for name in TRAJECTORIES],
    *[(name, None, name, None) for name in STRUCTURES],
    *[(f"topology {name}", "top", "run.dcd", name) for name in TOPOLOGIES],
    *[(name, "sequence", name, "top.fasta") for name in OF_SEQUENCES],
]


@pytest.mark.fuzz
@pytest.mark.parametrize(("case", "option", "name", "names"), CASES, ids=[case[0] for case in CASES])
def test_damaged_files_are_read_or_refused(tmp_path, whole, capfd, case, option, name, names):
    if name == "run.gsd":
        pytest.importorskip("gsd.hoomd")
    spoilt = names if case.startswith("topology") else name
    for seed in tries(12):
        rng = random.Random(f"{case} {seed}")
        path = tmp_path / spoilt
        path.write_bytes(damaged((whole / spoilt).read_bytes(), rng))
        files = {key: path if key == spoilt else whole / key for key in (name, names) if key}
        options = {} if option is None else {option: files[names]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for chunk in open_source(files[name], **options).chunks(2):
                    assert np.isfinite(chunk.coordinates[chunk.coordinates == chunk.coordinates]).all()
            except InputError as error:
                assert "\n" not in str(error) and str(error).isprintable(), seed
            except Exception as error:
                raise AssertionError(f"{case}, seed {seed}") from error
        assert capfd.readouterr() == ("", ""), seed


def test_a_library_that_crashes_is_a_damaged_file(tmp_path, whole, monkeypatch):
    """And the next file is read by a new process."""
    monkeypatch.setattr(reading_process, "_process", None)
    path = tmp_path / "run.xtc"
    path.write_bytes((whole / "run.xtc").read_bytes())
    source = open_source(path, whole / "run.pdb")
    monkeypatch.setattr(reading_process._Process, "_exchange", crashing(reading_process._Process._exchange))
    with pytest.raises(InputError, match="run.xtc: cannot be read as XTC.*crashed: Segmentation fault"):
        list(source.chunks(2))
    monkeypatch.undo()
    assert sum(map(len, open_source(path, whole / "run.pdb").chunks(2))) == FRAMES


def crashing(exchange):
    """Make the reading process end with a segmentation fault when it is to read."""

    def crash(process, question):
        if question[0] == "read":
            process._process.send_signal(signal.SIGSEGV)
            process._process.wait()
        return exchange(process, question)

    return crash


@pytest.mark.parametrize("killed", [1, 2])
def test_a_reading_process_that_was_killed_is_replaced(whole, killed):
    source = open_source(whole / "run.xtc", whole / "run.pdb")
    chunks = source.chunks(1)
    found = [next(chunks).coordinates for _ in range(killed)]
    reading_process._process._process.kill()
    found += [chunk.coordinates for chunk in chunks]
    again = open_source(whole / "run.xtc", whole / "run.pdb")
    np.testing.assert_array_equal(
        np.concatenate(found), np.concatenate([c.coordinates for c in again.chunks(1)])
    )


def test_threads_share_the_reading_process(whole):
    """Many readers at once, some of which are dropped in the middle of a file."""
    expected = {name: read(whole, name) for name in ("run.xtc", "run.dcd", "run.trr")}

    def once(number: int) -> bool:
        name = sorted(expected)[number % 3]
        if number % 4 == 0:
            next(open_source(whole / name, whole / "run.pdb").chunks(1))
        return np.array_equal(read(whole, name), expected[name], equal_nan=True)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(once, range(60)))


def read(folder: Path, name: str) -> np.ndarray:
    source = open_source(folder / name, folder / "run.pdb")
    return np.concatenate([chunk.coordinates for chunk in source.chunks(1)])


def test_a_closed_standard_output_does_no_harm(whole):
    script = (
        "import sys; from backmap.io import open_source; sys.exit(str(open_source(*sys.argv[1:]).n_frames))"
    )
    command = [sys.executable, "-c", script, str(whole / "run.dcd"), str(whole / "run.pdb")]
    shell = " ".join(map(shlex.quote, command)) + " >&- <&-"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == str(FRAMES)


@pytest.mark.fuzz
def test_structures_cut_in_their_first_model(tmp_path, whole):
    text = (whole / "run.pdb").read_text()
    first, end = text.index("ATOM") + 1, text.index("ENDMDL")
    path = tmp_path / "cut.pdb"
    for seed in tries(40):
        path.write_text(text[: random.Random(seed).randrange(first + 80, end)])
        with pytest.raises(InputError, match="the middle of its first frame.* or add ENDMDL if it is"):
            open_source(path)
        for use in (lambda: open_source(whole / "run.xtc", path), lambda: load_trajectory(path)):
            with pytest.raises(InputError, match="ends in the middle of its first frame"):
                use()


@pytest.mark.fuzz
def test_structures_without_models_cut_in_a_record(tmp_path, whole):
    """Whole records need no END."""
    lines = [line for line in (whole / "run.pdb").read_text().splitlines() if line.startswith("ATOM")]
    lines = lines[:RESIDUES]
    path = tmp_path / "cut.pdb"
    for seed in tries(20):
        rng = random.Random(seed)
        kept = rng.randrange(3, RESIDUES)
        path.write_text("\n".join(lines[:kept]) + "\n" * rng.randrange(2))
        assert open_source(path).topology.n_residues == kept
        path.write_text("\n".join([*lines[:kept], lines[kept][: rng.randrange(6, 66)]]))
        with pytest.raises(InputError, match="ends in the middle of an atom record; copy it again"):
            open_source(path)


@pytest.mark.parametrize("name", ["run.gro", "run.cif", "run.pdb"])
def test_text_cut_in_a_later_frame(tmp_path, whole, name):
    """Whole frames are read, and then the cut is said."""
    text = models(trajectory()) if name == "run.cif" else (whole / name).read_text()
    lines = text.splitlines(keepends=True)
    path = tmp_path / name
    for left_out in (6, 9):
        path.write_text("".join(lines[:-left_out]))
        source = open_source(path)
        stream, found = source.chunks(1), 0
        with pytest.raises(InputEndsEarly, match=f"ends in the middle of frame {FRAMES}"):
            for chunk in stream:
                found += len(chunk)
        assert found == source.n_frames == FRAMES - 1


def models(made: mdtraj.Trajectory) -> str:
    """Write mmCIF of several models, without a line behind its table."""
    label = [f"label_{tag}_id" for tag in ("atom", "alt", "comp", "asym", "seq")]
    tags = ["id", "type_symbol", *label, "Cartn_x", "Cartn_y", "Cartn_z", "pdbx_PDB_model_num"]
    tags = "".join(f"_atom_site.{tag}\n" for tag in tags)
    rows = [
        f"{atom} C CA . {name} A {atom} {x:.3f} {y:.3f} {z:.3f} {model}\n"
        for model, frame in enumerate(10 * made.xyz, 1)
        for atom, (name, (x, y, z)) in enumerate(zip(NAMES, frame, strict=True), 1)
    ]
    return f"data_made\nloop_\n{tags}{''.join(rows)}"


ENDLESS = [".pdb", ".cif", ".gro", ".pdb.gz", ".cif.gz", ".fasta", ".xyz.gz"]


@pytest.mark.parametrize("letter", [b"\0", b"x"])
@pytest.mark.parametrize("suffix", ENDLESS)
def test_endless_lines_are_refused(tmp_path, whole, suffix, letter):
    path = tmp_path / f"bomb{suffix}"
    text = (3 << 20) * letter
    path.write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    options = {".fasta": {"sequence": path}, ".xyz.gz": {"top": whole / "run.pdb"}}.get(suffix, {})
    with pytest.raises(InputError, match="bomb.*: cannot be read as .*it has a line of 1048576 characters"):
        open_source(whole / "run.pdb" if suffix == ".fasta" else path, **options)


@pytest.mark.parametrize(
    "name", ["run.pdb", "run.cif", "run.cif.gz", "run.gro", "run.lammpstrj", "top.fasta"]
)
def test_text_larger_than_memory_is_refused(whole, monkeypatch, name):
    options = {"sequence": whole / "top.fasta"} if name in ("run.lammpstrj", "top.fasta") else {}
    for module in (text_file, pdb_file, lammps_dump):
        monkeypatch.setattr(module, "most_letters", lambda: 10)
    with pytest.raises(InputError, match="more text than fits into memory"):
        open_source(whole / (name if "run" in name else "run.npy"), **options)


@pytest.mark.parametrize("make", ["pipe", "device"])
def test_what_is_no_regular_file_is_refused(tmp_path, whole, make):
    for suffix in INPUT_SUFFIXES + TOPOLOGY_SUFFIXES:
        path = tmp_path / f"{make}{suffix}"
        if path.exists() or path.is_symlink():
            continue
        if make == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")
        for use in uses_of(path, whole):
            with pytest.raises(InputError, match="is not a regular file; save its contents to a file"):
                use()


def uses_of(path: Path, whole: Path) -> list[Callable[[], object]]:
    return [
        lambda: open_source(path),
        lambda: open_source(whole / "run.xtc", path),
        lambda: open_source(whole / "run.npy", sequence=path),
        lambda: load_trajectory(path),
    ]


def test_cells_of_another_shape_are_damage(whole, monkeypatch):
    """A changed byte in the header of a NetCDF file can give its cell angles four columns."""
    read = reading_process.RemoteTrajectory.read

    def with_four_angles(file, first, count):
        *others, angles = read(file, first, count)
        return (*others, np.ones((len(angles), 4)))

    monkeypatch.setattr(reading_process.RemoteTrajectory, "read", with_four_angles)
    with pytest.raises(InputError, match=r"run.nc: cannot be read as NC; .*its cell angles have the shape"):
        list(open_source(whole / "run.nc", whole / "run.pdb").chunks(2))
