"""``backmap coarse-grain`` and ``backmap beads``: from atoms to beads, and the tables of both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.chemistry.bead_mapping import load_mapping, shipped_mappings
from backmap.cli.main import main
from backmap.errors import InputError
from backmap.io import AtomList, Source, open_source, open_writer
from backmap.io.formats.frame_times import header_interval

CASES = Path(__file__).parents[1] / "data" / "cases"
CRAMBIN = CASES / "beads" / "1ab1_A.pdb"
FRAMES = 7
BOX_NM = np.diag([6.0, 7.0, 8.0])

pytestmark = pytest.mark.filterwarnings("ignore:.*netCDF4", "ignore:.*took its beads for")


def coarse_grain(atoms: Path, beads: str | Path, output: Path, *more: str) -> int:
    return main(["coarse-grain", str(atoms), "--beads", str(beads), "-o", str(output), *more])


def frames_of(source: Source):
    (chunk,) = source.chunks(100)
    return chunk


def image_of(atoms: Source, beads: str) -> np.ndarray:
    """Beads (frames, beads, 3) of the atoms of a source."""
    positions = atoms.sites.in_slots(frames_of(atoms).coordinates, atoms.topology)
    return load_mapping(beads).layout(atoms.topology.residue_types).image(positions)


@pytest.fixture
def trajectory(tmp_path) -> Path:
    """Write frames of crambin in two chains, with time, step and box; a PDB file lies beside it."""
    source = open_source(CRAMBIN)
    second = np.arange(source.topology.n_residues) >= source.topology.n_residues // 2
    topology = replace(source.topology, chain_index=second.astype(np.int64), chain_ids=("P", "Q"))
    present = source.sites.present(topology)
    moved = frames_of(source).coordinates + 0.02 * np.arange(FRAMES)[:, None, None]
    with open_writer(tmp_path / "atoms.xtc", AtomList.of_protein(topology, present)) as writer:
        boxes = np.broadcast_to(BOX_NM, (FRAMES, 3, 3))
        writer.write(moved, 5.0 * np.arange(FRAMES), boxes, 2500 * np.arange(FRAMES))
    return tmp_path / "atoms.xtc"


@pytest.mark.parametrize("name", sorted(set(shipped_mappings())))
def test_written_beads_are_read_again(name, tmp_path, capsys):
    """Crambin has none of the residues that primo lacks."""
    output = tmp_path / "beads.pdb"
    assert coarse_grain(CRAMBIN, name, output) == 0
    n_beads = load_mapping(name).layout(open_source(CRAMBIN).topology.residue_types).n_beads
    said = f"coarse-grained 1 frame x 46 residues to {n_beads} beads of {name} -> {output}\n"
    assert capsys.readouterr().err == said
    expected = image_of(open_source(CRAMBIN), name)
    beads = open_source(output, beads=name)
    np.testing.assert_array_equal(beads.topology.residue_types, open_source(CRAMBIN).topology.residue_types)
    if beads.mapping is not None:
        assert beads.mapping.name == name and beads.sites.n_sites == n_beads
    np.testing.assert_allclose(frames_of(beads).coordinates, expected, atol=6e-5)
    assert mdtraj.load(output).n_atoms == n_beads


@pytest.mark.parametrize("suffix", [".pdb", ".cif.gz", ".xtc", ".trr", ".dcd", ".h5", ".nc"])
def test_every_format_keeps_what_it_can(trajectory, tmp_path, suffix):
    if suffix == ".h5":
        pytest.importorskip("tables")
    output, top = tmp_path / f"beads{suffix}", trajectory.with_suffix(".pdb")
    assert coarse_grain(trajectory, "martini3", output, "--top", str(top)) == 0
    named = suffix in (".pdb", ".cif.gz", ".h5")
    names = None if named else output.with_suffix(".pdb")
    assert named or names.is_file()
    beads, atoms = open_source(output, names, beads="martini3"), open_source(trajectory, top)
    found, given = frames_of(beads), frames_of(atoms)
    np.testing.assert_allclose(found.coordinates, image_of(atoms, "martini3"), atol=2e-3)
    np.testing.assert_allclose(found.box, given.box, atol=1e-5)
    assert beads.topology.chain_ids == atoms.topology.chain_ids == ("P", "Q")
    np.testing.assert_array_equal(beads.topology.chain_index, atoms.topology.chain_index)
    np.testing.assert_array_equal(beads.topology.residue_numbers, atoms.topology.residue_numbers)
    if suffix in (".xtc", ".trr"):
        np.testing.assert_array_equal(found.step, given.step)
    if suffix in (".xtc", ".trr", ".h5", ".nc"):
        np.testing.assert_allclose(found.time, given.time)
    if suffix == ".dcd":
        assert header_interval(output) == pytest.approx(5.0)


def test_frames_are_chosen_as_by_other_verbs(trajectory, tmp_path):
    output, top = tmp_path / "beads.xtc", str(trajectory.with_suffix(".pdb"))
    some = ("--begin", "2", "--end", "6", "--stride", "2")
    assert coarse_grain(trajectory, "c-alpha", output, "--top", top, *some) == 0
    assert mdtraj.load(output, top=output.with_suffix(".pdb")).time.tolist() == [5.0, 15.0, 25.0]


def test_chunks_do_not_matter(trajectory, tmp_path, monkeypatch):
    top = str(trajectory.with_suffix(".pdb"))
    assert coarse_grain(trajectory, "martini2", tmp_path / "one.xtc", "--top", top) == 0
    monkeypatch.setattr("backmap.runs.coarse_graining._RESIDUES_PER_CHUNK", 92)
    assert coarse_grain(trajectory, "martini2", tmp_path / "two.xtc", "--top", top) == 0
    assert (tmp_path / "one.xtc").read_bytes() == (tmp_path / "two.xtc").read_bytes()


def test_map_files_and_python(trajectory, tmp_path):
    top, table = trajectory.with_suffix(".pdb"), CASES / "mappings" / "martini3001.charmm36.map"
    assert coarse_grain(trajectory, table, tmp_path / "beads.trr", "--top", str(top)) == 0
    written = mdtraj.load(tmp_path / "beads.trr", top=tmp_path / "beads.pdb")
    for given in (trajectory, mdtraj.load(trajectory, top=top)):
        made = backmap.coarse_grain(given, table, top=top if given is trajectory else None)
        np.testing.assert_allclose(made.xyz, written.xyz, atol=1e-6)
        np.testing.assert_allclose(made.unitcell_vectors, written.unitcell_vectors, atol=1e-5)
        np.testing.assert_allclose(made.time, written.time)
        assert [atom.name for atom in made.topology.atoms][:4] == ["BB", "SC1", "BB", "SC1"]


def refused(capsys) -> str:
    error = capsys.readouterr().err
    assert error.startswith("backmap: error: ") and error.count("\n") == 1
    return error


def test_a_missing_atom_is_named(tmp_path, capsys):
    lines = CRAMBIN.read_text().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if line[12:26] == " CG  ASN A  12")
    (tmp_path / "in.pdb").write_text("".join(lines[:place] + lines[place + 1 :]))
    assert coarse_grain(tmp_path / "in.pdb", "martini3", tmp_path / "out.pdb") == 2
    assert (
        "in.pdb: chain A residue 12 ASN has no atom CG, which the bead SC1 of martini3 needs; add the atom "
        "or remove the residue" in refused(capsys)
    )
    assert coarse_grain(tmp_path / "in.pdb", "backbone", tmp_path / "out.pdb") == 0


@pytest.mark.parametrize(
    ("given", "beads", "output", "message"),
    [
        (CRAMBIN, "martini4", "out.pdb", "beads martini4: neither a bead mapping"),
        (CRAMBIN, "martini3", "out.xyz", "cannot tell the output format"),
        (
            CASES / "beads/1ab1_A.martini3.pdb",
            "martini3",
            "out.pdb",
            "contains beads of the mapping martini3",
        ),
        (
            CASES / "dialects/old_id.pdb",
            "primo",
            "out.pdb",
            "old_id.pdb: the bead mapping primo has no beads",
        ),
        (CASES / "dialects/old_id.pdb", "backbone", "out.pdb", "residue 1 HIS has no atom N, which the bead"),
    ],
)
def test_what_cannot_be_coarse_grained(given, beads, output, message, tmp_path, capsys):
    assert coarse_grain(given, beads, tmp_path / output) == 2
    assert message in refused(capsys)
    assert list(tmp_path.iterdir()) == []


def test_outputs_replace_nothing_unasked(tmp_path, capsys):
    output = tmp_path / "out.pdb"
    output.write_text("mine")
    assert coarse_grain(CRAMBIN, "c-alpha", output) == 2
    assert "already exists; give --overwrite" in refused(capsys) and output.read_text() == "mine"
    assert coarse_grain(CRAMBIN, "c-alpha", output, "--overwrite", "--quiet") == 0
    assert capsys.readouterr().err == "" and output.read_text() != "mine"
    assert coarse_grain(output, "c-alpha", output, "--overwrite") == 2
    assert "is an input of this run" in refused(capsys)


def test_a_file_that_ends_early_is_used_to_its_last_whole_frame(trajectory, tmp_path, capsys):
    trajectory.write_bytes(trajectory.read_bytes()[:-20])
    output, top = tmp_path / "beads.xtc", str(trajectory.with_suffix(".pdb"))
    assert coarse_grain(trajectory, "c-alpha", output, "--top", top) == 2
    assert f"ends in the middle of frame {FRAMES}" in refused(capsys)
    assert mdtraj.load(output, top=output.with_suffix(".pdb")).n_frames == FRAMES - 1


def test_bad_frames_are_left_out_on_request(trajectory, tmp_path, capsys):
    top = trajectory.with_suffix(".pdb")
    damaged = mdtraj.load(trajectory, top=top)
    damaged.xyz[3] = np.nan
    damaged.save_dcd(tmp_path / "damaged.dcd")
    more = ("--top", str(top))
    assert coarse_grain(tmp_path / "damaged.dcd", "c-alpha", tmp_path / "out.dcd", *more) == 2
    assert "frame 4" in refused(capsys) and not (tmp_path / "out.dcd").exists()
    more += ("--on-bad-frame", "skip")
    assert coarse_grain(tmp_path / "damaged.dcd", "c-alpha", tmp_path / "out.dcd", *more) == 0
    assert "left out 1 bad frame (4)" in capsys.readouterr().err
    assert mdtraj.load(tmp_path / "out.dcd", top=tmp_path / "out.pdb").n_frames == FRAMES - 1


def test_python_refuses_what_is_no_mapping():
    with pytest.raises(InputError, match="beads is 3; give the name of a bead mapping"):
        backmap.coarse_grain(CRAMBIN, 3)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_tables_fit_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["beads"]) == 0
    listed = capsys.readouterr().out
    assert set(shipped_mappings()) <= set(listed.split())
    for name in shipped_mappings():
        assert main(["beads", name]) == 0
        listed += capsys.readouterr().out
    narrowest = 60
    assert max(map(len, listed.splitlines())) <= max(columns, narrowest)


def test_the_table_of_one_mapping(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["beads", "martini3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "martini3: Martini 3: BB, SC1 to SC5; a virtual CA of Go models is ignored",
        "Ignored in files: CA",
    ]
    assert "HIS      BB    N 0.259, CA 0.222, C 0.222, O 0.296" in lines
    assert "         SC2   CD2 0.462, NE2 0.538" in lines
    assert main(["beads", "primo"]) == 0
    assert "Without beads: GLN HIS LYS MET TRP" in capsys.readouterr().out
    assert main(["beads", "martini4"]) == 2
    assert "beads martini4: neither a bead mapping" in refused(capsys)
