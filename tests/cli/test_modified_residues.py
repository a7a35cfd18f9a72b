"""``backmap reconstruct`` with modified residues, D-amino acids and caps, from files to files."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.cli.main import main
from backmap.io import open_source
from backmap.models.shipped import DEFAULT_MODEL, shipped_models

if DEFAULT_MODEL not in shipped_models():
    pytest.skip("no model is shipped", allow_module_level=True)

CASE = Path(__file__).parents[1] / "data" / "cases" / "names" / "sep.pdb"
NAMES = {5: "PTR", 10: "SEP", 12: "MSE", 15: "DSN", 20: "CIR"}
"""Residues that the trace of the case is given, by number."""
FRAMES = 5


@pytest.fixture
def trace(tmp_path) -> Path:
    """Write a capped C-alpha trace with modified residues and a little noise, as models of a PDB file."""
    lines = [line for line in CASE.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    noise = np.random.default_rng(0).normal(0.0, 0.02, (FRAMES, len(lines), 3))
    text = ""
    for frame in range(FRAMES):
        text += f"MODEL {frame + 1:8d}\n" + _line("CH3", "ACE", 0, np.zeros(3))
        for line, moved in zip(lines, noise[frame], strict=True):
            number = int(line[22:26])
            place = np.array([float(line[first : first + 8]) for first in (30, 38, 46)]) + moved
            text += _line("CA", NAMES.get(number, line[17:20]), number, place)
        text += _line("N", "NME", len(lines) + 1, np.zeros(3)) + "ENDMDL\n"
    path = tmp_path / "trace.pdb"
    path.write_text(text)
    return path


def _line(name: str, residue: str, number: int, place: np.ndarray) -> str:
    xyz = "".join(f"{value:8.3f}" for value in place)
    return f"ATOM      1  {name:<3} {residue:>3} A{number:4d}    {xyz}  1.00  0.00           C\n"


def run(given: Path, output: Path, *more: object) -> int:
    arguments = ["reconstruct", given, "-o", output, "--device", "cpu", "--quiet", "--overwrite", *more]
    return main(list(map(str, arguments)))


def names(path: Path) -> list[str]:
    return [residue.name for residue in mdtraj.load(str(path)).topology.residues]


@pytest.mark.parametrize("suffix", ["pdb", "pdb.gz", "cif", "h5"])
def test_residues_keep_their_names_in_every_format_with_names(trace, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    assert run(trace, output) == 0
    source = open_source(output)
    expected = open_source(trace).topology
    assert source.topology.names == expected.names and source.topology.caps == expected.caps
    assert source.sites.n_sites == expected.atom_mask.sum() - 1  # NME takes the place of OXT
    assert source.n_frames == FRAMES
    if suffix in ("pdb", "cif"):
        text = output.read_text()
        assert f" {'SE' if suffix == 'pdb' else 'Se'} " in text and " P " in text


def test_trajectories_hold_the_same_atoms(trace, tmp_path):
    assert run(trace, tmp_path / "out.h5") == 0
    expected = mdtraj.load(str(tmp_path / "out.h5"))
    for suffix in ("xtc", "trr", "dcd"):
        assert run(trace, tmp_path / f"out.{suffix}") == 0
        found = mdtraj.load(str(tmp_path / f"out.{suffix}"), top=str(tmp_path / "out.pdb"))
        np.testing.assert_allclose(found.xyz, expected.xyz, atol=6e-4)


def test_batches_workers_and_resumed_runs_give_the_same_bytes(trace, tmp_path):
    asked = ["--seed", 3, "--samples", 2, "--one-file"]
    assert run(trace, tmp_path / "one.trr", *asked) == 0
    assert run(trace, tmp_path / "two.trr", *asked, "--batch", 2) == 0
    assert run(trace, tmp_path / "three.trr", *asked, "--workers", 2, "--batch", 1) == 0
    expected = (tmp_path / "one.trr").read_bytes()
    assert (tmp_path / "two.trr").read_bytes() == expected
    assert (tmp_path / "three.trr").read_bytes() == expected


def test_hydrogens_are_added_to_all_residues(trace, tmp_path):
    pytest.importorskip("openmm")
    assert run(trace, tmp_path / "out.pdb", "--hydrogens", "--end", 1) == 0
    topology = mdtraj.load(str(tmp_path / "out.pdb")).topology
    hydrogens = {
        residue.name: [atom.name for atom in residue.atoms if atom.element.symbol == "H"]
        for residue in topology.residues
    }
    assert set(hydrogens["ACE"]) == {"H1", "H2", "H3"} and set(hydrogens["NME"]) == {"H", "H1", "H2", "H3"}
    assert set(hydrogens["SEP"]) == {"H", "HA", "HB2", "HB3"}
    assert {"HN6", "HN81", "HN82"} < set(hydrogens["CIR"])
    assert {"HE1", "HE2", "HE3"} < set(hydrogens["MSE"])


def test_a_residue_without_force_field_cannot_be_minimised(trace, tmp_path, capsys):
    pytest.importorskip("openmm")
    assert run(trace, tmp_path / "out.pdb", "--hydrogens", "--minimise", 5) == 2
    assert "chain A residue 5 PTR: the force field" in capsys.readouterr().err
    assert not (tmp_path / "out.pdb").exists()


def test_d_amino_acids_and_caps_can_be_minimised(trace, tmp_path):
    pytest.importorskip("openmm")
    text = trace.read_text()
    for name, parent in {"PTR": "TYR", "SEP": "SER", "MSE": "MET", "CIR": "ARG"}.items():
        text = text.replace(name, parent)
    trace.write_text(text)
    assert run(trace, tmp_path / "out.pdb", "--hydrogens", "--minimise", 20, "--end", 1) == 0
    built = mdtraj.load(str(tmp_path / "out.pdb"))
    places = {
        atom.name: built.xyz[0, atom.index] for atom in built.topology.atoms if atom.residue.resSeq == 15
    }
    n, c_alpha, c, c_beta = (places[name].astype(float) for name in ("N", "CA", "C", "CB"))
    assert np.linalg.det([n - c_alpha, c - c_alpha, c_beta - c_alpha]) < 0


def test_a_d_proline_closes_its_ring(trace, tmp_path):
    trace.write_text(trace.read_text().replace("DSN", "DPR"))
    assert run(trace, tmp_path / "out.pdb", "--end", 1) == 0
    found = mdtraj.load(str(tmp_path / "out.pdb"))
    (n,), (delta,) = (found.topology.select(f"resSeq 15 and name {name}") for name in ("N", "CD"))
    assert np.linalg.norm(found.xyz[0, n] - found.xyz[0, delta]) == pytest.approx(0.147, abs=0.01)


def test_a_chain_of_d_amino_acids_is_the_mirror_image_of_one_of_l(tmp_path):
    lines = [line for line in CASE.read_text().splitlines() if line.startswith(("ATOM", "HETATM"))]
    mirrored = {"HIS": "DHI", "LEU": "DLE", "GLU": "DGL", "TYR": "DTY", "GLY": "GLY", "PHE": "DPN"}
    mirrored |= {"ASP": "DAS", "MET": "MED", "SEP": "DSN", "SER": "DSN", "ILE": "DIL", "ASN": "DSG"}
    mirrored |= {"ARG": "DAR", "TRP": "DTR"}
    text = {"l": "", "d": ""}
    for line in lines:
        place = np.array([float(line[first : first + 8]) for first in (30, 38, 46)])
        number, name = int(line[22:26]), line[17:20]
        text["l"] += _line("CA", name.replace("SEP", "SER"), number, place)
        text["d"] += _line("CA", mirrored[name], number, -place)
    for name in text:
        (tmp_path / f"{name}.pdb").write_text(text[name])
        assert run(tmp_path / f"{name}.pdb", tmp_path / f"{name}_out.pdb") == 0
    left, right = (mdtraj.load(str(tmp_path / f"{name}_out.pdb")) for name in ("l", "d"))
    np.testing.assert_allclose(left.xyz, -right.xyz, atol=2e-4)
    assert names(tmp_path / "d_out.pdb") == [mirrored[line[17:20]] for line in lines]


def test_given_atoms_of_modified_residues_stay(trace, tmp_path):
    assert run(trace, tmp_path / "built.pdb", "--end", 1) == 0
    assert run(tmp_path / "built.pdb", tmp_path / "kept.pdb", "--keep-given") == 0
    built, kept = (open_source(tmp_path / f"{name}.pdb") for name in ("built", "kept"))
    assert built.sites.n_sites == kept.sites.n_sites > 200
    first, second = (source.first_frames(1).coordinates for source in (built, kept))
    np.testing.assert_array_equal(first, second)
    assert names(tmp_path / "built.pdb") == names(tmp_path / "kept.pdb")


def test_a_file_of_residues_is_part_of_what_a_run_depends_on(trace, tmp_path, capsys):
    table = tmp_path / "more.toml"
    table.write_text('[XAA]\nparent = "SER"\n')
    trace.write_text(trace.read_text().replace("SEP", "XAA"))
    assert run(trace, tmp_path / "out.pdb") == 2
    assert "chain A residue 10 XAA cannot be built" in capsys.readouterr().err
    assert run(trace, tmp_path / "out.pdb", "--residues", table) == 0
    assert "XAA" in names(tmp_path / "out.pdb")
    record = (tmp_path / "out.pdb.backmap.json").read_text()
    assert "more.toml" in record
    table.write_text('[XAA]\nparent = "SER"\nmirror = true\n')
    assert run(trace, tmp_path / "out.pdb", "--residues", table) == 2
    assert "unknown key 'mirror'" in capsys.readouterr().err
