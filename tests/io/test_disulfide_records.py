"""Disulfides that files name, and those that are written."""

from dataclasses import replace

import gemmi
import mdtraj
import numpy as np
import pytest

from backmap.chemistry import SLOT_CA, Topology
from backmap.errors import InputError, InputWarning
from backmap.io import AtomList, open_source, open_writer, source_from_mdtraj, to_mdtraj
from backmap.io.selection.disulfide_records import (
    bonded_sulfurs,
    disulfides_of_frame,
    with_disulfides,
)
from backmap.io.selection.links import Links, links_in_mmcif, read_links
from tests.io.conftest import helix
from tests.proteins import c_alpha_list

SLOT_SG = 5


def ssbond(first: str, second: str, symmetry: str = "1555") -> str:
    """An SSBOND record of two residues, each as in columns 16 to 22: chain, number, insertion code."""
    return f"SSBOND   1 CYS {first}   CYS {second}{'':23}  1555   {symmetry}  2.03\n"


@pytest.fixture
def helix_of_cysteines(c_alpha_lines, write_text):
    """Write a C-alpha helix with cysteines 2, 5 and 13 and some records before it."""
    names = ["ALA"] * 14
    for number in (2, 5, 13):
        names[number - 1] = "CYS"

    def write(*records: str, fields: dict[str, str] | None = None):
        lines = c_alpha_lines(" ".join(names), **(fields or {}))
        return write_text([*records, *lines, "END\n"])

    return write


def test_ssbond_is_read(helix_of_cysteines):
    source = open_source(helix_of_cysteines(ssbond("A    5 ", "A    2 ")))
    assert source.disulfides.tolist() == [[1, 4]]


def test_insertion_codes_belong_to_the_name(helix_of_cysteines):
    path = helix_of_cysteines(ssbond("A    2C", "A    5C"), fields={"insertion": "C"})
    assert open_source(path).disulfides.tolist() == [[1, 4]]


def test_links_come_before_what_the_file_names(helix_of_cysteines):
    path = helix_of_cysteines(ssbond("A    5 ", "A   13 "))
    source = open_source(path)
    with pytest.warns(InputWarning, match="ignored the disulfide"):
        assert source.disulfides.tolist() == []
    source = open_source(path, links=read_links(["A:5:SG-A:2:SG"]))
    assert source.disulfides.tolist() == [[1, 4]]


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (["A:2:SG-A:3:SG"], "no disulfide can link chain A residue 2 and chain A residue 3: there is no"),
        (["A:2:SG-A:13:SG"], "its C-alphas are .* nm apart"),
        (["A:2:SG-A:5:SG", "A:5:SG-A:13:SG"], "a cysteine has only one such bond"),
        (["A:2:SG-A:2:SG"], "a cysteine has only one such bond"),
    ],
)
def test_impossible_links_are_refused(helix_of_cysteines, links, message):
    source = open_source(helix_of_cysteines(), links=read_links(links))
    with pytest.raises(InputError, match=message):
        _ = source.disulfides


@pytest.mark.parametrize(("link", "first", "second"), [
    ("A:12:SG-B:30:SG", ("A", 12, ""), ("B", 30, "")),
    (":-3:SG-long:30B:SG", ("", -3, ""), ("long", 30, "B")),
])  # fmt: skip
def test_links_name_chain_number_and_insertion_code(link, first, second):
    assert read_links([link]) == Links(disulfides=((first, second),))


@pytest.mark.parametrize("link", ["", "A:12-B:30", "A:12:SG", "A:x:SG-B:30:SG", "A:12:CA-B:30:SG"])
def test_other_links_are_refused(link):
    with pytest.raises(InputError, match=f"link {link}: (give both atoms as|only disulfides)"):
        read_links([link])


def test_without_records_there_are_none(helix_of_cysteines):
    assert open_source(helix_of_cysteines()).disulfides.shape == (0, 2)


@pytest.mark.parametrize("number", ["?", "A000", "9" * 5000])
def test_a_named_bond_without_a_residue_number_is_left_out(number):
    ends = "".join(f"_struct_conn.ptnr{end}_auth_{part}_id\n" for end in (1, 2) for part in ("asym", "seq"))
    rows = f"disulf A {number} A 5\ndisulf A 2 A 5\n"
    text = f"data_x\nloop_\n_struct_conn.conn_type_id\n{ends}{rows}"
    ((bond,), ()) = links_in_mmcif(gemmi.cif.read_string(text).sole_block())
    assert [place.number for place in bond] == [2, 5]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (ssbond("A    2 ", "A   13 "), r"residue 2 and chain A residue 13: .* 1\.\d+ nm apart"),
        (ssbond("A    2 ", "A    3 "), "there is no such cysteine"),
        (ssbond("A    2 ", "B    5 "), "there is no such cysteine"),
    ],
)
def test_a_bond_that_cannot_be_is_passed_over(helix_of_cysteines, record, message):
    source = open_source(helix_of_cysteines(record))
    with pytest.warns(InputWarning, match=message):
        assert len(source.disulfides) == 0


def test_a_cysteine_has_one_bond(helix_of_cysteines):
    record = ssbond("A    2 ", "A    5 ")
    source = open_source(helix_of_cysteines(record, record))
    with pytest.warns(InputWarning, match="a cysteine has only one such bond"):
        assert source.disulfides.tolist() == [[1, 4]]


def test_a_bond_to_a_copy_in_the_crystal_is_none_of_the_structure(helix_of_cysteines):
    record = ssbond("A    2 ", "A    5 ", symmetry="2655")
    cell = "CRYST1   50.000   50.000   50.000  90.00  90.00  90.00 P 1 2 1       4\n"
    assert len(open_source(helix_of_cysteines(record, cell)).disulfides) == 0


def test_names_that_belong_to_several_cysteines_are_told(c_alpha_lines, write_text):
    chain = c_alpha_lines("ALA CYS ALA ALA CYS")
    other = [line[:30] + f"{50.0 + float(line[30:38]):8.3f}" + line[38:] for line in chain]
    source = open_source(write_text([ssbond("A    2 ", "A    5 "), *chain, "TER\n", *other, "END\n"]))
    with pytest.warns(InputWarning, match="give the chains different names"):
        assert len(source.disulfides) == 0


@pytest.fixture
def bonded():
    """Two chains joined by a disulfide, which the second frame does not have: atoms, coordinates."""
    topology = replace(
        Topology.from_sequences("ACA", "GCCG"), residue_numbers=np.array([7, 8, 9, 1001, 1002, 1003, 1004])
    )
    coordinates = np.random.default_rng(0).uniform(-1, 1, (2, 7, 15, 3))
    coordinates[:, :, SLOT_CA] = np.arange(7)[:, None] * [0.38, 0.0, 0.0]
    coordinates[:, [1, 4, 5], SLOT_SG] = [[0.0, 3.0, 0.0], [0.0, 3.0, 0.204], [3.0, 3.0, 3.0]]
    coordinates[1, 4, SLOT_SG] = [0.0, 3.0, 1.0]
    return AtomList.of_protein(topology, topology.atom_mask), coordinates[:, topology.atom_mask]


@pytest.mark.parametrize("name", ["bonded.pdb", "bonded.cif"])
def test_disulfides_of_the_first_frame_are_written(bonded, tmp_path, name):
    atoms, coordinates = bonded
    with open_writer(tmp_path / name, atoms) as writer:
        writer.write(coordinates)
    structure = gemmi.read_structure(str(tmp_path / name))
    (bond,) = structure.connections
    assert bond.type == gemmi.ConnectionType.Disulf and bond.reported_distance == pytest.approx(
        2.04, abs=0.005
    )
    ends = [(end.chain_name, str(end.res_id.seqid), end.atom_name) for end in (bond.partner1, bond.partner2)]
    assert ends == [("A", "8", "SG"), ("B", "1002", "SG")]
    found = [structure[0].find_cra(end).atom.pos for end in (bond.partner1, bond.partner2)]
    assert found[0].dist(found[1]) == pytest.approx(2.04, abs=0.01)
    lines = (tmp_path / name).read_text().splitlines()
    if name.endswith("pdb"):
        assert lines[0].startswith("SSBOND") and lines[1].startswith("MODEL")
        assert lines[0] == ("SSBOND   1 CYS A    8    CYS B 1002                          1555   1555  2.04")


def test_a_file_of_names_has_them_too(bonded, tmp_path):
    atoms, coordinates = bonded
    with open_writer(tmp_path / "bonded.xtc", atoms) as writer:
        writer.write(coordinates)
    assert (tmp_path / "bonded.pdb").read_text().startswith("SSBOND")


def test_hdf5_has_the_bond_of_the_first_frame(bonded, tmp_path):
    pytest.importorskip("tables")
    atoms, coordinates = bonded
    with open_writer(tmp_path / "bonded.h5", atoms) as writer:
        writer.write(coordinates)
    read = mdtraj.load(str(tmp_path / "bonded.h5"))
    assert sulfur_bonds(read.topology) == [(8, 1002)] and read.n_frames == 2
    assert np.allclose(read.xyz, coordinates, atol=1e-4)


def test_a_trajectory_has_the_bonds_of_all_frames(bonded):
    atoms, coordinates = bonded
    assert sulfur_bonds(to_mdtraj(atoms, coordinates).topology) == []
    once = to_mdtraj(atoms, coordinates[:1])
    assert sulfur_bonds(once.topology) == [(8, 1002)]


def test_bonds_of_a_topology_in_memory_are_read():
    topology = Topology.from_sequences("ACAAC")
    coordinates = np.zeros((1, 5, 15, 3))
    coordinates[:, :, SLOT_CA] = helix(5)
    present = np.zeros((5, 15), dtype=bool)
    present[:, SLOT_CA] = present[[1, 4], SLOT_SG] = True
    coordinates[0, [1, 4], SLOT_SG] = [[0.0, 3.0, 0.0], [0.0, 3.0, 0.204]]
    trajectory = to_mdtraj(AtomList.of_protein(topology, present), coordinates[:, present])
    assert source_from_mdtraj(trajectory).disulfides.tolist() == [[1, 4]]


def test_no_records_without_the_sulfurs(tmp_path):
    with open_writer(tmp_path / "bonded.pdb", c_alpha_list(Topology.from_sequences("ACA", "GCCG"))) as writer:
        writer.write(np.zeros((1, 7, 3)))
    assert "SSBOND" not in (tmp_path / "bonded.pdb").read_text()


def test_the_closest_sulfurs_are_bonded_and_each_once(bonded):
    atoms, coordinates = bonded
    positions = coordinates[:1].copy()
    positions[0, sulfurs(atoms)[2]] = [0.0, 3.0, -0.21]
    (bond,) = bonded_sulfurs(atoms, positions)
    joined = with_disulfides(atoms, positions)
    assert joined.bonds == (*atoms.bonds, bond) and with_disulfides(joined, positions).bonds == joined.bonds
    ((first, second, length),) = disulfides_of_frame(atoms, positions[0])
    assert (first, second) == (1, 4) and length == pytest.approx(0.204)


def sulfurs(atoms: AtomList) -> list[int]:
    """Indices of the sulfurs of cysteines."""
    names = [name for residue in atoms.residues for name in residue.atom_names]
    return [index for index, name in enumerate(names) if name == "SG"]


def sulfur_bonds(topology: mdtraj.Topology) -> list[tuple[int, int]]:
    """Residue numbers of the disulfides of a topology."""
    return [
        tuple(atom.residue.resSeq for atom in bond)
        for bond in topology.bonds
        if all(atom.name == "SG" for atom in bond)
    ]
