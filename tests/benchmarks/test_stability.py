"""The benchmark of dynamics: what it finds out about a tiny peptide, and what it calls stable."""

import json
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

pytest.importorskip("openmm")

EXAMPLES = Path(__file__).parents[2] / "examples"
N_RESIDUES = 6


@pytest.fixture
def stability(benchmark_module):
    """The script as a module."""
    return benchmark_module("stability")


@pytest.fixture
def peptide(tmp_path) -> Path:
    """C-alphas of six residues."""
    whole = mdtraj.load(str(EXAMPLES / "ww_c_alpha.pdb"))
    whole.atom_slice(range(N_RESIDUES)).save_pdb(str(tmp_path / "peptide.pdb"))
    return tmp_path / "peptide.pdb"


def test_a_peptide_is_built_simulated_and_not_done_twice(stability, peptide, tmp_path, capsys, monkeypatch):
    results = tmp_path / "results.json"
    asked = [str(peptide), "--iterations", "20", "--picoseconds", "0.4", "--json", str(results)]
    assert stability.main(asked) == 0
    table = capsys.readouterr().out
    found = json.loads(results.read_text())["structures"]["peptide"]
    assert found["residues"] == N_RESIDUES and found["refused"] is None and found["finite"]
    assert found["bonds_within_tolerance"] == 100.0
    assert found["centres_inverted"] == found["peptides_turned"] == 0
    assert 0 < found["rmsd_nm"] < 0.3 and found["energy_after"] != found["energy_before"]
    monkeypatch.setattr(stability, "judge", None)
    assert stability.main(asked) == 0
    assert capsys.readouterr().out == table and "| peptide | 6 |" in table
    with pytest.raises(SystemExit, match="is of a run with other settings"):
        stability.main([*asked, "--iterations", "21"])


def test_a_structure_that_is_not_built_has_the_reason(stability, tmp_path):
    given = tmp_path / "unknown.pdb"
    given.write_text("ATOM      1  CA  QQQ A   1       1.000   2.000   3.000  1.00  0.00           C\n")
    outcome = stability.judge(given, 5, 0.1)
    assert "QQQ" in outcome.refused and not outcome.stable
    assert "1 were refused" in stability.table({"unknown": outcome})


SOUND = {"finite": True, "temperature_k": 301.0, "rmsd_nm": 0.1, "bonds_within_tolerance": 100.0}


@pytest.mark.parametrize(
    "fault",
    [
        {"finite": False},
        {"temperature_k": 340.0},
        {"rmsd_nm": 0.4},
        {"rmsd_nm": float("nan")},
        {"bonds_within_tolerance": 99.9},
        {"centres_inverted": 1},
        {"peptides_turned": 1},
    ],
)
def test_one_fault_is_enough_to_be_unstable(stability, fault):
    outcome = stability.Outcome(10, **SOUND)
    assert outcome.stable and not replace(outcome, **fault).stable


def test_hands_and_peptides_that_change_are_counted(stability):
    trajectory = mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))
    topology, before = trajectory.topology.to_openmm(), trajectory.xyz[0].astype(float)
    assert stability.changes(topology, before, before)[1:] == (0, 0)
    moved = before[:, [1, 2, 0]] + 3.0
    assert stability.changes(topology, before, moved)[0] == pytest.approx(0.0, abs=1e-5)
    atoms = {(atom.residue.index, atom.name): atom.index for atom in trajectory.topology.atoms}
    swapped = before.copy()
    side, back = atoms[40, "CB"], atoms[40, "C"]
    swapped[[side, back]] = before[[back, side]]
    assert stability.changes(topology, before, swapped)[1] >= 1
    turned = before.copy()
    turned[atoms[60, "CA"]] = 2 * before[atoms[60, "N"]] - before[atoms[60, "CA"]]
    assert stability.changes(topology, before, turned)[2] >= 1
    assert np.isfinite(stability.changes(topology, before, turned)[0])
