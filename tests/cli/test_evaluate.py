"""``backmap evaluate`` as a user runs it."""

import json
from pathlib import Path

import pytest

from backmap.cli.main import main

ATOMS = {
    "ALA": (("N", -0.53, 1.36, 0.0), ("CA", 0.0, 0.0, 0.0), ("C", 1.52, 0.0, 0.0), ("O", 2.15, -1.06, 0.0)),
}
SPACING = 3.8


def write_alanines(path: Path, count: int = 5, names: tuple[str, ...] = (), models: int = 1) -> str:
    """Write backbones of alanines in a row, as crude as they may be, and give the path."""
    lines = []
    for model in range(models):
        lines.append(f"MODEL     {model + 1:4d}")
        for residue in range(count):
            name = names[residue] if residue < len(names) else "ALA"
            for atom, x, y, z in ATOMS["ALA"]:
                lines.append(
                    f"ATOM  {len(lines):5d}  {atom:<3} {name} A{residue + 1:4d}    "
                    f"{x + SPACING * residue:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {atom[0]}"
                )
        lines.append("ENDMDL")
    path.write_text("\n".join([*lines, "END", ""]))
    return str(path)


@pytest.fixture
def reference(tmp_path):
    return write_alanines(tmp_path / "reference.pdb")


@pytest.fixture
def sample(tmp_path):
    return write_alanines(tmp_path / "sample.pdb")


def test_prints_a_table_and_writes_json(reference, sample, tmp_path, capsys):
    output = tmp_path / "scores.json"
    assert main(["evaluate", "--reference", reference, sample, "--json", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"5 residues, 1 frame, 1 sample, against {reference}\n")
    assert "bonds within 10 %, %" in printed
    scores = json.loads(output.read_text())
    assert scores["measures"]["bond"]["all"]["value"] == 100
    assert scores["inputs"]["samples"][0]["path"] == sample
    assert "torch" in scores["versions"]


def test_without_a_reference(sample, capsys):
    assert main(["evaluate", sample]) == 0
    printed = capsys.readouterr().out
    assert "without a reference" in printed
    assert "RMSD" not in printed


def test_samples_and_frames(tmp_path, capsys):
    files = [write_alanines(tmp_path / f"{name}.pdb", models=3) for name in "rabc"]
    assert main(["evaluate", "--reference", *files]) == 0
    assert capsys.readouterr().out.startswith("5 residues, 3 frames, 3 samples")


def test_existing_output_stays_unless_told(reference, sample, tmp_path, capsys):
    output = tmp_path / "scores.json"
    output.write_text("mine")
    call = ["evaluate", "--reference", reference, sample, "--json", str(output)]
    assert main(call) == 2
    assert output.read_text() == "mine"
    assert "--overwrite" in capsys.readouterr().err
    assert main([*call, "--overwrite"]) == 0
    assert output.read_text() != "mine"


def test_bad_input_leaves_no_output(reference, tmp_path, capsys):
    other = write_alanines(tmp_path / "other.pdb", names=("ALA", "GLY"))
    output = tmp_path / "scores.json"
    assert main(["evaluate", "--reference", reference, other, "--json", str(output)]) == 2
    assert "residue 2 GLY" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.pdb", "reference.pdb"]


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (["missing.pdb"], "missing.pdb: no such file"),
        (["sample.pdb", "sample.pdb"], "given more than once"),
        (["short.pdb"], "has 3 residues"),
        (["sample.pdb", "many.pdb"], "many.pdb: has 2 frames, but sample.pdb has 1"),
    ],
)
def test_each_mistake_gets_one_sentence(samples, message, reference, sample, tmp_path, monkeypatch, capsys):
    write_alanines(tmp_path / "short.pdb", count=3)
    write_alanines(tmp_path / "many.pdb", models=2)
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--reference", reference, *samples]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
