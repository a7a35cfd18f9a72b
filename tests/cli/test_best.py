"""``backmap reconstruct --best``: the most probable structure instead of a draw."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
CASES = Path(__file__).parents[1] / "data" / "cases"
CRAMBIN = CASES / "beads" / "1ab1_A.pdb"
C_ALPHAS = CASES / "beads" / "1ab1_A.calpha.pdb"


def run(given: Path, output: Path, *more: object) -> int:
    return main(list(map(str, ["reconstruct", given, "-o", output, "--quiet", *more])))


@pytest.fixture
def frames(tmp_path) -> Path:
    """Four frames of C-alphas that hardly differ."""
    whole = mdtraj.load(str(C_ALPHAS))
    noise = np.random.default_rng(0).normal(size=(4, whole.n_atoms, 3))
    moving = mdtraj.Trajectory((whole.xyz + 0.001 * noise).astype(np.float32), whole.topology)
    moving.save(str(tmp_path / "ca.xtc"))
    moving[0].save(str(tmp_path / "ca.pdb"))
    return tmp_path / "ca.xtc"


def test_frames_do_not_depend_on_batches_and_are_those_of_streams(frames, tmp_path):
    top = ["--top", frames.with_name("ca.pdb"), "--best"]
    assert run(frames, tmp_path / "one.xtc", *top, "--batch", 1) == 0
    assert run(frames, tmp_path / "all.xtc", *top, "--batch", 4) == 0
    one, both = (
        mdtraj.load(str(tmp_path / f"{n}.xtc"), top=str(tmp_path / "one.pdb")) for n in ("one", "all")
    )
    assert np.abs(one.xyz - both.xyz).max() < 0.002  # XTC has three decimals
    beads = mdtraj.load(str(frames), top=str(frames.with_name("ca.pdb")))
    stream = list(backmap.reconstruct_stream([beads], best=True))
    assert np.abs(stream[2].xyz[0] - one.xyz[2]).max() < 0.002


def test_it_is_nearer_to_crystals_than_draws():
    def rmsd(crystal: mdtraj.Trajectory, **options: object) -> float:
        built = backmap.reconstruct(crystal.atom_slice(crystal.topology.select("name CA")), **options)
        places = {(atom.residue.index, atom.name): atom.index for atom in built.topology.atoms}
        same = [places[atom.residue.index, atom.name] for atom in crystal.topology.atoms]
        return float(np.sqrt(np.square(built.xyz[0, same] - crystal.xyz[0]).sum(-1).mean()))

    of_guesses, of_draws = [], []
    for file in (EXAMPLES / "2bf5.pdb.gz", CRAMBIN):
        whole = mdtraj.load(str(file))
        crystal = whole.atom_slice(whole.topology.select("protein and not element H and not name OXT"))
        of_guesses.append(rmsd(crystal, best=True))
        of_draws.append(np.mean([rmsd(crystal, seed=seed) for seed in range(8)]))
    assert np.mean(of_guesses) < np.mean(of_draws)


@pytest.mark.parametrize("beads", ["martini3", "residue"])
def test_beads(tmp_path, beads):
    given = CASES / "beads" / f"1ab1_A.{beads}.pdb"
    for name in ("one", "two"):
        assert run(given, tmp_path / f"{name}.pdb", "--best") == 0
    assert (tmp_path / "one.pdb").read_bytes() == (tmp_path / "two.pdb").read_bytes()


def test_given_backbones_are_kept(tmp_path):
    crystal = mdtraj.load(str(CRAMBIN))
    bare = crystal.atom_slice(crystal.topology.select("backbone"))
    bare.save(str(tmp_path / "backbone.pdb"))
    assert run(tmp_path / "backbone.pdb", tmp_path / "out.pdb", "--best", "--keep-given") == 0
    built = mdtraj.load(str(tmp_path / "out.pdb"))
    kept = built.atom_slice(built.topology.select("backbone"))
    assert np.abs(kept.xyz - bare.xyz).max() < 1e-3
    assert built.n_atoms > 2 * len(list(built.topology.residues)) + bare.n_atoms // 2


@pytest.mark.parametrize(
    "options, message",
    [
        (["--samples", 2], "--samples: draws several structures; --best builds a single one"),
        (["--seed", 3], "--seed: chooses among draws; --best builds a single one"),
        (["--coherent"], "--coherent: draws each frame given the one before; --best builds a single one"),
        (["--model", "diamondback"], "--best: applies only to protein models"),
    ],
)
def test_options_that_draw_are_refused(tmp_path, capsys, options, message):
    assert run(C_ALPHAS, tmp_path / "out.pdb", "--best", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.pdb").exists()


def b_factors(path: Path) -> np.ndarray:
    """B-factors of all atoms of a PDB file."""
    lines = path.read_text().splitlines()
    return np.array([float(line[60:66]) for line in lines if line.startswith("ATOM")])


def test_confidence_is_written_as_b_factors(tmp_path):
    assert run(C_ALPHAS, tmp_path / "out.pdb", "--best", "--confidence") == 0
    assert run(C_ALPHAS, tmp_path / "plain.pdb", "--best") == 0
    values, built = b_factors(tmp_path / "out.pdb"), mdtraj.load(str(tmp_path / "out.pdb"))
    residues = np.array([atom.residue.index for atom in built.topology.atoms])
    for residue in built.topology.residues:
        own = values[residues == residue.index]
        assert (own == own[0]).all() and 0.1 <= own[0] < 6
    of_residues = {residue.index: values[residues == residue.index][0] for residue in built.topology.residues}
    sizes = {name: [] for name in ("GLY", "ARG")}
    for residue in built.topology.residues:
        if residue.name in sizes:
            sizes[residue.name].append(of_residues[residue.index])
    assert max(sizes["GLY"]) < min(sizes["ARG"])  # a long side chain is less certain
    assert not b_factors(tmp_path / "plain.pdb").any()
    assert np.array_equal(built.xyz, mdtraj.load(str(tmp_path / "plain.pdb")).xyz)
    assert run(C_ALPHAS, tmp_path / "out.cif", "--best", "--confidence") == 0
    rows = [line.split() for line in (tmp_path / "out.cif").read_text().splitlines() if line[:5] == "ATOM "]
    assert [float(row[14]) for row in rows] == values.tolist()


def test_confidence_is_listed_by_residue(frames, tmp_path):
    top = ["--top", frames.with_name("ca.pdb"), "--best", "--confidence", "--atoms", "name CB", "--hydrogens"]
    assert run(frames, tmp_path / "out.pdb", *top, "--batch", 3) == 0
    residues = json.loads((tmp_path / "out.pdb.backmap.json").read_text())["expected_errors"]
    names = list(mdtraj.load(str(frames.with_name("ca.pdb"))).topology.residues)
    assert [entry["name"] for entry in residues] == [residue.name for residue in names]
    assert [entry["number"] for entry in residues] == [residue.resSeq for residue in names]
    errors = [e["expected_error_angstrom"] for e in residues if e["name"] != "GLY"]
    written = b_factors(tmp_path / "out.pdb").reshape(4, -1).mean(axis=0)
    np.testing.assert_allclose(errors, written, atol=1e-3)
    assert run(frames, tmp_path / "plain.pdb", *top[:3]) == 0
    assert "expected_errors" not in json.loads((tmp_path / "plain.pdb.backmap.json").read_text())


def test_given_residues_are_certain_and_further_atoms_have_the_value_of_their_residue(tmp_path):
    options = ["--best", "--confidence", "--keep-given", "--atoms", "name CA CB"]
    assert run(CRAMBIN, tmp_path / "out.pdb", *options) == 0
    assert (b_factors(tmp_path / "out.pdb") == 0.1).all()
    beads = CASES / "beads" / "1ab1_A.martini3.pdb"
    assert run(beads, tmp_path / "beads.pdb", "--best", "--confidence") == 0
    assert (b_factors(tmp_path / "beads.pdb") >= 0.1).all()


def test_frames_keep_their_own_b_factors(frames, tmp_path):
    top = ["--top", frames.with_name("ca.pdb"), "--best", "--confidence"]
    assert run(frames, tmp_path / "one.pdb", *top, "--batch", 1) == 0
    assert run(frames, tmp_path / "all.pdb", *top, "--batch", 4) == 0
    one, every = b_factors(tmp_path / "one.pdb"), b_factors(tmp_path / "all.pdb")
    assert np.abs(one - every).max() <= 0.011
    assert np.abs(np.diff(every.reshape(4, -1), axis=0)).max() > 0


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("out.pdb", [], "--confidence: is that of the best guess; ask for --best as well"),
        ("out.xtc", ["--best"], "--confidence: writes B-factors, which only PDB and mmCIF files have"),
    ],
)
def test_confidence_is_refused_where_it_means_nothing(tmp_path, capsys, name, options, message):
    assert run(C_ALPHAS, tmp_path / name, "--confidence", *options) == 2
    assert message in capsys.readouterr().err
