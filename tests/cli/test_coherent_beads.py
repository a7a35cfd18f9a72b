"""``backmap reconstruct --coherent`` on beads, given atoms and rings."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMES = 6


def run(*arguments: object) -> int:
    return main(list(map(str, [*arguments, "--quiet"])))


@pytest.fixture(scope="module")
def atoms(tmp_path_factory) -> mdtraj.Trajectory:
    """Eleven residues that sway a little, with all heavy atoms."""
    output = tmp_path_factory.mktemp("atoms") / "atoms.pdb"
    assert run("reconstruct", EXAMPLES / "ww_c_alpha.pdb", "-o", output) == 0
    whole = mdtraj.load(str(output))
    part = whole.atom_slice([atom.index for atom in whole.topology.atoms if 5 <= atom.residue.index < 16])
    phase = np.linspace(0.0, 3.0, FRAMES)[:, None, None]
    xyz = part.xyz[:1] * (1 + 0.002 * np.sin(phase + part.xyz[:1]))
    return mdtraj.Trajectory(xyz.astype(np.float32), part.topology, time=np.arange(FRAMES, dtype=float))


@pytest.fixture(scope="module")
def given(atoms, tmp_path_factory):
    """Write the beads of the atoms by the name of their mapping, as XTC with a topology beside it."""
    folder = tmp_path_factory.mktemp("given")

    def written(mapping: str) -> Path:
        path = folder / f"{mapping}.xtc"
        if not path.exists():
            atoms.save(str(folder / "atoms.xtc"))
            atoms[0].save(str(folder / "atoms.pdb"))
            top = "--top", folder / "atoms.pdb"
            assert (
                main(
                    [
                        str(a)
                        for a in ("coarse-grain", folder / "atoms.xtc", *top, "--beads", mapping, "-o", path)
                    ]
                )
                == 0
            )
            first = path.with_suffix(".pdb")
            assert (
                main(
                    [
                        str(a)
                        for a in (
                            "coarse-grain",
                            folder / "atoms.pdb",
                            "--beads",
                            mapping,
                            "-o",
                            first,
                            "--overwrite",
                        )
                    ]
                )
                == 0
            )
        return path

    return written


def reconstruct(beads: Path, output: Path, *options: object) -> int:
    top = "--top", beads.with_suffix(".pdb")
    return run("reconstruct", beads, *top, "-o", output, "--beads", beads.stem, "--coherent", *options)


def load(path: Path) -> mdtraj.Trajectory:
    return mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))


@pytest.mark.parametrize("mapping", ["martini3", "residue-centre", "c-alpha+side-chain-centre"])
def test_atoms_follow_their_beads(given, tmp_path, mapping):
    assert reconstruct(given(mapping), tmp_path / "atoms.xtc", "--c-alphas", "keep") == 0
    record = json.loads((tmp_path / "atoms.xtc.backmap.json").read_text())
    assert record["coherent"] is True and record["jumps"] == 0 and record["bead_distance_rms_nm"] < 0.002
    built = load(tmp_path / "atoms.xtc")
    step = np.sqrt((np.diff(built.xyz, axis=0) ** 2).sum(axis=-1).mean())
    assert built.n_frames == FRAMES and step < 0.1


def test_a_resumed_run_is_the_uninterrupted_one(given, tmp_path, capsys):
    mapping = "martini3"
    whole = load(given(mapping))
    beads = whole.atom_slice([bead.index for bead in whole.topology.atoms if bead.residue.index < 6])
    torn = mdtraj.join([beads] * 19)
    torn.time = np.arange(len(torn), dtype=float)
    third = [bead.index for bead in beads.topology.atoms if bead.residue.index == 2]
    torn.xyz[110, third] += 4.0  # torn bonds, after the frames that are looked at first
    torn.save(str(tmp_path / f"{mapping}.xtc"))
    torn[0].save(str(tmp_path / f"{mapping}.pdb"))
    damaged, options = tmp_path / f"{mapping}.xtc", ["--batch", 7]
    assert reconstruct(damaged, tmp_path / "stopped.xtc", *options) == 2
    assert "frame 111" in capsys.readouterr().err
    skipping = [*options, "--on-bad-frame", "skip"]
    assert reconstruct(damaged, tmp_path / "stopped.xtc", *skipping, "--resume") == 0
    assert reconstruct(damaged, tmp_path / "whole.xtc", *skipping) == 0
    assert (tmp_path / "stopped.xtc").read_bytes() == (tmp_path / "whole.xtc").read_bytes()


def test_one_frame_needs_no_time(given, tmp_path):
    beads = given("martini3").with_suffix(".pdb")
    assert run("reconstruct", beads, "-o", tmp_path / "o.pdb", "--beads", "martini3", "--coherent") == 0
    assert mdtraj.load(str(tmp_path / "o.pdb")).n_frames == 1


def test_jumps_are_counted(given, tmp_path):
    beads = load(given("martini3"))
    beads.xyz[3:] += 3 * (beads.xyz[3:] - beads.xyz[3:].mean(axis=1, keepdims=True)) * [0.2, 0.0, 0.0]
    beads.save(str(tmp_path / "martini3.xtc"))
    beads[0].save(str(tmp_path / "martini3.pdb"))
    assert reconstruct(tmp_path / "martini3.xtc", tmp_path / "atoms.xtc", "--bead-noise", 0.02) == 0
    assert json.loads((tmp_path / "atoms.xtc.backmap.json").read_text())["jumps"] == 1


def test_python_and_streams_give_the_atoms_of_files(given, tmp_path):
    assert reconstruct(given("martini3"), tmp_path / "atoms.xtc", "--batch", 1) == 0
    beads = load(given("martini3"))
    options = {"coherent": True, "frame_interval": 1.0, "beads": "martini3"}
    whole = backmap.reconstruct(beads, **options)
    stream = backmap.reconstruct_stream([beads[number] for number in range(FRAMES)], **options)
    streamed = np.concatenate([frame.xyz for frame in stream])
    built = load(tmp_path / "atoms.xtc").xyz
    assert np.abs(streamed - built).max() < 0.002 and np.abs(whole.xyz - built).max() < 0.002


@pytest.mark.parametrize("options", [{"keep_given": True}, {"beads": "backbone"}])
def test_given_backbones_stay(atoms, options):
    backbone = atoms.atom_slice(atoms.topology.select("name N CA C O"))
    built = backmap.reconstruct(backbone, coherent=True, frame_interval=1.0, **options)
    alone = backmap.reconstruct(backbone, **options)
    kept = built.topology.select("name N CA C O")
    assert np.abs(built.xyz[:, kept] - backbone.xyz).max() < 1e-5
    moves = [np.sqrt((np.diff(each.xyz, axis=0) ** 2).sum(axis=-1).mean()) for each in (built, alone)]
    assert moves[0] < 0.6 * moves[1]
