"""Builds the C++ example and the tests of the C interface against the installed package, and runs them.

All run without Python: only the files they read are made here.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch

import backmap
from backmap._native import library_path
from backmap.chemistry.bead_mapping import load_mapping
from backmap.cli.main import main
from backmap.export.torchscript import save_torchscript
from tests.beaded import crystal
from tests.export.small import make_model
from tests.rings import circle

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
CMAKE = shutil.which("cmake", path=f"{PROGRAMS}:{os.environ['PATH']}")
NINJA = shutil.which("ninja", path=f"{PROGRAMS}:{os.environ['PATH']}")
pytestmark = pytest.mark.skipif(
    not (CMAKE and NINJA and shutil.which("c++") and shutil.which("cc")), reason="no CMake, Ninja or compiler"
)


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Folder of the built programs."""
    folder = tmp_path_factory.mktemp("programs")
    prefix = subprocess.run(
        [sys.executable, "-m", "backmap", "--cmake-prefix"], capture_output=True, text=True, check=True
    )
    configure = [CMAKE, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}", "-DCMAKE_BUILD_TYPE=None"]
    configure += [f"-DCMAKE_PREFIX_PATH={prefix.stdout.strip()}", "-S", ROOT / "tests/capi", "-B", folder]
    for command in (configure, [CMAKE, "--build", folder]):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    """A small exported model."""
    path = tmp_path_factory.mktemp("model") / "model.ts"
    save_torchscript(path, make_model(), {}, "")
    return path


def run(*command: str | Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
    }  # nothing that would help to find Python
    result = subprocess.run(command, capture_output=True, text=True, env=environment, errors="replace")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_example_writes_the_atoms_that_python_writes(programs, tmp_path):
    assert main(["export", "protein", "-o", str(tmp_path / "model.ts"), "--quiet"]) == 0
    expected = backmap.reconstruct("examples/2bf5.pdb.gz", seed=4, device="cpu")
    expected.save_pdb(tmp_path / "input.pdb")
    files = [tmp_path / "model.ts", tmp_path / "input.pdb", tmp_path / "output.pdb"]
    said = run(programs / "all_atoms", *files, "4", "1")
    assert said.startswith("183 residues") and said.endswith("residues/s\n")
    built = mdtraj.load(tmp_path / "output.pdb")
    assert [str(atom) for atom in built.topology.atoms] == [str(atom) for atom in expected.topology.atoms]
    assert built.topology.n_chains == expected.topology.n_chains
    # The input's C-alphas are rounded to 1e-4 nm, the output again: a draw at the edge of a bin may tip over.
    assert (np.abs(built.xyz - expected.xyz).max(axis=-1) > 3e-4).mean() < 0.05


@pytest.mark.parametrize("mapping", ["martini3", "awsem", "backbone"])
def test_example_builds_from_the_beads_of_a_mapping(programs, tmp_path, mapping):
    model, beads, output = tmp_path / "model.ts", tmp_path / "beads.pdb", tmp_path / "output.pdb"
    assert main(["export", "protein", "--beads", mapping, "-o", str(model), "--quiet"]) == 0
    assert main(["coarse-grain", "examples/2bf5.pdb.gz", "--beads", mapping, "-o", str(beads)]) == 0
    said = run(programs / "all_atoms", model, beads, output, "4", "0")
    assert said.startswith("183 residues, built after ")
    expected = backmap.reconstruct(str(beads), beads=mapping, seed=4, device="cpu")
    built = mdtraj.load(output)
    assert [str(atom) for atom in built.topology.atoms] == [str(atom) for atom in expected.topology.atoms]
    assert (np.abs(built.xyz - expected.xyz).max(axis=-1) > 3e-4).mean() < 0.05
    c_alphas = tmp_path / "c_alphas.pdb"
    expected.atom_slice(expected.topology.select("name CA")).save_pdb(c_alphas)
    wrong = [programs / "all_atoms", model, c_alphas, output]
    result = subprocess.run(wrong, capture_output=True, text=True)
    first = {"martini3": "BB", "awsem": "CB", "backbone": "N"}[mapping]
    assert result.returncode == 1 and f"has no {first}" in result.stderr


def test_example_explains_what_is_wrong(programs, model_file, tmp_path):
    for arguments, message in (
        ([model_file, tmp_path / "nothing.pdb", "out.pdb"], "cannot be read"),
        ([model_file, model_file, "out.pdb"], "contains no residues"),
        ([tmp_path / "nothing.ts", model_file, "out.pdb"], "No such file"),
        ([], "usage"),
    ):
        result = subprocess.run([programs / "all_atoms", *arguments], capture_output=True, text=True)
        assert result.returncode == 1 and message in result.stderr


def test_live_example_backmaps_a_simulation(programs, model_file, tmp_path):
    model, structure = tmp_path / "model.ts", ROOT / "examples/alanine_dipeptide/alanine_dipeptide.pdb"
    assert main(["export", "alanine-dipeptide", "-o", str(model), "--quiet"]) == 0
    said = run(programs / "live", model, structure, tmp_path / "frames.pdb", "40", "1")
    assert said.startswith("40 frames, 40 of them physical") and said.endswith(
        "frames/s with the simulation\n"
    )
    built, start = mdtraj.load(tmp_path / "frames.pdb"), mdtraj.load(structure)
    assert [str(atom) for atom in built.topology.atoms] == [str(atom) for atom in start.topology.atoms]
    beads = [4, 6, 8, 10, 14, 16]
    moved = np.linalg.norm(np.diff(built.xyz[:, beads], axis=0), axis=-1)
    assert 0 < moved.max() < 0.1
    # Bonds are about as long as at the start.
    bonds = np.array([[first.index, second.index] for first, second in start.topology.bonds])
    lengths, expected = (
        np.linalg.norm(t.xyz[:, bonds[:, 0]] - t.xyz[:, bonds[:, 1]], axis=-1) for t in (built, start)
    )
    assert np.abs(lengths / expected - 1).max() < 0.25
    for wrong, message in ((model_file, "is not a temporal model"), (model, "not the molecule")):
        other = ROOT / "examples/ww_c_alpha.pdb"
        result = subprocess.run([programs / "live", wrong, other, "x"], capture_output=True, text=True)
        assert result.returncode == 1 and message in result.stderr


@pytest.mark.parametrize("program", ["all_atoms", "live", "test_capi"])
def test_no_python_is_needed(programs, program):
    libraries = [line.split() for line in run("ldd", programs / program).splitlines()]
    assert not any("python" in words[0] for words in libraries)
    for file in (programs / program, library_path(), library_path().with_name("libbackmap_c.so")):
        undefined = run("nm", "-D", "--undefined-only", file)
        assert not any(line.split()[-1].startswith(("Py", "_Py")) for line in undefined.splitlines())


def test_c_interface_builds_what_python_builds(programs, model_file, tmp_path):
    run(programs / "test_capi", "build", model_file, tmp_path / "atoms")
    frames, residues, samples = 3, 22, 2
    number = torch.arange(residues, dtype=torch.float64)
    turn = torch.deg2rad(number * torch.tensor([[100.0], [101.0], [102.0]], dtype=torch.float64))
    aside = torch.where(number < 15, 0.0, 1.2)
    along = (0.15 * number).expand_as(turn)
    c_alpha = torch.stack([0.23 * torch.cos(turn) + aside, 0.23 * torch.sin(turn), along], dim=-1)
    types = torch.arange(residues) % 20
    atoms, mask = torch.jit.load(model_file)(c_alpha, types, torch.tensor([0, 15, 22]), samples, 7)
    data = (tmp_path / "atoms").read_bytes()
    size = samples * frames * residues * 45
    assert np.array_equal(np.frombuffer(data, np.uint8, offset=8 * size), mask.numpy().ravel())
    written = torch.from_numpy(np.frombuffer(data, np.float64, size).copy()).view_as(atoms)
    assert ((written - atoms).abs().amax(dim=-1) > 1e-5).float().mean() < 0.01


def place(
    programs: Path, model: Path, types: np.ndarray, linked: np.ndarray, positions: torch.Tensor
) -> float:
    """Build one chain on positions (1, n, 3) in C; return how far in nm atoms are from those of Python."""
    system, atoms = model.with_name("system"), model.with_name("atoms")
    parts = np.array([len(types), positions.shape[1]]), types, linked.astype(np.uint8), positions.numpy()
    system.write_bytes(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
    run(programs / "test_capi", "place", model, system, atoms)
    chain = torch.from_numpy(types), torch.tensor([0, len(types)])
    expected, _ = torch.jit.load(model)(positions, *chain, 1, 7, linked=torch.from_numpy(linked))
    off = torch.from_numpy(np.fromfile(atoms)).view(-1, 15, 3) - expected[0, 0]
    return off.abs().amax(dim=(1, 2)).median().item()


def test_c_interface_builds_from_the_beads_of_a_mapping(programs, tmp_path):
    save_torchscript(tmp_path / "model.ts", make_model(), {}, "", beads=(load_mapping("awsem"), None))
    structure = crystal(20, 12)
    types, beads = structure.topology.residue_types, structure.beads("awsem").double()
    assert place(programs, tmp_path / "model.ts", types, structure.linked, beads) < 1e-5


def test_c_interface_builds_rings(programs, model_file):
    c_alpha = circle(8).double()[None]
    assert place(programs, model_file, np.arange(8), np.ones(8, dtype=bool), c_alpha) < 1e-5


def test_two_threads_share_a_model(programs, model_file):
    run(programs / "test_capi", "threads", model_file)


def test_bad_calls_are_refused(programs, model_file):
    run(programs / "test_capi", "fuzz", model_file, "10000")


def test_temporal_models_in_c(programs, tmp_path):
    model = tmp_path / "model.ts"
    assert main(["export", "alanine-dipeptide", "-o", str(model), "--quiet"]) == 0
    exported = torch.jit.load(model)
    start = torch.from_numpy(mdtraj.load(ROOT / "examples/alanine_dipeptide/alanine_dipeptide.pdb").xyz)
    still = exported.beads_of(start.double())
    noise = torch.randn(10, *still.shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    beads = still + 0.001 * noise + 3.0
    (tmp_path / "beads").write_bytes(beads.numpy().tobytes())
    run(programs / "test_capi", "roll", model, tmp_path / "beads", tmp_path / "atoms", "10")
    written = np.fromfile(tmp_path / "atoms").reshape(10, 22, 3)
    expected, physical = exported.rollout(beads, 1, 5)
    assert physical.all() and np.abs(written - expected[0].numpy()).max() < 1e-5
    run(programs / "test_capi", "fuzz_roll", model, "3000")


def test_bad_files_are_refused(programs, model_file, tmp_path):
    whole = model_file.read_bytes()
    bad = {"nothing.ts": "cannot be read", "folder": "is not a model file"}
    (tmp_path / "folder").mkdir()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        name = f"truncated_{share}"
        (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
        bad[name] = "is not a model file"
    (tmp_path / "text").write_text("no model\n")
    bad["text"] = "is not a model file"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "other.ts"))
    bad["other.ts"] = "not a model that `backmap export` wrote"
    for name, value, message in (
        ("newer", b"2", "has format 2, newer than this backmap reads"),
        ("endless", b"9" * 40, "is damaged"),
        ("odd", b"one", "is damaged"),
    ):
        _with_format(model_file, tmp_path / name, value)
        bad[name] = message
    said = run(programs / "test_capi", "refuse", *(tmp_path / name for name in bad)).splitlines()
    assert len(said) == len(bad)
    for line, (name, message) in zip(said, bad.items(), strict=True):
        assert str(tmp_path / name) in line and message in line, line


def _with_format(source: Path, target: Path, value: bytes) -> None:
    """Copy a model file, another format number written into it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = value if entry.filename.endswith("/extra/format") else old.read(entry)
            new.writestr(entry.filename, data)


def test_cmake_refuses_another_torch(tmp_path):
    torch_folder, project = tmp_path / "torch", tmp_path / "project"
    for folder in (torch_folder, project):
        folder.mkdir()
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(p LANGUAGES CXX)\nfind_package(backmap REQUIRED)\n"
    )
    command = [CMAKE, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={NINJA}", "-S", project, "-B", tmp_path / "build"]
    command += [f"-DCMAKE_PREFIX_PATH={library_path().parent}", f"-DBACKMAP_TORCH_DIR={torch_folder}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode and "no PyTorch in" in result.stderr
    (torch_folder / "version.py").write_text("__version__ = '1.4.2+cpu'\n")
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode and "holds 1.4.2" in " ".join(result.stderr.split())
