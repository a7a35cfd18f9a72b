"""``backmap reconstruct`` with what is done to built frames before they are written."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main

pytest.importorskip("openmm")

EXAMPLES = Path(__file__).parents[2] / "examples"
WW = EXAMPLES / "ww_c_alpha.xtc"


def run(output: Path, *more: object, given: Path = WW) -> int:
    top = ["--top", EXAMPLES / "ww_c_alpha.pdb"] if given == WW else []
    arguments = ["reconstruct", given, *top, "-o", output, "--device", "cpu", "--quiet", *more]
    return main(list(map(str, arguments)))


def load(path: Path) -> mdtraj.Trajectory:
    return mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))


def test_hydrogens_are_added_and_nothing_else_changes(tmp_path):
    assert run(tmp_path / "heavy.trr", "--end", 6) == 0
    assert run(tmp_path / "all.trr", "--end", 6, "--hydrogens", "--batch", 4) == 0
    heavy, whole = load(tmp_path / "heavy.trr"), load(tmp_path / "all.trr")
    kept = whole.atom_slice(whole.topology.select("element != H"))
    assert [str(atom) for atom in kept.topology.atoms] == [str(atom) for atom in heavy.topology.atoms]
    np.testing.assert_allclose(kept.xyz, heavy.xyz, atol=1e-6)
    assert 0.9 < (whole.n_atoms - heavy.n_atoms) / heavy.n_atoms < 1.2
    assert json.loads((tmp_path / "all.trr.backmap.json").read_text())["hydrogens"] is True


def test_a_minimisation_leaves_c_alphas_where_they_are(tmp_path):
    asked = ["--end", 2, "--hydrogens"]
    assert run(tmp_path / "built.trr", *asked) == 0
    assert run(tmp_path / "relaxed.trr", *asked, "--minimise", 5) == 0
    built, relaxed = load(tmp_path / "built.trr"), load(tmp_path / "relaxed.trr")
    moved = np.linalg.norm(relaxed.xyz - built.xyz, axis=-1)
    c_alpha = built.topology.select("name CA")
    assert (moved[:, c_alpha] == 0).all()
    assert (np.delete(moved, c_alpha, axis=1) > 0).mean() > 0.99 and np.median(moved) < 0.03


def test_structures_that_cannot_be_minimised_are_counted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "backmap.postprocessing.minimisation.RestrainedMinimisation._relax",
        lambda self, built, walls, device: np.full_like(built, np.nan),
    )
    assert run(tmp_path / "built.trr", "--end", 2, "--hydrogens") == 0
    assert run(tmp_path / "out.trr", "--end", 2, "--hydrogens", "--minimise", 5, "--samples", 2) == 0
    error = capsys.readouterr().err
    assert "4 structures could not be minimised; left as built" in error
    np.testing.assert_allclose(load(tmp_path / "out_1.trr").xyz, load(tmp_path / "built.trr").xyz, atol=1e-6)
    assert json.loads((tmp_path / "out.trr.backmap.json").read_text())["structures_not_minimised"] == 4


def test_given_atoms_stay_and_get_hydrogens(tmp_path):
    whole = mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))
    whole.atom_slice(whole.topology.select("backbone")).save_pdb(str(tmp_path / "backbone.pdb"))
    given = mdtraj.load(str(tmp_path / "backbone.pdb"))
    assert run(tmp_path / "out.pdb", "--keep-given", "--hydrogens", given=tmp_path / "backbone.pdb") == 0
    built = mdtraj.load(str(tmp_path / "out.pdb"))
    backbone = built.atom_slice(built.topology.select("backbone"))
    np.testing.assert_array_equal(backbone.xyz, given.xyz)
    assert built.topology.select("element == H").size > 1000


def test_a_minimisation_leaves_given_atoms_where_they_are(tmp_path):
    """Those of a backbone, and the side chains of some residues; what is built around them is relaxed."""
    whole = mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))
    chosen = whole.topology.select("backbone or (resid 10 to 30 and element != H)")
    given = whole.atom_slice(chosen)
    asked = {"keep_given": True, "hydrogens": True, "device": "cpu"}
    built, relaxed = (backmap.reconstruct(given, **asked, minimise=number) for number in (0, 5))
    number_of = {(atom.residue.index, atom.name): atom.index for atom in built.topology.atoms}
    kept = [number_of[atom.residue.index, atom.name] for atom in given.topology.atoms]
    np.testing.assert_array_equal(relaxed.xyz[:, kept], given.xyz)
    others = np.delete(np.linalg.norm(relaxed.xyz - built.xyz, axis=-1), kept, axis=1)
    assert (others > 0).mean() > 0.99


@pytest.fixture
def broken(tmp_path) -> Path:
    """C-alphas of a chain that lacks residues in two places."""
    whole = mdtraj.load(str(WW), top=str(EXAMPLES / "ww_c_alpha.pdb"))[0]
    kept = [index for index in range(whole.n_atoms) if index not in (9, 10, 11, 20, 21, 22)]
    whole.atom_slice(kept).save_pdb(str(tmp_path / "broken.pdb"))
    return tmp_path / "broken.pdb"


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_segments_between_chain_breaks_have_ends_and_can_be_simulated(broken, tmp_path, suffix):
    from openmm import app

    output = tmp_path / f"out{suffix}"
    assert run(output, "--hydrogens", "--minimise", 5, given=broken) == 0
    file = app.PDBFile(str(output)) if suffix == ".pdb" else app.PDBxFile(str(output))
    chains = list(file.topology.chains())
    assert len(chains) == 3
    for chain in chains:
        first, *_, last = chain.residues()
        assert {"H2", "H3"} <= {atom.name for atom in first.atoms()}
        assert "OXT" in {atom.name for atom in last.atoms()}
    app.ForceField("amber14-all.xml").createSystem(file.topology)
    again = tmp_path / "again.pdb"
    assert run(again, "--keep-given", "--hydrogens", "--minimise", 2, given=output) == 0
    assert mdtraj.load(str(again)).n_atoms == file.topology.getNumAtoms()


def test_a_residue_between_two_breaks_cannot_be_minimised(tmp_path, capsys):
    whole = mdtraj.load(str(WW), top=str(EXAMPLES / "ww_c_alpha.pdb"))[0]
    kept = [index for index in range(whole.n_atoms) if index not in (9, 10, 12, 13)]
    whole.atom_slice(kept).save_pdb(str(tmp_path / "broken.pdb"))
    assert run(tmp_path / "out.pdb", "--hydrogens", "--minimise", 5, given=tmp_path / "broken.pdb") == 2
    assert "has no template for it, as it is a chain of its own" in capsys.readouterr().err


def test_python_and_streams_do_the_same(tmp_path):
    asked = {"hydrogens": True, "seed": 3, "device": "cpu"}
    assert run(tmp_path / "out.trr", "--end", 2, "--hydrogens", "--seed", 3) == 0
    written = load(tmp_path / "out.trr")
    given = mdtraj.load(str(WW), top=str(EXAMPLES / "ww_c_alpha.pdb"))[:2]
    built = backmap.reconstruct(given, **asked)
    streamed = mdtraj.join(list(backmap.reconstruct_stream([given[0], given[1]], **asked)))
    for trajectory in (built, streamed):
        assert [str(atom) for atom in trajectory.topology.atoms] == [str(a) for a in written.topology.atoms]
        np.testing.assert_allclose(trajectory.xyz, written.xyz, atol=1e-6)
    with pytest.raises(backmap.InputError, match="minimise: needs --hydrogens as well"):
        backmap.reconstruct(given, minimise=3)
    with pytest.raises(backmap.InputError, match="hydrogens: applies only to protein and diamondback models"):
        backmap.reconstruct(given, model="chignolin", hydrogens=True)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--minimise", 5], "--minimise: needs --hydrogens as well"),
        (
            ["--keep-given", "--model", "diamondback"],
            "--keep-given: applies only to protein models; diamondback is a diamondback model",
        ),
        (
            ["--hydrogens", "--model", "chignolin"],
            "--hydrogens: applies only to protein and diamondback models; chignolin is",
        ),
    ],
)
def test_options_without_meaning_are_refused(tmp_path, capsys, options, message):
    assert run(tmp_path / "out.trr", *options) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
