"""From atoms to beads and back, by the command line."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry.bead_mapping import shipped_mappings
from backmap.cli.main import main
from backmap.io import open_source
from backmap.io.formats.frame_times import header_interval

CRAMBIN = Path(__file__).parents[1] / "data" / "cases" / "beads"
EXAMPLE = Path(__file__).parents[2] / "examples" / "2bf5.pdb.gz"


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory) -> Path:
    """Three frames of the example's atoms in a box, with times."""
    atoms = mdtraj.load_pdb(str(EXAMPLE))
    atoms = atoms.atom_slice(atoms.topology.select("protein and element != H"))
    moved = atoms.xyz + np.arange(3)[:, None, None] * 0.1
    folder = tmp_path_factory.mktemp("atoms")
    run = mdtraj.Trajectory(moved, atoms.topology, time=[5.0, 10.0, 15.0])
    run.unitcell_vectors = np.repeat(20 * np.eye(3)[None], 3, axis=0)
    run.save(str(folder / "atoms.xtc"))
    atoms[0].save(str(folder / "atoms.pdb"))
    return folder / "atoms.xtc"


@pytest.mark.parametrize("suffix", ["pdb", "cif", "gro", "xtc", "h5"])
def test_beads_are_those_of_the_mapping(suffix, trajectory, tmp_path, capsys):
    output = tmp_path / f"beads.{suffix}"
    top = str(trajectory.with_suffix(".pdb"))
    assert (
        main(["coarse-grain", str(trajectory), "--top", top, "--beads", "martini3", "-o", str(output)]) == 0
    )
    assert "coarse-grained 3 frames to martini3" in capsys.readouterr().err
    source = open_source(output, output.with_suffix(".pdb") if suffix == "xtc" else None)
    assert source.mapping.name == "martini3" and source.n_frames == 3
    true = open_source(trajectory, top)
    (found,), (atoms,) = source.chunks(9), true.chunks(9)
    expected = source.beads.image(true.sites.in_slots(atoms.coordinates))
    np.testing.assert_allclose(found.coordinates, expected, atol=2e-3)
    if suffix in ("gro", "xtc", "h5"):
        assert found.time.tolist() == [5.0, 10.0, 15.0]
        np.testing.assert_allclose(found.box[:, 0, 0], 20.0, atol=1e-3)


def test_frames_are_selected_and_output_is_not_overwritten(trajectory, tmp_path, capsys):
    output = tmp_path / "beads.pdb"
    files = [str(trajectory), "--top", str(trajectory.with_suffix(".pdb")), "-o", str(output)]
    assert main(["coarse-grain", *files, "--beads", "c-alpha", "--begin", "2", "--stride", "2"]) == 0
    assert open_source(output).n_frames == 1
    assert main(["coarse-grain", *files, "--beads", "c-alpha"]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["coarse-grain", *files, "--beads", "c-alpha", "--overwrite"]) == 0
    assert open_source(output).n_frames == 3


@pytest.mark.parametrize("mapping", ["martini3", "residue-centre"])
def test_missing_atoms_are_built_around_the_given_ones(mapping, trajectory, tmp_path, capsys):
    """Of all frames; beads whose atoms are given stay where they are."""
    atoms = mdtraj.load(str(trajectory), top=str(trajectory.with_suffix(".pdb")))
    absent = {(4, "CB"), (4, "CG"), (20, "O"), (21, "CB")}
    kept = [a.index for a in atoms.topology.atoms if (a.residue.index, a.name) not in absent]
    part = atoms.atom_slice(kept)
    part.save(str(tmp_path / "in.xtc"))
    part[0].save(str(tmp_path / "in.pdb"))
    found = []
    for name, top in (("full", trajectory.with_suffix(".pdb")), ("in", tmp_path / "in.pdb")):
        given = trajectory if name == "full" else tmp_path / "in.xtc"
        output = tmp_path / f"{name}_beads.xtc"
        command = ["coarse-grain", str(given), "--top", str(top), "-o", str(output), "--beads", mapping]
        assert main(command) == 0
        found.append(mdtraj.load(str(output), top=str(output.with_suffix(".pdb"))))
    message = capsys.readouterr().err
    n_built = sum((a.residue.index, a.name) in absent for a in atoms.topology.atoms)
    described = open_source(trajectory.with_suffix(".pdb")).topology.describe(4)
    assert (
        f"built {n_built} atoms that beads need and 3 residues lack, around the given ones: {described}"
        in message
    )
    full, made = found
    assert [str(atom) for atom in full.topology.atoms] == [str(atom) for atom in made.topology.atoms]
    distance = np.linalg.norm(full.xyz - made.xyz, axis=-1)
    incomplete = np.array([atom.residue.index in (4, 20, 21) for atom in made.topology.atoms])
    assert distance[:, ~incomplete].max() < 2e-3
    assert 0.003 < distance[:, incomplete].max() < 0.3
    assert made.time.tolist() == [5.0, 10.0, 15.0]


def test_unknown_mappings_are_refused(trajectory, tmp_path, capsys):
    files = [str(trajectory.with_suffix(".pdb")), "-o", str(tmp_path / "out.pdb")]
    assert main(["coarse-grain", *files, "--beads", "martini9"]) == 2
    assert "neither a bead mapping" in capsys.readouterr().err
    assert not (tmp_path / "out.pdb").exists()


def test_side_chains_that_are_not_built_are_refused(tmp_path, capsys):
    """D-amino acids among L-amino acids are built as their backbone; a missing atom of theirs is named."""
    lines = (CRAMBIN / "1ab1_A.pdb").read_text().splitlines(keepends=True)
    isoleucine = [line for line in lines if line[17:26] == "ILE A   7"]
    assert isoleucine
    kept = [line for line in lines if line not in isoleucine or line[12:16].strip() in ("N", "CA", "C", "O")]
    text = "".join(kept).replace("ILE A   7", "DIL A   7")
    (tmp_path / "in.pdb").write_text(text)
    files = [str(tmp_path / "in.pdb"), "-o", str(tmp_path / "out.pdb")]
    assert main(["coarse-grain", *files, "--beads", "martini3"]) == 2
    assert "residue 7 DIL has no atom CB, which a bead needs" in capsys.readouterr().err
    assert not (tmp_path / "out.pdb").exists()


def test_beads_on_atoms_have_their_elements(trajectory, tmp_path):
    top, output = str(trajectory.with_suffix(".pdb")), tmp_path / "out.pdb"
    for mapping, elements in (("awsem", {"CA": "C", "CB": "C", "O": "O"}), ("martini3", {"BB": "VS"})):
        assert main(["coarse-grain", top, "-o", str(output), "--beads", mapping, "--overwrite"]) == 0
        atoms = [line for line in output.read_text().splitlines() if line.startswith("ATOM")]
        found = {line[12:16].strip(): line[76:78].strip() for line in atoms}
        assert found | elements == found
    assert {name[:2]: symbol for name, symbol in found.items()} == {"BB": "VS", "SC": "VS"}


def test_beads_are_no_atoms(tmp_path, capsys):
    files = [str(CRAMBIN / "1ab1_A.martini3.pdb"), "-o", str(tmp_path / "out.pdb")]
    assert main(["coarse-grain", *files, "--beads", "martini3"]) == 2
    assert "has beads of the mapping martini3; give a file of atoms" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_time_between_frames_reaches_the_header_of_dcd(trajectory, tmp_path):
    output = tmp_path / "beads.dcd"
    files = [str(trajectory), "--top", str(trajectory.with_suffix(".pdb")), "-o", str(output)]
    assert main(["coarse-grain", *files, "--beads", "martini3"]) == 0
    assert header_interval(output) == pytest.approx(5.0)


def test_whole_frames_of_a_file_that_ends_early_are_written(trajectory, tmp_path, capsys):
    (tmp_path / "cut.xtc").write_bytes(trajectory.read_bytes()[:-20])
    output, top = tmp_path / "beads.xtc", str(trajectory.with_suffix(".pdb"))
    command = ["coarse-grain", str(tmp_path / "cut.xtc"), "--top", top, "-o", str(output)]
    assert main([*command, "--beads", "c-alpha"]) == 2
    message = capsys.readouterr().err
    assert "ends in the middle of frame 3" in message and f"those frames are in {output}" in message
    assert mdtraj.load(output, top=output.with_suffix(".pdb")).n_frames == 2


def test_the_symmetry_of_a_crystal_stays(tmp_path):
    atoms = (CRAMBIN / "1ab1_A.pdb").read_text()
    cell = f"CRYST1{40.96:9.3f}{18.65:9.3f}{22.52:9.3f}{90:7.2f}{90.77:7.2f}{90:7.2f} P 1 21 1\n"
    (tmp_path / "in.pdb").write_text(cell + atoms)
    output = tmp_path / "out.pdb"
    assert main(["coarse-grain", str(tmp_path / "in.pdb"), "--beads", "martini3", "-o", str(output)]) == 0
    assert output.read_text().splitlines()[0].rstrip() == cell.rstrip()


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_tables_fit_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    for name in ([], *([name] for name in shipped_mappings())):
        assert main(["beads", *name]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


@pytest.mark.parametrize("suffix", ["pdb", "cif", "xtc"])
def test_any_printable_name_of_a_bead_is_written(suffix, tmp_path):
    mapping, output = tmp_path / "own.toml", tmp_path / f"beads.{suffix}"
    mapping.write_text('[every]\n"%d%" = "backbone"\n')
    command = ["coarse-grain", str(CRAMBIN / "1ab1_A.pdb"), "--beads", str(mapping), "-o", str(output)]
    assert main(command) == 0
    source = open_source(output, output.with_suffix(".pdb") if suffix == "xtc" else None, beads=str(mapping))
    assert set(source.sites.names) == {"%d%"} and source.topology.n_residues == 46


def test_control_codes_of_a_mapping_do_not_reach_the_terminal(tmp_path, capsys):
    mapping = tmp_path / "own\x1b[2J.toml"
    mapping.write_text(
        'description = "red \\u001b[31m\\nand more"\nignored = ["\\u0007"]\n[every]\nB = "CA"\n'
    )
    assert main(["beads", str(mapping)]) == 0
    listed = capsys.readouterr().out
    assert "red \\x1b[31m and more" in listed and "ignored: \\x07" in listed
    assert all(letter == "\n" or letter.isprintable() for letter in listed)


def test_mappings_are_listed(capsys):
    assert main(["beads"]) == 0
    listed = capsys.readouterr().out
    assert "martini3 (1 to 6 per residue)" in listed and all(len(line) <= 100 for line in listed.splitlines())
    assert "backbone, main-chain (4 per residue)" in listed
    assert main(["beads", "c-alpha+side-chain-centre"]) == 0
    assert "SER  CA = CA; SC = CB:42.9 OG:57.1" in capsys.readouterr().out
    assert main(["beads", "nothing"]) == 2


def test_beads_are_neither_scored_nor_learned_from(trajectory, tmp_path, capsys):
    top, beads, config = str(trajectory.with_suffix(".pdb")), tmp_path / "beads.pdb", tmp_path / "c.toml"
    command = ["coarse-grain", str(trajectory), "--top", top, "-o", str(beads), "--beads", "martini3"]
    assert main([*command, "--end", "1"]) == 0
    config.write_text(
        f'[data]\ntrajectories = ["{beads}"]\n[model]\nmapping = "martini3"\n'
        "[training.estimator]\nepochs = 1\n"
    )
    capsys.readouterr()
    for refused in (
        ["evaluate", str(beads)],
        ["evaluate", top, "--reference", str(beads)],
        ["train", "beads", str(config), "-o", str(tmp_path / "out")],
    ):
        assert main(refused) == 2
        assert "has beads of the mapping martini3; give a file of atoms" in capsys.readouterr().err


def test_several_inputs_are_refused(trajectory, tmp_path, capsys):
    words = ["coarse-grain", trajectory, trajectory, "--beads", "martini3", "-o", tmp_path / "beads.pdb"]
    assert main(list(map(str, words))) == 2
    assert f"{trajectory}: coarse-grain takes one input; run it once per input" in capsys.readouterr().err
