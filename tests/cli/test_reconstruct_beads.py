"""Beads to atoms by the command line: what is recognised, what is refused, and runs that are stopped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.chemistry import bead_mapping
from backmap.chemistry.bead_mapping import load_mapping
from backmap.cli.main import main
from backmap.io import open_source

BEADS = Path(__file__).parents[1] / "data" / "cases" / "beads"
EXAMPLE = Path(__file__).parents[2] / "examples" / "2bf5.pdb.gz"


@pytest.fixture(scope="module")
def martini(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("martini") / "beads.pdb"
    assert main(["coarse-grain", str(EXAMPLE), "--beads", "martini3", "-o", str(path)]) == 0
    return path


def reconstruct(path: Path, output: Path, *options: str) -> int:
    return main(["reconstruct", str(path), "-o", str(output), "--quiet", "--device", "cpu", *options])


@pytest.mark.parametrize(
    ("file", "options", "mapping"),
    [
        ("residue", [], "residue-centre"),
        ("cacm", [], "c-alpha+residue-centre"),
        ("primo", [], "primo"),
        ("mc", ["--beads", "backbone"], "backbone"),
        ("casc", ["--beads", "c-alpha+side-chain-centre"], "c-alpha+side-chain-centre"),
        ("martini", [], "martini2"),
        ("sc", [], "side-chain-centre"),
    ],
)
def test_each_representation_of_crambin_is_built(file, options, mapping, tmp_path):
    output = tmp_path / "atoms.pdb"
    assert reconstruct(BEADS / f"1ab1_A.{file}.pdb", output, *options) == 0
    record = json.loads((tmp_path / "atoms.pdb.backmap.json").read_text())
    assert record["bead_mapping"] == mapping
    # The side-chain points of these files are no centres.
    assert record["bead_distance_rms_nm"] < (0.03 if file in ("casc", "sc") else 0.008)
    built, true = open_source(output), open_source(BEADS / "1ab1_A.pdb")
    assert built.topology.n_residues == 46 and built.linked.sum() == 45
    (atoms,), (crystal,) = built.chunks(1), true.chunks(1)
    c_alpha = atoms.coordinates[0, built.sites.leaders] - crystal.coordinates[0, true.sites.leaders]
    assert np.sqrt(np.square(c_alpha).sum(axis=-1).mean()) < 0.12


@pytest.mark.parametrize(
    ("mapping", "unused"),
    [("backbone", "N, C, O"), ("backbone+c-beta", "N, C, O, CB"), ("c-alpha", "")],
)
def test_atoms_of_the_backbone_that_are_not_used_are_named(mapping, unused, tmp_path, capsys):
    """With the option that uses them; with it, or where C-alphas are asked for, nothing is said."""
    beads, output = tmp_path / "beads.pdb", tmp_path / "atoms.pdb"
    assert main(["coarse-grain", str(EXAMPLE), "--beads", mapping, "-o", str(beads)]) == 0
    capsys.readouterr()
    line = (
        f"its atoms {unused} are not used, as only C-alphas are by default; --beads {mapping} or --keep-given"
    )
    for options in ([], ["--beads", mapping], ["--keep-given"], ["--beads", "c-alpha"]):
        assert reconstruct(beads, output, "--overwrite", *options) == 0
        message = capsys.readouterr().err
        assert (line in message) == (not options and bool(unused))
        assert ("are not used" in message) == (line in message)


def test_beads_of_awsem_are_recognised(tmp_path, capsys):
    """CA, CB and O, which no file of atoms has without N and C; with a missing one they are atoms."""
    beads, output = tmp_path / "beads.pdb", tmp_path / "atoms.pdb"
    assert main(["coarse-grain", str(EXAMPLE), "--beads", "awsem", "-o", str(beads)]) == 0
    record = output.with_name("atoms.pdb.backmap.json")
    for options, mapping in (([], "awsem"), (["--overwrite", "--beads", "c-alpha"], "c-alpha")):
        assert reconstruct(beads, output, *options) == 0
        assert "are not used" not in capsys.readouterr().err
        assert json.loads(record.read_text()).get("bead_mapping", "c-alpha") == mapping
    assert reconstruct(beads, output, "--overwrite", "--keep-given") == 2
    lines = beads.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line[12:16].strip() == "O")
    beads.write_text("\n".join(lines[:first] + lines[first + 1 :]))
    assert reconstruct(beads, output, "--overwrite") == 0
    assert "its atoms O, CB are not used" in capsys.readouterr().err


def test_nothing_is_said_of_complete_structures(tmp_path, capsys):
    assert reconstruct(EXAMPLE, tmp_path / "atoms.pdb") == 0
    assert "are not used" not in capsys.readouterr().err


def test_ensembles_of_bioemu_keep_their_atoms(tmp_path):
    """topology.pdb and samples.xtc with N, CA, C, CB, O of each residue, in this order."""
    beads = tmp_path / "beads.pdb"
    assert main(["coarse-grain", str(EXAMPLE), "--beads", "backbone+c-beta", "-o", str(beads)]) == 0
    lines = [line for line in beads.read_text().splitlines(keepends=True) if line.startswith("ATOM")]
    rank = {name: place for place, name in enumerate(["N", "CA", "C", "CB", "O"])}
    lines.sort(key=lambda line: (line[21:27], rank[line[12:16].strip()]))
    (tmp_path / "topology.pdb").write_text("".join(lines))
    given = mdtraj.load(str(tmp_path / "topology.pdb"))
    assert [atom.name for atom in given.topology.residue(1).atoms] == ["N", "CA", "C", "CB", "O"]
    mdtraj.join([given, given]).save(str(tmp_path / "samples.xtc"))
    output = tmp_path / "atoms.xtc"
    options = ["--top", str(tmp_path / "topology.pdb"), "--keep-given"]
    assert reconstruct(tmp_path / "samples.xtc", output, *options) == 0
    built = mdtraj.load(str(output), top=str(output.with_suffix(".pdb")))
    samples = mdtraj.load(str(tmp_path / "samples.xtc"), top=str(tmp_path / "topology.pdb"))
    for place, atom in enumerate(given.topology.atoms):
        residue = built.topology.residue(atom.residue.index)
        np.testing.assert_array_equal(built.xyz[:, residue.atom(atom.name).index], samples.xyz[:, place])
    assert built.n_atoms > given.n_atoms


def test_files_that_fit_two_mappings_are_refused(tmp_path, capsys):
    assert reconstruct(BEADS / "1ab1_A.casc.pdb", tmp_path / "out.pdb") == 2
    assert (
        "fit the mappings c-alpha+side-chain-centre and unres; say which with --beads"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--model", "diamondback"],
            "beads of the mapping martini3, but diamondback models build from C-alphas",
        ),
        (["--keep-given"], "keep-given: applies only to atoms; the input has beads of the mapping martini3"),
        (["--beads", "sirah"], "ha(s|ve) no bead G[NCO] of the mapping sirah"),
        (["--beads", "nothing"], "neither a bead mapping"),
        (["--bead-model", "missing.safetensors"], "missing.safetensors is not a model file"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message, martini, tmp_path, capsys):
    assert reconstruct(martini, tmp_path / "out.pdb", *options) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not list(tmp_path.iterdir())


def test_a_bead_model_needs_beads(tmp_path, capsys):
    options = ["--bead-model", "x.safetensors"]
    assert reconstruct(BEADS / "1ab1_A.calpha.pdb", tmp_path / "out.pdb", *options) == 2
    assert "bead-model: applies only to beads, but the input has C-alphas" in capsys.readouterr().err


def test_an_estimator_builds_no_atoms(martini, tmp_path, capsys):
    path = Path(backmap.__file__).parent / "weights" / "beads" / "martini3.safetensors"
    assert reconstruct(martini, tmp_path / "out.pdb", "--model", str(path)) == 2
    assert "estimates C-alphas from beads; give it with --bead-model" in capsys.readouterr().err


def test_beads_without_a_shipped_model_say_how_to_train_one(martini, tmp_path, capsys):
    table = tmp_path / "own.toml"
    table.write_text('description = "one"\n[every]\nBB = "backbone"\nSC1 = "side-chain"\n')
    text = "".join(line for line in martini.read_text().splitlines(True) if line[12:16].strip() < "SC2")
    (tmp_path / "own.pdb").write_text(text)
    assert reconstruct(tmp_path / "own.pdb", tmp_path / "out.pdb", "--beads", str(table)) == 2
    assert "no model is shipped that estimates C-alphas from them; train one" in capsys.readouterr().err


def test_a_mapping_is_known_by_its_content(martini, tmp_path, capsys):
    """A table called like a shipped one is another mapping; a copy of a shipped one is the same."""
    shipped = Path(bead_mapping.__file__).with_name("bead_mappings") / "martini3.toml"
    copy, other = tmp_path / "copy.toml", tmp_path / "martini3.toml"
    copy.write_text(shipped.read_text())
    other.write_text(shipped.read_text().replace('"backbone"', '"N CA C"'))
    assert reconstruct(martini, tmp_path / "out.pdb", "--beads", str(copy)) == 0
    assert reconstruct(martini, tmp_path / "other.pdb", "--beads", str(other)) == 2
    assert "no model is shipped that estimates C-alphas from them; train one" in capsys.readouterr().err
    model = str(Path(backmap.__file__).parent / "weights" / "beads" / "martini3.safetensors")
    options = ["--beads", str(other), "--bead-model", model]
    assert reconstruct(martini, tmp_path / "other.pdb", *options) == 2
    message = capsys.readouterr().err
    assert "is for a mapping martini3 with other atoms or weights than that of the input; train" in message
    assert not (tmp_path / "other.pdb").exists()


def test_a_bead_model_that_is_not_needed_is_refused(tmp_path, capsys):
    path, model = BEADS / "1ab1_A.cacm.pdb", "any.safetensors"
    assert reconstruct(path, tmp_path / "out.pdb", "--bead-model", model) == 2
    assert "bead-model: is not needed: beads c-alpha+residue-centre include the C-alphas; leave it out" in (
        capsys.readouterr().err
    )


def test_trajectories_resume_and_workers_agree(martini, tmp_path):
    frames = martini.read_text().replace("END\n", "")
    many = "".join(f"MODEL     {number}\n{frames}ENDMDL\n" for number in range(1, 5))
    path = tmp_path / "run.pdb"
    path.write_text(many)
    assert reconstruct(path, tmp_path / "whole.xtc", "--batch", "2") == 0
    assert reconstruct(path, tmp_path / "two.xtc", "--batch", "2", "--workers", "2") == 0
    assert (tmp_path / "whole.xtc").read_bytes() == (tmp_path / "two.xtc").read_bytes()


def written_with(source: Path, output: Path, move) -> Path:
    """Copy a PDB file, with each position (3,) in Angstrom moved by a function of it and the atom's name."""
    lines = source.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("ATOM"):
            position = np.array([float(line[first : first + 8]) for first in (30, 38, 46)])
            moved = "".join(f"{value:8.3f}" for value in move(position, line[12:16].strip()))
            lines[number] = line[:30] + moved + line[54:]
    output.write_text("\n".join(lines) + "\n")
    return output


def test_beads_that_no_molecule_fits_are_refused(tmp_path, capsys):
    def apart(position, name):
        return position + [30.0, 0.0, 0.0] if name.startswith("SC") else position

    given = written_with(BEADS / "1ab1_A.martini3.pdb", tmp_path / "given.pdb", apart)
    assert reconstruct(given, tmp_path / "out.pdb") == 2
    error = capsys.readouterr().err
    assert re.search(r"no molecule fits these beads: in frame 1, \d+ of 46 residues would have bonds", error)
    assert "check the mapping (--beads), the unit of lengths" in error
    assert [path.name for path in tmp_path.iterdir()] == ["given.pdb"]


def test_side_chain_centres_named_cb_are_warned_of(tmp_path, capsys):
    text = (BEADS / "1ab1_A.casc.pdb").read_text().replace(" SC ", " CB ")
    (tmp_path / "given.pdb").write_text(text)
    assert reconstruct(tmp_path / "given.pdb", tmp_path / "out.pdb", "--beads", "c-alpha+c-beta") == 0
    error = capsys.readouterr().err
    assert re.search(
        r"the beads are 0\.\d+ nm rms from where those of a molecule can be, farther than", error
    )


def test_a_few_strained_residues_are_named(tmp_path, capsys):
    source, count = BEADS / "1ab1_A.martini3.pdb", iter(range(1000))

    def one_apart(position, name):
        return position + [30.0, 0.0, 0.0] if name == "SC1" and next(count) == 10 else position

    given = written_with(source, tmp_path / "given.pdb", one_apart)
    assert reconstruct(given, tmp_path / "out.pdb", "--samples", "2", "--one-file") == 0
    warned = capsys.readouterr().err
    assert re.search(
        r"the atoms of \d+ residues in 2 of 2 structures are strained \(bonds more than 10 % off, or wrong "
        r"chirality\), first in frame 1: chain A residue \d+ \w+",
        warned,
    )
    strain = json.loads((tmp_path / "out.pdb.backmap.json").read_text())["strained_residues"]
    assert strain["first_frame"] == 1 and strain["structures"] == 2
    assert 1 <= strain["number_in_first_frame"] <= strain["number"] < 20
    assert reconstruct(source, tmp_path / "sound.pdb") == 0
    assert "are strained" not in capsys.readouterr().err


def test_mirrored_beads_are_warned_of(tmp_path, capsys):
    source = BEADS / "1ab1_A.martini3.pdb"
    given = written_with(source, tmp_path / "given.pdb", lambda position, _: position * [-1.0, 1.0, 1.0])
    assert reconstruct(given, tmp_path / "out.pdb") == 0
    warned = capsys.readouterr().err
    assert "from where those of a molecule can be" in warned and "a mirror image" in warned


def test_the_noise_of_beads_is_reported(tmp_path, capsys):
    generator = np.random.default_rng(0)
    given = written_with(
        BEADS / "1ab1_A.martini3.pdb",
        tmp_path / "given.pdb",
        lambda position, _: position + generator.normal(0.0, 0.2, 3),
    )
    assert main(["reconstruct", str(given), "-o", str(tmp_path / "out.pdb"), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert re.search(
        r"met within 0\.0\d+ nm rms, 0\.0\d+ nm at most, with noise of 0\.0[12]\d+ nm ->", said.out + said.err
    )
    record = json.loads((tmp_path / "out.pdb.backmap.json").read_text())
    assert record["structures_with_noisy_beads"] == 1
    assert 0.02 / 1.5 < record["bead_noise_mean_nm"] < 0.02 * 1.5


def test_the_distance_to_the_beads_is_that_of_what_is_written(tmp_path):
    source, output = BEADS / "1ab1_A.martini3.pdb", tmp_path / "out.pdb"
    assert reconstruct(source, output, "--hydrogens", "--minimise", "20") == 0
    record = json.loads((tmp_path / "out.pdb.backmap.json").read_text())
    assert record["bead_distance_rms_nm"] > 0.002
    built, beads = open_source(output), open_source(source)
    (atoms,), (given,) = built.chunks(1), beads.chunks(1)
    layout = load_mapping("martini3").layout(built.topology.residue_types)
    image = layout.image(np.nan_to_num(built.sites.in_slots(atoms.coordinates)))
    squared = np.square(image - given.coordinates).sum(axis=-1)[0]
    of_residues = np.bincount(layout.residues, squared) / np.bincount(layout.residues)
    assert record["bead_distance_rms_nm"] == pytest.approx(np.sqrt(of_residues.mean()), abs=2e-4)
    assert record["bead_distance_largest_nm"] == pytest.approx(np.sqrt(of_residues.max()), abs=2e-4)


@pytest.mark.parametrize("mapping", ["c-alpha", "martini3", "residue-centre"])
def test_a_single_residue_is_built(mapping, tmp_path):
    """An index of one residue is not a number."""
    lines = (Path(__file__).parents[1] / "data" / "cases" / "beads" / "1ab1_A.pdb").read_text().splitlines()
    first = next(line for line in lines if line.startswith("ATOM"))[21:27]
    (tmp_path / "one.pdb").write_text("\n".join(line for line in lines if line[21:27] == first))
    beads, output = tmp_path / "beads.pdb", tmp_path / "atoms.pdb"
    assert main(["coarse-grain", str(tmp_path / "one.pdb"), "--beads", mapping, "-o", str(beads)]) == 0
    assert reconstruct(beads, output, "--beads", mapping) == 0
    assert open_source(output).topology.n_residues == 1
