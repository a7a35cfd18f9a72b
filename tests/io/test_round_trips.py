"""What is written is read back, whatever the names and numbers, or it is refused."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import SLOT_CA, Topology
from backmap.errors import InputError
from backmap.io import AtomList, open_source, open_writer
from backmap.io.atom_list import ListedResidue
from backmap.io.formats.gro_file import GroFile
from backmap.io.formats.pdb_file import PdbFile
from backmap.io.formats.structure_records import hybrid_36
from tests.fuzzing import tries

from .conftest import helix

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*netCDF4"),
    pytest.mark.filterwarnings("ignore:.*does not fit into a PDB"),
]

WITH_NAMES = [".pdb", ".pdb.gz", ".cif", ".cif.gz"]
WITH_STEPS = [".xtc", ".trr"]
FORMATS = [*WITH_NAMES, *WITH_STEPS, ".gro", ".dcd", ".h5", ".nc"]
WORDS = """data_x loop_ stop_ save_a global_ DATA_ _a # $x ' " [ ] ; . ? a'b a"b A z % %d \\ long""".split()
WORDS += ["a b", "it's a", "'a' \"b\"", "AB"]
NUMBERS = [-(10**9), -1000, -999, -1, 0, 1, 9990, 9999, 10000, 99999, 1223040, 1223055, 1223056, 10**9]
STEPS = [0, 1, 2**31 - 10, 2**31 - 2, 2**31 - 1, 2**31, 2**40]


def random_protein(rng: random.Random) -> tuple[Topology, np.ndarray]:
    """Make one to three chains with odd names and numbers, and 2 frames of their atoms in nm."""
    sizes = [rng.randrange(3, 7) for _ in range(rng.randrange(1, 4))]
    names = [rng.choice([rng.choice(WORDS), rng.choice("ABC")]) for _ in sizes]
    numbers, codes, places = [], [], []
    for chain, size in enumerate(sizes):
        first = rng.choice([1, rng.choice(NUMBERS)])
        inserted = rng.choice(["", "", *"ABab1';%"])
        numbers += [first, *range(first, first + size - 1)] if inserted else range(first, first + size)
        codes += ["", inserted, *[""] * (size - 2)]
        places.append(helix(size) + 2.0 * chain)
    topology = Topology(
        residue_types=np.array([rng.randrange(20) for _ in numbers]),
        chain_index=np.repeat(np.arange(len(sizes)), sizes),
        chain_ids=tuple(names),
        residue_numbers=np.array(numbers),
        insertion_codes=tuple(codes),
    )
    noise = np.random.default_rng(rng.randrange(10**6)).uniform(-0.1, 0.1, (2, len(numbers), 15, 3))
    noise[:, :, SLOT_CA] = 0
    far = rng.choice([0.0, 0.0, -40.0, 90.0, 120.0, 900.0, 20000.0])
    return topology, np.concatenate(places)[:, None] + noise + far


def names_of(topology: Topology) -> list[tuple[str, str, int, str]]:
    return [
        (
            topology.residue_name(row),
            topology.chain_ids[topology.chain_index[row]],
            int(topology.residue_numbers[row]),
            topology.insertion_codes[row],
        )
        for row in range(topology.n_residues)
    ]


@pytest.mark.fuzz
@pytest.mark.parametrize("suffix", FORMATS)
def test_what_is_written_is_read_back(tmp_path, suffix):
    for seed in tries(25):
        rng = random.Random(seed)
        topology, coordinates = random_protein(rng)
        path = tmp_path / f"{rng.choice(['out', 'data_ x', 'ö#;', 'loop_'])}{seed}{suffix}"
        step = np.array([rng.choice(STEPS), rng.choice(STEPS)])
        moment = rng.choice([0.0, 1.5e6])
        time_ps = np.array([moment, moment + 20.0])
        try:
            with open_writer(path, AtomList.of_protein(topology, topology.atom_mask)) as writer:
                writer.write(coordinates[:, topology.atom_mask], time=time_ps, step=step)
        except InputError as error:
            assert str(error).isprintable() and not list(tmp_path.iterdir()), seed
            continue
        companion = next((file for file in tmp_path.iterdir() if file != path), None)
        source = open_source(path, companion)
        read = next(source.chunks(2))
        written = coordinates[:, topology.atom_mask]
        np.testing.assert_allclose(read.coordinates, written, rtol=2e-7, atol=6e-4, err_msg=str(seed))
        names, expected = names_of(source.topology), names_of(topology)
        if suffix == ".h5":  # which holds no insertion codes
            names, expected = ([name[:3] for name in listed] for listed in (names, expected))
        if suffix == ".gro":  # which holds no names of chains
            names, expected = ([(name[0], *name[2:]) for name in listed] for listed in (names, expected))
        assert names == expected, seed
        if suffix in WITH_STEPS:
            assert read.step.tolist() == step.tolist(), seed
        if suffix in (*WITH_STEPS, ".gro", ".h5", ".nc"):
            assert read.time.tolist() == time_ps.tolist(), seed
        for file in tmp_path.iterdir():
            file.unlink()


def one_chain(chain: str = "A", number: int = 1, code: str = "") -> AtomList:
    topology = Topology(
        residue_types=np.array([0, 1, 2]),
        chain_index=np.zeros(3, dtype=int),
        chain_ids=(chain,),
        residue_numbers=np.arange(3) + number,
        insertion_codes=(code, "", ""),
    )
    return AtomList.of_protein(topology, topology.atom_mask)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"number": -1000}, "residue number -1000 is too long for a PDB file; write mmCIF"),
        ({"number": 1223056}, "residue number 1223056 is too long for a PDB file; write mmCIF"),
        ({"chain": "LONG"}, "chain name LONG is too long for a PDB file; write mmCIF"),
        ({"code": "AB"}, "insertion code AB is too long for a PDB file; write mmCIF"),
        ({"chain": "Ä"}, "chain name Ä is not printable ASCII"),
        ({"chain": "A\nB"}, "chain name A.*B is not printable ASCII"),
    ],
)
def test_names_that_do_not_fit_are_refused_on_opening(tmp_path, fields, what):
    atoms = one_chain(**fields)
    with pytest.raises(InputError, match=f"out.pdb: {what}"), open_writer(tmp_path / "out.pdb", atoms):
        pytest.fail("it was opened")
    if "mmCIF" in what:
        with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "out.xtc", atoms):
            raise KeyboardInterrupt
    else:
        with pytest.raises(InputError, match=what), open_writer(tmp_path / "out.xtc", atoms):
            pytest.fail("it was opened")


@pytest.mark.parametrize("chain", ["HA", "A1", "DB"])
def test_chain_names_of_two_letters(tmp_path, chain):
    """Those that would read as the end of a residue name such as LYSH are too long for PDB."""
    for letters in ("KKKK", "KHKA"):
        topology = replace(Topology.from_sequences(letters), chain_ids=(chain,))
        atoms = AtomList.of_protein(topology, topology.atom_mask)
        places = np.repeat(helix(4), [len(residue.atom_names) for residue in atoms.residues], axis=0)[None]
        try:
            with open_writer(tmp_path / "out.pdb", atoms, overwrite=True) as writer:
                writer.write(places)
        except InputError as error:
            assert "is too long for a PDB file" in str(error) and letters == "KKKK"
        else:
            assert names_of(open_source(tmp_path / "out.pdb").topology) == names_of(topology)


@pytest.mark.parametrize(
    ("residue", "chain", "refused"),
    [("POPC", "B", ""), ("CHL1", "", ""), ("POPC", "B1", "chain name B1"), ("CLAR", "B", "residue name CLAR"),
     ("LIPID", "B", "residue name LIPID")],
)  # fmt: skip
def test_residue_names_of_four_letters(residue, chain, refused, tmp_path):
    """Their fourth letter stands before the chain; it must not read as the start of a chain name."""
    protein = one_chain()
    lipid = ListedResidue(residue, 1, 7, "", ("NC3", "PO4"), ("VS", "VS"))
    atoms = AtomList((*protein.residues, lipid), ("A", chain), protein.bonds)
    places = np.random.default_rng(0).uniform(0, 3, (1, atoms.n_atoms, 3))
    path = tmp_path / "out.pdb"
    if refused:
        with pytest.raises(InputError, match=f"{refused} is too long"), open_writer(path, atoms):
            pytest.fail("it was opened")
        return
    with open_writer(path, atoms) as writer:
        writer.write(places)
    record = PdbFile(path).residues[-1]
    assert (record.name, record.chain_id, record.number) == (residue, chain, 7)
    assert mdtraj.load_pdb(str(path)).topology.residue(-1).name == residue


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"name": "LIPIDS"}, "residue name LIPIDS"),
        ({"number": 100_000}, "residue number 100000"),
        ({"insertion_code": "A"}, "insertion code A"),
        ({"atom_names": ("CARBON",), "elements": ("C",)}, "atom name CARBON"),
    ],
)
def test_what_does_not_fit_into_gro_is_refused(change, refused, tmp_path):
    atoms = AtomList((replace(one_chain().residues[0], **change),), ("A",), ())
    message = f"{refused} does not fit into a GRO file; write mmCIF"
    with pytest.raises(InputError, match=message), open_writer(tmp_path / "out.gro", atoms):
        pytest.fail("it was opened")


def test_gro_files_hold_boxes_and_wide_frames_are_refused(tmp_path):
    atoms, path = one_chain(), tmp_path / "out.gro"
    box = np.array([[[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [1.5, 0.5, 6.0]], 5 * np.eye(3)])
    places = np.random.default_rng(0).uniform(0, 3, (2, atoms.n_atoms, 3))
    with open_writer(path, atoms) as writer:
        writer.write(places, box=box, time=np.array([0.0, 2.5]), step=np.array([0, 100]))
    (read,) = GroFile(path).read(range(2), 2)
    np.testing.assert_allclose(read.box, box, atol=1e-5)
    assert read.time.tolist() == [0.0, 2.5]
    np.testing.assert_allclose(mdtraj.load(str(path)).time, [0.0, 2.5])
    for name, extras in (("far", {}), ("wide", {"box": 1000 * np.eye(3)[None]})):
        moved = places[:1] + (10_000 if name == "far" else 0)
        with (
            pytest.raises(InputError, match="do not fit into a GRO file"),
            open_writer(tmp_path / "refused.gro", atoms) as writer,
        ):
            writer.write(moved, **extras)


@pytest.mark.parametrize("number", [-1000, -12345, 10**4 + 26 * 36**3, 10**9])
def test_numbers_beyond_hybrid_36(number):
    with pytest.raises(InputError, match=f"{number} does not fit into a PDB file; write mmCIF"):
        hybrid_36(number, 4)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39, -3e38])
def test_coordinates_that_are_no_numbers_are_refused(tmp_path, suffix, value):
    atoms = one_chain()
    coordinates = np.zeros((2, atoms.n_atoms, 3))
    coordinates[1, 20, 1] = value
    with (
        pytest.raises(
            InputError, match="frame 2, atom .*: a coordinate to be written is not a finite number"
        ),
        open_writer(tmp_path / f"out{suffix}", atoms) as writer,
    ):
        writer.write(coordinates)
    assert not list(tmp_path.iterdir())


def test_what_xtc_and_trr_cannot_count(tmp_path, capfd):
    atoms = one_chain()
    far = np.zeros((1, atoms.n_atoms, 3))
    far[0, 0, 0] = 1.1e6
    with (
        pytest.raises(InputError, match="coordinates beyond 1000000 nm do not fit into an XTC file"),
        open_writer(tmp_path / "out.xtc", atoms) as writer,
    ):
        writer.write(far)
    for suffix in WITH_STEPS:
        with (
            pytest.raises(InputError, match=r"step 2147483648 of the simulation does not fit .*write DCD"),
            open_writer(tmp_path / f"out{suffix}", atoms) as writer,
        ):
            writer.write(0 * far, step=np.array([2**31]))
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", FORMATS)
def test_equal_runs_give_equal_bytes(tmp_path, monkeypatch, suffix):
    """Whenever and wherever they are made."""
    from mdtraj.formats import netcdf

    files, atoms = [], one_chain()
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        files.append(tmp_path / str(number) / f"out{suffix}")
        monkeypatch.setattr(netcdf.socket, "gethostname", lambda number=number: "host" * (1 + 9 * number))
        with open_writer(files[-1], atoms) as writer:
            writer.write(np.random.default_rng(0).uniform(0, 2, (3, atoms.n_atoms, 3)))
        if suffix == ".h5" and not number:
            time.sleep(1.1)  # HDF5 counts seconds
    assert files[0].read_bytes() == files[1].read_bytes()
