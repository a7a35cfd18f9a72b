"""Formats of coarse-grained simulators: LAMMPS dumps, GSD, arrays of mlcg, GRO, PSF; names by a sequence."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main
from backmap.errors import InputError, InputWarning
from backmap.io import FrameRange, open_source
from backmap.io.formats import reading_process
from tests import toy_protein
from tests.proteins import atoms_in_slots

from .conftest import helix
from .test_cases import CASES, TRACE, c_alphas, lengths, letters
from .test_whole_molecules import random_box, random_chains, same_but_for_the_box, wrapped

LETTERS = np.array(list("ARNDCQEGHILKMFPSTWYV"))


def fasta(folder: Path, *records: str) -> Path:
    path = folder / "sequence.fasta"
    path.write_text(
        "".join(f">chain {n}\n{record[:30]}\n{record[30:]}\n" for n, record in enumerate(records))
    )
    return path


def random_system(seed: int, kind: str, sizes=(14, 9), frames: int = 3):
    """Frames (frames, residues, 3) in nm, boxes (frames, 3, 3) and the sequences of two chains."""
    rng = np.random.default_rng(seed)
    boxes = np.stack([random_box(rng, kind) for _ in range(frames)])
    places = np.stack([random_chains(rng, list(sizes)) for _ in range(frames)])
    sequences = ["".join(rng.choice(LETTERS, size)) for size in sizes]
    return rng, places, boxes, sequences


def numbers_of(values: np.ndarray) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def dump_text(rng, places, boxes, columns: str, unit: float = 10.0) -> str:
    """A LAMMPS dump, its atoms in any order, in units of which so many make a nm."""
    frames = []
    for number, (positions, box) in enumerate(zip(places, boxes, strict=True)):
        origin = rng.uniform(-3, 3, 3)
        inside = positions if columns == "xu yu zu" else origin + wrapped(rng, positions - origin, box)
        images = np.rint((positions - inside) @ np.linalg.inv(box)).astype(int)
        if columns in ("xs ys zs", "xsu ysu zsu"):
            written = ((inside if columns == "xs ys zs" else positions) - origin) @ np.linalg.inv(box)
        else:
            written = unit * inside
        xy, xz, yz = unit * box[1, 0], unit * box[2, 0], unit * box[2, 1]
        low, high = unit * origin, unit * (origin + np.diag(box))
        bounds = np.array([[low[0] + min(0, xy, xz, xy + xz), high[0] + max(0, xy, xz, xy + xz)],
                           [low[1] + min(0, yz), high[1] + max(0, yz)], [low[2], high[2]]])  # fmt: skip
        tilted = any((xy, xz, yz))
        head = "xy xz yz pp pp pp" if tilted else "pp pp pp"
        tilts = [f" {tilt!r}" if tilted else "" for tilt in map(float, (xy, xz, yz))]
        rows = [
            f"{atom + 1} 1 {numbers_of(written[atom])} {' '.join(map(str, images[atom]))}\n"
            for atom in rng.permutation(len(positions))
        ]
        frames.append(
            f"ITEM: TIMESTEP\n{500 * number}\nITEM: NUMBER OF ATOMS\n{len(positions)}\n"
            f"ITEM: BOX BOUNDS {head}\n"
            + "".join(f"{a!r} {b!r}{tilt}\n" for (a, b), tilt in zip(bounds.tolist(), tilts, strict=True))
            + f"ITEM: ATOMS id type {columns} ix iy iz\n"
            + "".join(rows)
        )
    return "".join(frames)


@pytest.mark.parametrize("columns", ["x y z", "xs ys zs", "xu yu zu", "xsu ysu zsu"])
@pytest.mark.parametrize("kind", ["orthorhombic", "triclinic"])
@pytest.mark.parametrize("seed", range(5))
def test_lammps_dumps_of_all_kinds(tmp_path, seed, kind, columns):
    rng, places, boxes, sequences = random_system(seed, kind)
    (tmp_path / "run.lammpstrj").write_text(dump_text(rng, places, boxes, columns))
    source = open_source(tmp_path / "run.lammpstrj", sequence=fasta(tmp_path, *sequences))
    assert letters(source) == "".join(sequences) and lengths(source) == [14, 9]
    (chunk,) = source.chunks(9)
    assert chunk.step.tolist() == [0, 500, 1000]
    np.testing.assert_allclose(chunk.box, boxes, atol=1e-6)
    for frame in range(3):
        found = chunk.coordinates[frame]
        same_but_for_the_box(found, places[frame], boxes[frame], source.topology.chain_index)
    part = open_source(
        tmp_path / "run.lammpstrj", sequence=tmp_path / "sequence.fasta", frames=FrameRange(1, None, 2)
    )
    np.testing.assert_array_equal(c_alphas(part), chunk.coordinates[1::2])


def test_molecules_of_a_lammps_dump_are_chains(tmp_path):
    """Types named by letters say the residues, and the column mol the chains."""
    rng, places, boxes, sequences = random_system(7, "triclinic")
    letters_of = "".join(sequences)

    def named(row: re.Match) -> str:
        atom = int(row[1]) - 1
        return f"\n{row[1]} {1 + (atom >= 14)} {letters_of[atom]} "

    text = re.sub(r"\n(\d+) 1 (?=\S+ \S+ \S+ )", named, dump_text(rng, places, boxes, "x y z"))
    path = tmp_path / "run.lammpstrj"
    path.write_text(text.replace("ITEM: ATOMS id type", "ITEM: ATOMS id mol type"))
    source = open_source(path, sequence=fasta(tmp_path, *sequences))
    assert lengths(source) == [14, 9] and letters(source) == letters_of
    for frame, chunk in enumerate(source.chunks(1)):
        found = chunk.coordinates[0]
        same_but_for_the_box(found, places[frame], boxes[frame], source.topology.chain_index)


def test_lammps_dumps_in_nm_are_told(tmp_path):
    rng, places, boxes, sequences = random_system(2, "orthorhombic")
    (tmp_path / "run.dump").write_text(dump_text(rng, places, boxes, "x y z", unit=1.0))
    with pytest.warns(InputWarning, match="run.dump: assumed to be in nm, as neighbouring C-alphas are 0.3"):
        source = open_source(tmp_path / "run.dump", sequence=fasta(tmp_path, *sequences))
    (chunk,) = source.chunks(9)
    same_but_for_the_box(chunk.coordinates[0], places[0], boxes[0], source.topology.chain_index)


@pytest.mark.parametrize("name", ["images", "xs"])
def test_lammps_dumps_of_the_cases(tmp_path, name):
    path = CASES / f"periodic/{name}.lammpstrj"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(path, sequence=fasta(tmp_path, TRACE))
        by_names = open_source(path, CASES / "dialects/old_id.pdb")
    assert source.n_frames == 3 and source.linked.sum() == 23
    np.testing.assert_array_equal(c_alphas(by_names), c_alphas(source))
    shape = c_alphas(source) - c_alphas(source)[:, :1]
    expected = c_alphas(open_source(CASES / "dialects/old_id.pdb"))
    np.testing.assert_allclose(shape[0], (expected - expected[:, :1])[0], atol=2e-4)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("ITEM: TIMESTEP", "ITEM: TIME"), "no line ITEM: TIMESTEP"),
        (
            lambda text: text.replace(" x y z ", " vx vy vz "),
            "frame 1 has no coordinates .columns x y z, xs ys zs",
        ),
        (lambda text: text.replace("ITEM: BOX BOUNDS", "ITEM: BOX"), "frame 1 is damaged"),
        (
            lambda text: re.sub(r"\n1 1 \S+", "\n1 1 what", text, count=1),
            "frame 1 has a coordinate that is not a number",
        ),
        (lambda text: text.replace("BOUNDS pp pp pp", "BOUNDS pp pp", 1), "frame 1 is damaged"),
        (lambda text: text.replace("TIMESTEP\n0", f"TIMESTEP\n{'9' * 30}", 1), "frame 1 is damaged"),
        (lambda text: re.sub(r"\n1 1 ", f"\n{'9' * 30} 1 ", text, count=1), "frame 1 is damaged"),
        (
            lambda text: "1001 1 ".join(text.rsplit("\n1 1 ", 1)).replace("1001", "\n1001"),
            "frame 3 has different atom ids from the first frame",
        ),
    ],
)
def test_damaged_lammps_dumps(tmp_path, damage, message):
    rng, places, boxes, sequences = random_system(3, "orthorhombic")
    (tmp_path / "run.lammpstrj").write_text(damage(dump_text(rng, places, boxes, "x y z")))
    with pytest.raises(InputError, match=f"run.lammpstrj: cannot be read as a LAMMPS dump; .*{message}"):
        open_source(tmp_path / "run.lammpstrj", sequence=fasta(tmp_path, *sequences))


@pytest.mark.parametrize("count", ["many", "9" * 5000, "-3"])
def test_a_lammps_dump_whose_last_frame_has_no_count(tmp_path, count):
    rng, places, boxes, sequences = random_system(3, "orthorhombic")
    whole, head, rest = dump_text(rng, places, boxes, "x y z").rpartition("NUMBER OF ATOMS\n23")
    (tmp_path / "run.lammpstrj").write_text(f"{whole}NUMBER OF ATOMS\n{count}{rest}")
    source = open_source(tmp_path / "run.lammpstrj", sequence=fasta(tmp_path, *sequences))
    assert head and source.n_frames == 2 and source.early_end is not None


def test_a_lammps_dump_that_is_being_written(tmp_path):
    rng, places, boxes, sequences = random_system(3, "orthorhombic")
    text = dump_text(rng, places, boxes, "x y z")
    path, names = tmp_path / "run.lammpstrj", fasta(tmp_path, *sequences)
    whole = text.count("ITEM: TIMESTEP")
    for cut in range(30, 700, 45):
        path.write_text(text[:-cut])
        source = open_source(path, sequence=names)
        assert source.n_frames == whole - 1 and source.early_end is not None


def test_gsd(tmp_path):
    hoomd = pytest.importorskip("gsd.hoomd")
    rng, places, boxes, sequences = random_system(1, "triclinic")
    kinds = sorted(set("".join(sequences)))
    with hoomd.open(str(tmp_path / "run.gsd"), "w") as file:
        for number, (positions, box) in enumerate(zip(places, boxes, strict=True)):
            frame = hoomd.Frame()
            frame.configuration.step = 10 * number
            x, y, z = np.diag(box)
            frame.configuration.box = [x, y, z, box[1, 0] / y, box[2, 0] / z, box[2, 1] / z]
            frame.particles.N = 23
            frame.particles.types = kinds
            frame.particles.typeid = [kinds.index(letter) for letter in "".join(sequences)]
            frame.particles.position = wrapped(rng, positions, box)
            bonds = [[n, n + 1] for n in range(22) if n != 13]
            frame.bonds.N, frame.bonds.types, frame.bonds.group = len(bonds), ["b"], bonds
            file.append(frame)
    source = open_source(tmp_path / "run.gsd")
    assert letters(source) == "".join(sequences) and lengths(source) == [14, 9]
    (chunk,) = source.chunks(5)
    for frame in range(3):
        np.testing.assert_allclose(chunk.box[frame], boxes[frame], atol=1e-5)
        same_but_for_the_box(
            chunk.coordinates[frame], places[frame], boxes[frame], source.topology.chain_index
        )
    with pytest.raises(InputError, match="cannot be read as GSD"):
        (tmp_path / "bad.gsd").write_text("this is none\n" * 50)
        open_source(tmp_path / "bad.gsd")


@pytest.mark.parametrize(
    ("kind", "bond", "message"),
    [
        (0, [0, 9], "has a bond to particle 9, which does not exist"),
        (7, [0, 1], "has particles of a type without"),
    ],
)
def test_damaged_gsd(tmp_path, kind, bond, message):
    hoomd = pytest.importorskip("gsd.hoomd")
    with hoomd.open(str(tmp_path / "run.gsd"), "w") as file:
        frame = hoomd.Frame()
        frame.particles.N, frame.particles.types, frame.particles.typeid = 3, ["A"], [0, 0, kind]
        frame.particles.position = helix(3)
        frame.bonds.N, frame.bonds.types, frame.bonds.group = 1, ["b"], [bond]
        file.append(frame)
    with pytest.raises(InputError, match=f"run.gsd: {message}"):
        open_source(tmp_path / "run.gsd")


def test_truncated_gsd(tmp_path):
    hoomd = pytest.importorskip("gsd.hoomd")
    with hoomd.open(str(tmp_path / "run.gsd"), "w") as file:
        frame = hoomd.Frame()
        frame.particles.N, frame.particles.types = 3, ["A"]
        frame.particles.position = helix(3)
        file.append(frame)
    whole = (tmp_path / "run.gsd").read_bytes()
    for length in range(0, len(whole) - 1, 97):
        (tmp_path / "run.gsd").write_bytes(whole[:length])
        with pytest.raises(InputError, match="run.gsd: "):
            open_source(tmp_path / "run.gsd")


def test_gsd_needs_its_package(tmp_path, monkeypatch):
    (tmp_path / "gsd.py").write_text("raise ModuleNotFoundError('no gsd', name='gsd')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reading_process, "_process", None)
    (tmp_path / "run.gsd").write_bytes(b"x")
    with pytest.raises(
        InputError, match="run.gsd: reading GSD needs a package; install it with `pip install gsd`"
    ):
        open_source(tmp_path / "run.gsd")


@pytest.mark.parametrize("dimensions", [3, 4])
def test_arrays_of_c_alphas(tmp_path, dimensions):
    _, places, _, sequences = random_system(4, "orthorhombic", frames=6)
    array = 10 * places if dimensions == 3 else 10 * places.reshape(2, 3, 23, 3)
    np.save(tmp_path / "run.npy", array.astype(np.float32))
    source = open_source(tmp_path / "run.npy", sequence=fasta(tmp_path, *sequences))
    assert source.n_frames == 6 and lengths(source) == [14, 9] and letters(source) == "".join(sequences)
    np.testing.assert_allclose(c_alphas(source), places, atol=1e-5)
    part = open_source(tmp_path / "run.npy", sequence=tmp_path / "sequence.fasta", frames=FrameRange(1, 6, 2))
    np.testing.assert_allclose(c_alphas(part), places[1:6:2], atol=1e-5)


@pytest.mark.parametrize("order", ["N CA C O CB", "N CA CB C O"])
@pytest.mark.parametrize("glycine_has_five", [False, True])
def test_arrays_of_five_beads(tmp_path, order, glycine_has_five):
    atoms = mdtraj.load(str(CASES / "beads/1ab1_A.mc.pdb"))
    names = order.split()
    sequence, beads = "", []
    for residue in atoms.topology.residues:
        index = {atom.name: atom.index for atom in residue.atoms}
        sequence += residue.code
        c_alpha = atoms.xyz[0, index["CA"]]
        to_c, to_n = atoms.xyz[0, index["C"]] - c_alpha, atoms.xyz[0, index["N"]] - c_alpha
        beta = c_alpha - 0.6 * (to_c + to_n) + 0.3 * np.cross(to_n, to_c) / 0.15
        for name in names:
            if name != "CB":
                beads.append(atoms.xyz[0, index[name]])
            elif glycine_has_five or residue.code != "G":
                beads.append(beta)
    np.save(tmp_path / "run.npy", 10 * np.array(beads)[None])
    source = open_source(tmp_path / "run.npy", sequence=fasta(tmp_path, sequence))
    found = atoms_in_slots(source)[0]
    there = np.isfinite(found).all(axis=-1)
    assert there[:, :4].all() and there[:, 4].sum() == 46 - sequence.count("G")
    for slot, name in enumerate(("N", "CA", "C", "O")):
        expected = atoms.xyz[0, [atom.index for atom in atoms.topology.atoms if atom.name == name]]
        np.testing.assert_allclose(found[:, slot], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"has the shape \(2, 3\); give an array"),
        (np.zeros((2, 7, 3)), "has 7 beads, but the sequence .* has 24 residues; give one bead per residue"),
        (np.zeros((2, 0, 3)), r"has the shape \(2, 0, 3\); give an array"),
        (np.zeros((2, 2, 0, 3)), r"has the shape \(2, 2, 0, 3\); give an array"),
        (np.array([[["a"] * 3]]), "instead of numbers"),
        (np.array([{"a": 1}], dtype=object), "cannot be read as a NumPy array"),
    ],
)
def test_arrays_that_are_none(tmp_path, array, message):
    np.save(tmp_path / "run.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=f"run.npy: .*{message}"):
        open_source(tmp_path / "run.npy", sequence=fasta(tmp_path, TRACE))


@pytest.mark.parametrize(
    "header", [b"((((\n", b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 24, 3)}\n" % 10**30]
)
def test_arrays_with_damaged_headers(tmp_path, header):
    magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    (tmp_path / "run.npy").write_bytes(magic + header + bytes(600))
    with pytest.raises(InputError, match="run.npy: cannot be read as a NumPy array"):
        open_source(tmp_path / "run.npy", sequence=fasta(tmp_path, TRACE))


def test_a_damaged_gzipped_sequence(tmp_path):
    text = bytearray(gzip.compress(TRACE.encode()))
    text[10] ^= 0x06  # the kind of the first block
    (tmp_path / "sequence.fasta.gz").write_bytes(text)
    with pytest.raises(InputError, match="sequence.fasta.gz: cannot be read as FASTA"):
        open_source(CASES / "names/awsem.pdb", sequence=tmp_path / "sequence.fasta.gz")


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "99999999999", "frame 1 has no number of atoms on its second line"),
        (1, "-4", "frame 1 has no number of atoms on its second line"),
        (1, "5000000", "frame 1 ends before its 5000000 atoms"),
        (-1, "10 wide 10", "frame 1 has a box line that is not numeric"),
        (-1, "10 10", "frame 1 has a box of 2 numbers"),
        (-1, "5 5 5 0 90 90", "frame 1 has a box with impossible angles"),
    ],
)
def test_damaged_gro_files(tmp_path, line, text, message):
    lines = (CASES / "dialects/box6.gro").read_text().splitlines()
    lines[line] = text
    (tmp_path / "run.gro").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=f"run.gro: cannot be read as GRO; {message}"):
        open_source(tmp_path / "run.gro")


def test_a_damaged_name_of_an_mmcif_column(tmp_path):
    text = (CASES / "dialects/no_id.cif").read_text()
    (tmp_path / "run.cif").write_text(text.replace("_atom_site.type_symbol", "_atomXsite.type_symbol"))
    with pytest.raises(InputError, match="run.cif: cannot be read as mmCIF"):
        open_source(tmp_path / "run.cif")


@pytest.mark.parametrize("suffix", [".npy", ".lammpstrj"])
def test_formats_without_names_ask_for_a_sequence(tmp_path, suffix):
    np.save(tmp_path / "run.npy", np.zeros((1, 4, 3)))
    (tmp_path / "run.lammpstrj").write_text("ITEM: TIMESTEP\n")
    with pytest.raises(
        InputError, match=f"run{suffix}: contains coordinates but no residue names; give .*--sequence"
    ):
        open_source(tmp_path / f"run{suffix}")


AWSEM = CASES / "names/awsem.pdb"
AWSEM_SEQUENCE = "AGP" * 8


def test_a_sequence_names_the_residues_of_awsem(tmp_path):
    source = open_source(AWSEM, sequence=fasta(tmp_path, "WGP" + AWSEM_SEQUENCE[3:]))
    assert letters(source) == "WGP" + AWSEM_SEQUENCE[3:] and lengths(source) == [24]
    assert tmp_path / "sequence.fasta" in source.files


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (["AGP" * 7], "awsem.pdb: has 24 residues, but the sequence .*sequence.fasta has 21 in 1 record"),
        (["AGP" * 4, "AGP" * 5], "has 24 residues, but the sequence .* has 27 in 2 record"),
        (["AAP" + AWSEM_SEQUENCE[3:]], "residue 2 IGL is ALA in the sequence"),
        (["GGP" + AWSEM_SEQUENCE[3:]], "residue 1 NGP is GLY in the sequence"),
        (["AGX" + AWSEM_SEQUENCE[3:]], "letter 3 of record 1 is X, not one of the twenty"),
        ([], "contains no sequence"),
    ],
)
def test_a_sequence_that_does_not_fit(tmp_path, records, message):
    path = fasta(tmp_path, *records)
    path.write_text(path.read_text() or "\n")
    with pytest.raises(InputError, match=message) as caught:
        open_source(AWSEM, sequence=path)
    assert "\n" not in str(caught.value)


def test_records_are_chains(tmp_path):
    source = open_source(AWSEM, sequence=fasta(tmp_path, "AGP" * 3, "AGP" * 5))
    assert lengths(source) == [9, 15]
    assert source.linked.tolist() == (~source.topology.chain_ends).tolist()


def test_a_known_name_must_agree(tmp_path):
    with pytest.raises(InputError, match="chain A residue 1 HIS is TRP in the sequence"):
        open_source(CASES / "dialects/old_id.pdb", sequence=fasta(tmp_path, "W" + TRACE[1:]))
    assert letters(open_source(CASES / "dialects/old_id.pdb", sequence=fasta(tmp_path, TRACE))) == TRACE


def test_sequence_from_python_stream_and_command_line(tmp_path, monkeypatch):
    toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    sequence = fasta(tmp_path, AWSEM_SEQUENCE)
    built = backmap.reconstruct(AWSEM, sequence=sequence)
    (streamed,) = backmap.reconstruct_stream([c_alphas(open_source(AWSEM, sequence=sequence))[0]],
                                             top=AWSEM, sequence=sequence)  # fmt: skip
    np.testing.assert_allclose(streamed.xyz, built.xyz, atol=1e-5)
    out = tmp_path / "out.pdb"
    assert main(["reconstruct", str(AWSEM), "--sequence", str(sequence), "-o", str(out), "--quiet"]) == 0
    names = [residue.name for residue in mdtraj.load(str(out)).topology.residues]
    assert names == ["ALA", "GLY", "PRO"] * 8


def test_a_temporal_model_knows_its_residues(tmp_path):
    sequence = fasta(tmp_path, AWSEM_SEQUENCE)
    with pytest.raises(InputError, match="sequence: applies only to protein and diamondback models"):
        backmap.reconstruct(AWSEM, sequence=sequence, model="alanine-dipeptide")
    arguments = ["reconstruct", str(AWSEM), "--sequence", str(sequence), "-o", str(tmp_path / "no.pdb")]
    assert main([*arguments, "--model", "alanine-dipeptide"]) == 2


def test_psf_with_a_trajectory(tmp_path):
    """One bead a residue, as CALVADOS and OpenABC write: segments are chains."""
    _, places, boxes, sequences = random_system(6, "orthorhombic")
    names = {letter: name for name, letter in backmap.chemistry.residues.ONE_LETTER.items()}
    rows = "".join(
        f"{index:>8} {segment:<4} {number:<4} {names[letter]:<4} CA   {letter:<4}   0.000000   110.0000   0\n"
        for index, (segment, number, letter) in enumerate(
            [(f"P{s}", n, letter) for s, text in enumerate(sequences) for n, letter in enumerate(text, 1)], 1
        )
    )
    (tmp_path / "top.psf").write_text(
        f"PSF\n\n       1 !NTITLE\n made\n\n      23 !NATOM\n{rows}\n       0 !NBOND: bonds\n\n"
    )
    with mdtraj.open(str(tmp_path / "run.dcd"), "w") as file:
        file.write(
            10 * places, cell_lengths=10 * boxes.diagonal(axis1=1, axis2=2), cell_angles=np.full((3, 3), 90.0)
        )
    source = open_source(tmp_path / "run.dcd", tmp_path / "top.psf")
    assert letters(source) == "".join(sequences) and lengths(source) == [14, 9] and source.linked.sum() == 21
