"""Which modules the command imports: PyTorch takes a second, so what needs no tensors does without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backmap.cli.main import VERBS

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = str(EXAMPLES / "2bf5.pdb.gz")

HEAVY = ("torch", "mdtraj", "openmm", "scipy", "pandas", "sklearn", "deeptime", "distributed", "matplotlib")
OUT = ("-o", "out.pdb")

WITHOUT_INPUT = [
    ["--help"],
    ["--version"],
    *([verb, "--help"] for verb in VERBS),
    ["info"],
    ["models"],
    ["models", "protein"],
    ["models", "nonsense"],
    ["beads"],
    ["beads", "martini3"],
    ["beads", "nonsense"],
    ["fly"],
]
BAD_INPUT = [
    ["reconstruct", EXAMPLE],
    ["reconstruct", EXAMPLE, *OUT, "--samples", "0"],
    ["reconstruct", EXAMPLE, *OUT, "--fly"],
    ["reconstruct", "missing.pdb", *OUT],
    ["reconstruct", "missing.pdb", *OUT, "--model", "chignolin"],
    ["reconstruct", "garbage.pdb", *OUT],
    ["reconstruct", "garbage.xtc", "--top", "garbage.pdb", *OUT],
    ["reconstruct", "garbage.xtc", *OUT],
    ["reconstruct", EXAMPLE, "-o", "out.nonsense"],
    ["reconstruct", EXAMPLE, "-o", "missing/out.pdb"],
    ["reconstruct", EXAMPLE, "-o", "garbage.pdb"],
    ["reconstruct", EXAMPLE, *OUT, "--model", "nonsense"],
    ["reconstruct", EXAMPLE, *OUT, "--model", "garbage.pdb"],
    ["reconstruct", EXAMPLE, *OUT, "--beads", "nonsense"],
    ["reconstruct", EXAMPLE, *OUT, "--sequence", "missing.fasta"],
    ["reconstruct", EXAMPLE, *OUT, "--model", "diamondback", "--keep-given"],
    ["reconstruct", EXAMPLE, *OUT, "--temperature", "300"],
    ["reconstruct", EXAMPLE, *OUT, "--begin", "5"],
    ["coarse-grain", "missing.pdb", *OUT, "--beads", "martini3"],
    ["coarse-grain", EXAMPLE, *OUT, "--beads", "nonsense"],
    ["simulate", "chignolin", "-o", "out.xtc", "--replicas", "0"],
    ["evaluate", "missing.pdb"],
    ["evaluate", "garbage.pdb"],
    ["export", "nonsense", "-o", "model.ts"],
    ["train", "protein", "missing.toml", "-o", "trained"],
]

RUN = """
import json, sys
from backmap.cli.main import main

codes, imported = [], []
for arguments in json.loads(sys.argv[1]):
    try:
        codes.append(main(arguments))
    except SystemExit as end:
        codes.append(end.code)
    imported.append([name for name in sys.argv[2:] if name in sys.modules])
print("\\n" + json.dumps([codes, imported]))
"""


def run_all(commands: list[list[str]], folder) -> list[tuple[int, list[str]]]:
    """Run commands in one process; give their exit codes, and what has been imported after each."""
    call = [sys.executable, "-c", RUN, json.dumps(commands), *HEAVY]
    done = subprocess.run(call, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return list(zip(*json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("commands", [WITHOUT_INPUT, BAD_INPUT], ids=["without input", "bad input"])
def test_commands_that_need_no_tensors_import_no_large_package(commands, tmp_path):
    for name in ("garbage.pdb", "garbage.xtc"):
        (tmp_path / name).write_text("nonsense\n")
    for arguments, (code, imported) in zip(commands, run_all(commands, tmp_path), strict=True):
        assert not imported, f"backmap {' '.join(arguments)} imports {', '.join(imported)}"
        refused = commands is BAD_INPUT or arguments[-1] in ("nonsense", "fly")
        assert code == (2 if refused else 0), f"backmap {' '.join(arguments)}"


TRAJECTORY = [str(EXAMPLES / "ww_c_alpha.xtc"), "--top", str(EXAMPLES / "ww_c_alpha.pdb"), "--end", "1"]


@pytest.mark.parametrize("given", [[EXAMPLE], TRAJECTORY], ids=["structure", "trajectory"])
def test_atoms_are_built_with_torch_and_without_other_large_packages(given, tmp_path):
    """And without the models that are not used. Trajectories are read in another process."""
    unneeded = ["backmap.models.temporal", "backmap.models.diamondback", "backmap.models.nucleic"]
    call = [
        sys.executable,
        "-c",
        RUN,
        json.dumps([["reconstruct", *given, *OUT, "--quiet"]]),
        *HEAVY,
        *unneeded,
    ]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[0], [["torch"]]]


def test_the_package_itself_imports_no_large_package():
    code = "import sys, backmap; print([name for name in sys.argv[1:] if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code, *HEAVY, "numpy"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
