"""Reading: what is kept, what is passed over, what is refused and in which words."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import SLOT_C, SLOT_CA, SLOT_CB, SLOT_N
from backmap.errors import InputError, InputWarning
from backmap.io import (
    AtomList,
    FrameRange,
    join_chunks,
    open_source,
    open_writer,
    source_from_mdtraj,
    to_mdtraj,
)
from backmap.runs.output_layout import OutputLayout
from tests.proteins import atoms_in_slots, c_alpha_list, only_c_alphas, present_atoms

from .conftest import atom_line, helix

pytestmark = pytest.mark.filterwarnings("ignore:.*netCDF4")

TRAJECTORY_SUFFIXES = (".xtc", ".trr", ".dcd", ".nc")


def names(source) -> list[str]:
    return [source.topology.residue_name(index) for index in range(source.topology.n_residues)]


def all_coordinates(source, frames_per_chunk: int = 2) -> np.ndarray:
    return np.concatenate([chunk.coordinates for chunk in source.chunks(frames_per_chunk)])


def test_c_alpha_file(c_alpha_lines, write_text):
    source = open_source(write_text(c_alpha_lines()))
    assert names(source) == ["ALA", "GLY", "SER", "TRP", "LYS"]
    assert source.sites.names == ("CA",) * 5 and source.sites.leaders.tolist() == [0, 1, 2, 3, 4]
    assert source.n_frames == 1
    np.testing.assert_allclose(all_coordinates(source), helix(5)[None], atol=1e-4)
    assert source.linked.tolist() == [True, True, True, True, False]


def test_chains_numbers_and_insertion_codes_are_kept(write_text):
    lines = [
        atom_line("CA", "ALA", -2, (0, 0, 0), chain="B"),
        atom_line("CA", "GLY", 52, (0.38, 0, 0), chain="B", insertion="A"),
        "TER\n",
        atom_line("CA", "SER", 52, (2, 0, 0), chain="B", insertion="B"),
        atom_line("CA", "SER", 1, (4, 0, 0), chain="a"),
    ]
    topology = open_source(write_text(lines)).topology
    assert topology.chain_ids == ("B", "B", "a")
    assert topology.chain_index.tolist() == [0, 0, 1, 2]
    assert topology.residue_numbers.tolist() == [-2, 52, 52, 1]
    assert topology.insertion_codes == ("", "A", "B", "")


def test_segments_separate_chains_without_names(c_alpha_lines, write_text):
    lines = [line[:72] + "PROA" + line[76:] for line in c_alpha_lines("ALA GLY", chain=" ")]
    lines += [line[:72] + "PROB" + line[76:] for line in c_alpha_lines("ALA GLY", chain=" ")]
    lines[2:] = [line[:46] + "  20.000" + line[54:] for line in lines[2:]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        topology = open_source(write_text(lines)).topology
    assert topology.chain_index.tolist() == [0, 0, 1, 1]


def test_numbers_that_start_again(c_alpha_lines, write_text, tmp_path):
    chains = c_alpha_lines("ALA GLY", chain=" ") + c_alpha_lines("ALA GLY", chain=" ")
    chains[2:] = [line[:46] + f"{20 + index:8.3f}" + line[54:] for index, line in enumerate(chains[2:])]
    waters = [atom_line("O", "HOH", number % 10, (0.4 * number, 3, 3)) for number in range(30)]
    path = write_text([*waters, *chains, *waters])
    with pytest.warns(InputWarning, match="not part of a protein chain: 60 HOH"):
        source = open_source(path)
    assert source.topology.chain_index.tolist() == [0, 0, 1, 1]
    in_file_order = np.random.default_rng(0).normal(size=(1, 64, 3)).astype(np.float32)
    with mdtraj.open(str(tmp_path / "water.dcd"), "w") as file:
        file.write(10 * in_file_order)
    with pytest.warns(InputWarning):
        read = all_coordinates(open_source(tmp_path / "water.dcd", path))
    np.testing.assert_allclose(read, in_file_order[:, 30:34], atol=1e-5)


@pytest.mark.parametrize("end", ["ENDMDL\n", "END\n"])
def test_models_are_frames(c_alpha_lines, write_text, end):
    frame = "".join(c_alpha_lines())
    source = open_source(write_text("".join(f"MODEL {n}\n{frame}{end}" for n in range(1, 6)) + "END\n"))
    assert source.n_frames == 5
    assert [(chunk.first_frame, len(chunk.coordinates)) for chunk in source.chunks(2)] == [
        (0, 2),
        (2, 2),
        (4, 1),
    ]


def test_models_with_other_atoms(c_alpha_lines, write_text):
    path = write_text(
        ["MODEL 1\n", *c_alpha_lines(), "ENDMDL\nMODEL 2\n", *c_alpha_lines("ALA GLY"), "ENDMDL\n"]
    )
    with pytest.raises(InputError, match="model 2 has different atoms from the first"):
        open_source(path)


@pytest.mark.parametrize("suffix", [".pdb", ".pdb.gz", ".cif", ".cif.gz", ".h5"])
def test_written_structure_is_read_again(two_chains, write_frames, suffix):
    if suffix == ".h5":
        pytest.importorskip("tables")
    topology, present, coordinates = two_chains
    source = open_source(write_frames(f"out{suffix}", topology, present, coordinates))
    np.testing.assert_array_equal(source.topology.residue_types, topology.residue_types)
    np.testing.assert_array_equal(source.topology.chain_index, topology.chain_index)
    assert source.topology.chain_ids == topology.chain_ids
    np.testing.assert_array_equal(present_atoms(source), present)
    np.testing.assert_allclose(all_coordinates(source), coordinates[:, present], atol=6e-5)


@pytest.mark.parametrize("suffix", TRAJECTORY_SUFFIXES)
def test_trajectory_with_topology(two_chains, write_frames, suffix):
    topology, present, coordinates = two_chains
    path = write_frames(f"out{suffix}", topology, present, coordinates, time=np.array([10.0, 20.0, 30.0]))
    source = open_source(path, path.with_suffix(".pdb"))
    assert source.n_frames == 3
    np.testing.assert_allclose(all_coordinates(source), coordinates[:, present], atol=6e-4)
    if suffix != ".dcd":
        assert np.concatenate([chunk.time for chunk in source.chunks(2)]).tolist() == [10.0, 20.0, 30.0]


@pytest.mark.parametrize("suffix", [".pdb", ".xtc"])
@pytest.mark.parametrize("frames_per_chunk", [1, 2, 50])
def test_stride(two_chains, write_frames, suffix, frames_per_chunk):
    topology, present, coordinates = two_chains
    coordinates = coordinates[[0, 1, 2, 0, 1, 2, 0]] + np.arange(7)[:, None, None, None]
    path = write_frames(f"out{suffix}", topology, present, coordinates)
    source = open_source(
        path, path.with_suffix(".pdb") if suffix == ".xtc" else None, frames=FrameRange(stride=3)
    )
    assert source.n_frames == 3
    np.testing.assert_allclose(
        all_coordinates(source, frames_per_chunk), coordinates[::3][:, present], atol=6e-4
    )
    firsts = [chunk.first_frame for chunk in source.chunks(frames_per_chunk)]
    assert firsts == list(range(0, 3, frames_per_chunk))


def test_gro_restarts_numbers_at_every_chain(two_chains, tmp_path):
    topology, present, coordinates = two_chains
    trajectory = to_mdtraj(AtomList.of_protein(topology, present), coordinates[:, present])
    trajectory.unitcell_vectors = np.tile(5 * np.eye(3), (3, 1, 1))
    trajectory[0].save_gro(str(tmp_path / "in.gro"))
    source = open_source(tmp_path / "in.gro")
    assert source.topology.chain_index.tolist() == [0, 0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(present_atoms(source), present)


def test_mdtraj_and_back(two_chains):
    topology, present, coordinates = two_chains
    trajectory = to_mdtraj(AtomList.of_protein(topology, present), coordinates[:, present])
    back = source_from_mdtraj(trajectory)
    np.testing.assert_array_equal(back.topology.residue_types, topology.residue_types)
    assert back.topology.chain_ids == ("A", "B")
    np.testing.assert_array_equal(present_atoms(back), present)
    np.testing.assert_allclose(all_coordinates(back), coordinates[:, present], atol=1e-6)


def test_usual_variants_count_as_their_parent(c_alpha_lines, write_text):
    source = open_source(write_text(c_alpha_lines("MSE HID HIE HIP HSD CYX ASH GLH LYN")))
    assert names(source) == ["MET", "HIS", "HIS", "HIS", "HIS", "CYS", "ASP", "GLU", "LYS"]


def test_selenium_and_ile_cd_are_renamed(c_alpha_lines, write_text):
    lines = c_alpha_lines("MSE ILE")
    lines.insert(1, atom_line("SE", "MSE", 1, (0, 0.5, 0), record="HETATM", element="SE"))
    lines.append(atom_line("CD", "ILE", 2, (0, 0, 0.5)))
    source = open_source(write_text(lines))
    assert source.sites.names == ("CA", "SD", "CA", "CD1")
    assert source.sites.residues.tolist() == [0, 0, 1, 1]


def test_water_and_ligands_are_passed_over(c_alpha_lines, write_text):
    lines = [
        atom_line("CH3", "ACE", 0, (1, 1, 1)),
        *c_alpha_lines(),
        atom_line("N", "NME", 6, (2, 1, 1)),
        "TER\n",
        atom_line("C1", "GOL", 101, (3, 1, 1), record="HETATM"),
        atom_line("CA", "CA", 102, (3, 2, 1), record="HETATM", element="CA"),
        atom_line("CA", "GLU", 103, (3, 3, 1), record="HETATM"),
        atom_line("O", "HOH", 104, (3, 4, 1), record="HETATM"),
        atom_line("O", "SOL", 105, (3, 5, 1)),
    ]
    with pytest.warns(
        InputWarning, match="not part of a protein chain: 1 GOL, 1 CA, 1 GLU, 1 HOH ..."
    ) as caught:
        source = open_source(write_text(lines))
    assert len(caught) == 1
    assert source.topology.n_residues == 5
    assert source.topology.caps == ((0, "ACE", 0, ""), (4, "NME", 6, ""))


@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
def test_unknown_residue_in_a_chain(c_alpha_lines, write_text, record):
    lines = c_alpha_lines("ALA GLY SER GLY ALA")
    lines[2] = atom_line("CA", "XYZ", 3, helix(5)[2], record=record, insertion="B")
    path = write_text([*lines, "TER\n"])
    with pytest.raises(InputError, match="chain A residue 3B XYZ cannot be built .* --skip-unknown"):
        open_source(path)
    with pytest.warns(InputWarning) as caught:
        source = open_source(path, skip_unknown=True)
    assert source.topology.n_residues == 4
    messages = " ".join(str(warning.message) for warning in caught)
    assert "left out chain A residue 3B XYZ" in messages
    assert "between chain A residue 2 GLY and chain A residue 4 GLY" in messages
    assert source.linked.tolist() == [True, False, True, False]


@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
def test_modified_residue_in_a_chain(c_alpha_lines, write_text, record):
    lines = c_alpha_lines("ALA GLY SER GLY ALA")
    lines[2] = atom_line("CA", "SEP", 3, helix(5)[2], record=record)
    topology = open_source(write_text([*lines, "TER\n"])).topology
    assert topology.names == ("", "", "SEP", "", "")
    assert [topology.residue_name(row) for row in range(5)] == ["ALA", "GLY", "SER", "GLY", "ALA"]


def test_atoms_of_a_modified_residue_are_those_of_its_parent(write_text):
    places = {"N": 0, "CA": 1, "C": 2, "O": 3, "CB": 4, "OH": 11, "O1P": None, "P": None}
    lines = [atom_line(name, "PTR", 1, (0.1 * i, 0, 0)) for i, name in enumerate(places)]
    places = {"N": 0, "CA": 1, "C": 2, "O": 3, "CB": 4, "CG": 5, "SE": 6, "CE": 7}
    lines += [atom_line(name, "MSE", 2, (0.1 * i, 0.35, 0)) for i, name in enumerate(places)]
    source = open_source(write_text(lines))
    present = source.sites.present
    assert np.flatnonzero(present[0]).tolist() == [0, 1, 2, 3, 4, 11]
    assert np.flatnonzero(present[1]).tolist() == list(range(8))
    assert source.topology.names == ("PTR", "MSE")


def test_further_residues_of_a_file(c_alpha_lines, write_text, tmp_path):
    lines = c_alpha_lines("ALA GLY ALA GLY ALA")
    lines[2] = atom_line("CA", "XAA", 3, helix(5)[2])
    (tmp_path / "more.toml").write_text('[XAA]\nparent = "LEU"\n')
    path = write_text(lines)
    source = open_source(path, residue_file=tmp_path / "more.toml")
    assert source.topology.residue_name(2) == "LEU" and source.topology.written_name(2) == "XAA"
    assert source.files == (path, tmp_path / "more.toml")


@pytest.mark.parametrize("record", ["ATOM", "HETATM"])
def test_caps_belong_to_the_residue_beside_them(write_text, record):
    lines = []
    for chain in range(2):
        number, trace = 10 * chain, helix(3) + [2.0 * chain, 0, 0]
        lines.append(atom_line("C", "ACE", number, trace[0] - 0.2, record=record))
        lines += [atom_line("CA", "ALA", number + 1 + i, place) for i, place in enumerate(trace)]
        lines.append(atom_line("N", "NME", number + 4, trace[2] + 0.2, record=record))
    lines.append(atom_line("N", "NH2", 30, (3, 3, 3), record=record))
    with pytest.warns(InputWarning, match="not part of a protein chain: 1 NH2"):
        source = open_source(write_text(lines))
    topology = source.topology
    assert topology.caps == ((0, "ACE", 0, ""), (2, "NME", 4, ""), (3, "ACE", 10, ""), (5, "NME", 14, ""))
    assert topology.chain_ends.tolist() == [False, False, True, False, False, True]
    assert source.linked.tolist() == [True, True, False, True, True, False]


def test_lipid(c_alpha_lines, write_text):
    path = write_text([*c_alpha_lines(), atom_line("P", "POP", 7, (3, 3, 3), chain="L")])
    with pytest.raises(InputError, match="chain L residue 7 POP cannot be built"):
        open_source(path)


def test_alternate_locations_take_the_most_occupied(write_text):
    lines = [
        atom_line("N", "SER", 1, (0, 0.1, 0)),
        atom_line("CA", "SER", 1, (0, 0, 0), alternate="A", occupancy=0.4),
        atom_line("CA", "SER", 1, (0.05, 0, 0), alternate="B", occupancy=0.6),
        atom_line("CB", "SER", 1, (0.1, 0, 0), alternate="A", occupancy=0.4),
        atom_line("CB", "SER", 1, (0.15, 0, 0), alternate="B", occupancy=0.6),
        atom_line("C", "SER", 1, (0.2, 0, 0), alternate="A", occupancy=0.4),
    ]
    source = open_source(write_text(lines))
    positions = atoms_in_slots(source)[0, 0]
    assert positions[[SLOT_CA, SLOT_CB, SLOT_N, SLOT_C], 0].round(3).tolist() == [0.05, 0.15, 0.0, 0.2]


def test_two_residues_in_one_place_take_the_most_occupied(write_text):
    lines = [
        atom_line("CA", "SER", 1, (0, 0, 0), alternate="A", occupancy=0.4),
        atom_line("CA", "THR", 1, (0.01, 0, 0), alternate="B", occupancy=0.6),
        atom_line("CA", "GLY", 2, (0.38, 0, 0)),
    ]
    assert names(open_source(write_text(lines))) == ["THR", "GLY"]


def test_breaks_are_named(write_text):
    places = ((0, 0, 0), (0.38, 0, 0), (1.5, 0, 0), (1.88, 0, 0))
    path = write_text([atom_line("CA", "GLY", number, place) for number, place in enumerate(places, 1)])
    message = (
        "a chain break.* between chain A residue 2 GLY and chain A residue 3 GLY .C-alphas 1.12 nm apart"
    )
    with pytest.warns(InputWarning, match=message):
        open_source(path)


REFUSED_TEXT = {
    "empty": ("", "input.pdb: is empty"),
    "no protein": ("REMARK nothing\n", "contains no protein residue"),
    "no C-alpha": (atom_line("CB", "ALA", 1, (0, 0, 0)), "has no C-alpha"),
    "unknown bead": (atom_line("XX", "ALA", 1, (0, 0, 0)), "found XX.* give their mapping with --beads"),
    "residue without C-alpha": (
        atom_line("CA", "ALA", 1, (0, 0, 0)) + atom_line("CB", "SER", 2, (0.3, 0, 0)),
        "chain A residue 2 SER has no C-alpha",
    ),
    "duplicate atom": (2 * atom_line("CA", "ALA", 1, (0, 0, 0)), "residue 1 ALA has 2 atoms CA"),
    "one place": (
        atom_line("CA", "ALA", 1, (0, 0, 0)) + atom_line("CA", "SER", 2, (0.005, 0, 0)),
        "frame 1: the C-alphas of chain A residue 1 ALA and chain A residue 2 SER are at the same position",
    ),
    "nan": (
        atom_line("CA", "ALA", 1, (0, float("nan"), 0)),
        "frame 1, chain A residue 1 ALA: .* finite number",
    ),
    "inf": (
        atom_line("CA", "ALA", 1, (0, float("inf"), 0)),
        "frame 1, chain A residue 1 ALA: .* finite number",
    ),
    "stars": (
        atom_line("CA", "ALA", 1, (0, 0, 0))[:30] + "********" * 3 + "\n",
        r"line 1 lacks three coordinates in columns 31 to 54 \(\*",
    ),
    "cut line": (atom_line("CA", "ALA", 1, (0, 0, 0))[:40] + "\n", "line 1 lacks three coordinates"),
}


@pytest.mark.parametrize("case", REFUSED_TEXT)
def test_bad_text(write_text, case):
    text, message = REFUSED_TEXT[case]
    with pytest.raises(InputError, match=message):
        open_source(write_text(text))


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (10, "3.83 nm apart instead of 0.38 nm, 10 times too long: Angstrom were taken for nm; divide"),
        (100, "38.3 nm apart .* 100 times too long"),
        (0.1, "0.03.. nm apart .* 10 times too short"),
    ],
)
def test_wrong_unit(write_text, factor, message):
    path = write_text([atom_line("CA", "GLY", n, place * factor) for n, place in enumerate(helix(5), 1)])
    with pytest.raises(InputError, match=message):
        open_source(path)


def test_bad_frame_of_a_trajectory_is_numbered(two_chains, write_frames):
    topology, present, coordinates = two_chains
    path = write_frames("out.dcd", topology, present, coordinates)
    trajectory = mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
    trajectory.xyz[2, trajectory.topology.select("resname PRO and name CA")] = np.nan
    trajectory.save(str(path))
    with pytest.raises(InputError, match="out.dcd: frame 3, chain B residue 2 PRO"):
        open_source(path, path.with_suffix(".pdb"))


def test_missing_file_folder_and_extension(tmp_path, write_text):
    with pytest.raises(InputError, match="none.pdb: no such file"):
        open_source(tmp_path / "none.pdb")
    with pytest.raises(InputError, match="is a folder"):
        open_source(tmp_path)
    with pytest.raises(InputError, match="extension .docx; use one of .pdb"):
        open_source(write_text("x", "input.docx"))
    with pytest.raises(InputError, match="name without an extension"):
        open_source(write_text("x", "input"))


def test_trajectory_without_topology(two_chains, write_frames):
    path = write_frames("out.xtc", *two_chains)
    with pytest.raises(InputError, match="out.xtc: .* give its topology .* with --top"):
        open_source(path)


def test_topology_of_another_size(two_chains, write_frames, c_alpha_lines, write_text):
    topology, present, coordinates = two_chains
    path = write_frames("out.xtc", topology, present, coordinates)
    other = write_text(c_alpha_lines(), "other.pdb")
    with pytest.raises(InputError, match=rf"has {present.sum()} atoms, but its topology .*other.pdb has 5"):
        open_source(path, other)


def test_c_alpha_trajectory_with_all_atom_topology(two_chains, write_frames):
    topology, present, coordinates = two_chains
    path = write_frames("ca.xtc", topology, only_c_alphas(topology), coordinates)
    full = write_frames("full.pdb", topology, present, coordinates)
    with pytest.raises(InputError, match="give a topology that contains only the C-alphas"):
        open_source(path, full)


@pytest.mark.parametrize("suffix", [".xtc", ".dcd", ".trr", ".nc", ".h5", ".gro", ".cif"])
def test_garbage(c_alpha_lines, write_text, suffix):
    top = write_text(c_alpha_lines(), "top.pdb")
    with pytest.raises(InputError, match=f"input{suffix}: "):
        open_source(write_text("this is no trajectory at all\n" * 9, f"input{suffix}"), top)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 7])


@pytest.mark.parametrize("suffix", [".nc", ".h5"])
def test_cut_off_container(two_chains, write_frames, suffix):
    if suffix == ".h5":
        pytest.importorskip("tables")
    path = write_frames(f"out{suffix}", *two_chains)
    top = write_frames("top.pdb", *two_chains)
    cut_in_half(path)
    with pytest.raises(InputError, match=f"out{suffix}: cannot be read as"):
        open_source(path, top)


def test_cut_off_gzip(c_alpha_lines, tmp_path):
    path = tmp_path / "input.pdb.gz"
    path.write_bytes(gzip.compress("".join(c_alpha_lines()).encode())[:-20])
    with pytest.raises(InputError, match="ends too early .the gzip file is truncated."):
        open_source(path)


def test_text_that_is_not_gzip(c_alpha_lines, write_text):
    with pytest.raises(InputError, match="cannot be read as PDB"):
        open_source(write_text(c_alpha_lines(), "input.pdb.gz"))


def test_unit_cell(two_chains, write_frames):
    topology, present, coordinates = two_chains
    box = np.tile(np.diag([5.0, 6.0, 7.0]), (3, 1, 1))
    for name in ("out.pdb", "out.cif", "out.xtc"):
        path = write_frames(name, topology, present, coordinates, box=box)
        source = open_source(path, path.with_suffix(".pdb") if name == "out.xtc" else None)
        (chunk,) = source.chunks(9)
        np.testing.assert_allclose(chunk.box, box, atol=1e-5)
        Path(path).unlink()
        path.with_suffix(".pdb").unlink(missing_ok=True)


def test_mdtraj_reads_what_is_written(two_chains, write_frames):
    topology, present, coordinates = two_chains
    for name in ("a.pdb", "b.cif"):
        trajectory = mdtraj.load(str(write_frames(name, topology, present, coordinates)))
        assert trajectory.n_frames == 3
        assert [atom.name for atom in trajectory.topology.atoms][:4] == ["N", "CA", "C", "O"]
        np.testing.assert_allclose(trajectory.xyz, coordinates[:, present], atol=6e-5)


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
@pytest.mark.parametrize(
    "group, periodic", [("P 1", True), ("", True), ("P 21 21 21", False), ("odd", False)]
)
def test_the_cell_of_a_crystal_is_no_periodic_box(tmp_path, c_alpha_lines, group, periodic, suffix):
    path, output = tmp_path / "in.pdb", tmp_path / f"out{suffix}"
    cell = f"CRYST1   50.000   60.000   70.000  90.00  90.00  90.00 {group}\n"
    path.write_text(cell + "".join(c_alpha_lines()))
    for file in (path, output):
        source = open_source(file)
        (chunk,) = source.chunks(1)
        np.testing.assert_allclose(chunk.box, [np.diag([5.0, 6.0, 7.0])], atol=1e-6)
        assert (chunk.periodic_box is not None) == periodic
        twice = join_chunks([chunk, chunk])
        assert (twice.periodic_box is not None) == (chunk.cut(1).periodic_box is not None) == periodic
        if file is path:  # the output says the same
            frames = OutputLayout().frames(chunk.coordinates[None], chunk)
            with open_writer(output, c_alpha_list(source.topology)) as writer:
                writer.append(frames[0])


def test_the_cell_of_a_structure_without_one(tmp_path, c_alpha_lines):
    path = tmp_path / "in.pdb"
    none = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    path.write_text(none + "".join(c_alpha_lines()))
    (chunk,) = open_source(path).chunks(1)
    assert chunk.box is None and chunk.periodic_box is None
