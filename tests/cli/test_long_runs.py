"""What long runs ask of ``backmap reconstruct``: parts of a file, parts of the atoms, damage, a log."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.cli.main import main
from tests import toy_protein, toy_temporal
from tests.cli.test_reconstruct_temporal import save
from tests.io.test_writer import file_size_limit

FRAMES = 12


def run(given: Path, output: Path, *more: object) -> int:
    top = given.parent / "ca.pdb"
    return main(list(map(str, ["reconstruct", given, "--top", top, "-o", output, "--model", "toy", *more])))


def load(path: Path) -> mdtraj.Trajectory:
    return mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))


def test_parts_of_a_file_are_those_of_the_whole(toy, given, tmp_path):
    assert run(given, tmp_path / "whole.trr") == 0
    assert run(given, tmp_path / "part.trr", "--begin", 3, "--end", 10, "--stride", 3) == 0
    whole, part = load(tmp_path / "whole.trr"), load(tmp_path / "part.trr")
    np.testing.assert_array_equal(part.xyz, whole.xyz[2:10:3])
    assert part.time.tolist() == [10, 25, 40]
    np.testing.assert_allclose(part.unitcell_lengths, [[4, 5, 6]] * 3)
    with mdtraj.open(str(tmp_path / "part.trr")) as file:
        assert file.read()[2].tolist() == [5000, 12500, 20000]


def test_a_range_without_frames_is_refused(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "out.trr", "--begin", 13) == 2
    assert "ca.xtc: has 12 frames, but frames from 13 on were requested" in capsys.readouterr().err
    assert run(given, tmp_path / "out.trr", "--begin", 5, "--end", 4) == 2
    assert "--end: empty frame range 5 to 4: end must not precede begin" in capsys.readouterr().err


def test_some_of_the_atoms(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "whole.trr") == 0
    assert run(given, tmp_path / "part.trr", "--atoms", "backbone and chainid 1") == 0
    whole, part = load(tmp_path / "whole.trr"), load(tmp_path / "part.trr")
    chosen = whole.topology.select("backbone and chainid 1")
    np.testing.assert_array_equal(part.xyz, whole.xyz[:, chosen])
    assert [str(atom) for atom in part.topology.atoms] == [str(whole.topology.atom(n)) for n in chosen]
    for words, message in (
        ("name CX", "atoms 'name CX': matches no atom of the output"),
        ("nme CA (", "atoms 'nme CA (': not a selection that mdtraj understands"),
    ):
        assert run(given, tmp_path / "out.trr", "--atoms", words) == 2
        assert message in capsys.readouterr().err


def test_all_samples_in_one_file(toy, given, tmp_path):
    assert run(given, tmp_path / "several.trr", "--samples", 3) == 0
    assert run(given, tmp_path / "one.trr", "--samples", 3, "--one-file", "--batch", 5) == 0
    one = load(tmp_path / "one.trr")
    assert one.n_frames == 3 * FRAMES
    for sample in range(3):
        np.testing.assert_array_equal(one.xyz[sample::3], load(tmp_path / f"several_{sample + 1}.trr").xyz)
    assert one.time[:6].tolist() == [0, 0, 0, 5, 5, 5]
    assert json.loads((tmp_path / "one.trr.backmap.json").read_text())["one_file"] is True


@pytest.mark.parametrize("suffix", [".xtc", ".pdb"])
def test_an_input_that_ends_in_the_middle_of_a_frame(toy, given, tmp_path, capsys, suffix):
    cut = given
    if suffix == ".pdb":
        cut = tmp_path / "in" / "models.pdb"
        mdtraj.load(str(given), top=str(given.with_suffix(".pdb"))).save_pdb(str(cut))
    cut.write_bytes(cut.read_bytes()[: -60 if suffix == ".xtc" else -400])
    assert run(cut, tmp_path / "out.trr") == 2
    error = capsys.readouterr().err
    assert f"{cut}: ends in the middle of frame 12; its 11 whole frames were read" in error
    assert f"those frames are in {tmp_path}/out.trr" in error
    assert load(tmp_path / "out.trr").n_frames == 11
    assert not list(tmp_path.glob("*.partial"))


def test_an_early_end_is_told_after_a_stop_behind_the_last_frame(toy, given, tmp_path, capsys, monkeypatch):
    given.write_bytes(given.read_bytes()[:-60])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("backmap.io.formats.frame_encoders.GromacsEncoder.finish", stop)
        assert run(given, tmp_path / "out.trr") == 130
    assert run(given, tmp_path / "out.trr", "--resume") == 2
    assert "ends in the middle of frame 12; its 11 whole frames were read" in capsys.readouterr().err
    assert load(tmp_path / "out.trr").n_frames == 11


def test_frames_of_different_numbers_of_atoms(toy, given, tmp_path, capsys):
    other = mdtraj.load(str(given), top=str(given.with_suffix(".pdb"))).atom_slice(range(5))
    other.save_xtc(str(tmp_path / "other.xtc"))
    given.write_bytes(given.read_bytes() + (tmp_path / "other.xtc").read_bytes())
    assert run(given, tmp_path / "out.trr") == 2
    assert "ca.xtc: frame 13 has 5 atoms" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_the_log_tells_what_happened(toy, given, tmp_path, monkeypatch):
    monkeypatch.setattr("backmap.runs.progress_report._SECONDS_BETWEEN_LINES", 0.0)
    log = tmp_path / "run.jsonl"
    assert run(given, tmp_path / "out.trr", "--log", log, "--batch", 4, "--samples", 2) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["start", "progress", "progress", "progress", "end"]
    assert [line["frames_done"] for line in lines] == [0, 8, 16, 24, 24]
    assert lines[0]["run"]["model"]["name"] == "toy" and lines[-1]["outputs"][0].endswith("out_1.trr")
    assert lines[3]["seconds_left"] == 0 and lines[3]["residues_per_second"] > 0
    assert lines[3]["memory_mb"] > 50
    given.write_bytes(given.read_bytes()[:-60])
    assert run(given, tmp_path / "again.trr", "--log", log) == 2
    assert run(given, tmp_path / "more.trr", "--log", tmp_path / "none" / "log") == 2


def test_a_log_that_cannot_be_written(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "out.trr", "--log", tmp_path / "none" / "log") == 2
    assert "none/log: the log cannot be written: No such file or directory" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


def test_a_terminal_is_told_and_nothing_else(toy, given, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("backmap.runs.progress_report._SECONDS_BETWEEN_LINES", 0.0)
    assert run(given, tmp_path / "a.trr", "--batch", 4) == 0
    assert capsys.readouterr().err.count("\n") == 1
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert run(given, tmp_path / "b.trr", "--batch", 4) == 0
    shown = capsys.readouterr().err
    assert "12.0/12.0" in shown and "residues/s" in shown and " MB" in shown


def test_bad_frames_of_a_temporal_model_are_left_out(tmp_path, monkeypatch, capsys):
    toy_temporal.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    (tmp_path / "in").mkdir()
    beads = save(tmp_path / "in" / "ca.dcd", 30)
    trajectory = load(beads)
    trajectory.xyz[[4, 17], 2] = np.nan
    trajectory.save_dcd(str(beads))
    assert run(beads, tmp_path / "out.dcd") == 2
    assert "frame 5, " in capsys.readouterr().err
    assert run(beads, tmp_path / "out.dcd", "--on-bad-frame", "skip", "--overwrite", "--batch", 2) == 0
    assert "ca.dcd: left out 2 bad frames (5, 18)" in capsys.readouterr().err
    assert load(tmp_path / "out.dcd").n_frames == 28
    skipped = json.loads((tmp_path / "out.dcd.backmap.json").read_text())["skipped_frames"]
    assert list(skipped.values()) == [[5, 18]]


def test_segments_of_a_trajectory_are_joined(tmp_path, monkeypatch):
    toy_temporal.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    (tmp_path / "in").mkdir()
    beads = save(tmp_path / "in" / "ca.xtc", 50)
    assert run(beads, tmp_path / "whole.trr") == 0
    assert run(beads, tmp_path / "cut.trr", "--segments", 3, "--burn-in", 8, "--batch", 7) == 0
    whole, cut = load(tmp_path / "whole.trr"), load(tmp_path / "cut.trr")
    assert cut.time.tolist() == whole.time.tolist()
    np.testing.assert_array_equal(cut.xyz[:16], whole.xyz[:16])
    apart = np.linalg.norm(cut.xyz - whole.xyz, axis=-1).max(axis=1)
    assert 0 < apart[16:].max() < 0.02  # the toy forgets its start within some frames
    assert (tmp_path / "cut.trr.backmap.json").exists() and not list(tmp_path.glob("*.partial"))


def test_a_folder_that_is_lost(tmp_path, given, monkeypatch, capsys):
    class Removes(toy_protein.FixedOffsets):
        def reconstruct(self, c_alpha, **how):
            if len(self.calls) == 9:
                (tmp_path / "out.trr.partial").rename(tmp_path / "gone")
            time.sleep(0.02)
            return super().reconstruct(c_alpha, **how)

    toy_protein.install(tmp_path / "toy.safetensors", Removes(), monkeypatch.setattr)
    assert run(given, tmp_path / "out.trr", "--batch", 1, "--chunk", 1, "--threads", 1) == 2
    error = capsys.readouterr().err
    assert error == (
        f"backmap: error: {tmp_path}/out.trr.partial: was removed during the run; start the run again\n"
    )
    assert not list(tmp_path.glob("out*"))


def test_a_full_disk_keeps_what_can_be_gone_on_with(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "whole.trr") == 0
    with file_size_limit(8 * 700):
        assert run(given, tmp_path / "out.trr", "--batch", 1, "--chunk", 1, "--threads", 1) == 2
    error = capsys.readouterr().err
    assert re.search(r"out.trr.partial keeps \d of 12 frames; continue with --resume", error)
    assert "out.trr: cannot be written" in error
    assert run(given, tmp_path / "out.trr", "--resume") == 0
    assert (tmp_path / "out.trr").read_bytes() == (tmp_path / "whole.trr").read_bytes()


def test_options_that_contradict(toy, given, tmp_path, capsys):
    for options, message in (
        (
            ["--workers", 2, "--scheduler", "tcp://x:1"],
            "--workers: starts workers on this machine; give either",
        ),
        (["--refine", 3], "--refine: applies only to temporal models"),
        (["--burn-in", 3], "--burn-in: applies only with several segments"),
        (["--segments", 3], "--segments: applies only to temporal models"),
    ):
        assert run(given, tmp_path / "out.trr", *options) == 2
        assert message in capsys.readouterr().err


def test_resuming_a_finished_run_leaves_everything_as_it_is(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "out.trr", "--samples", 2) == 0

    def files() -> dict[Path, tuple[bytes, int]]:
        return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.glob("out*")}

    before = files()
    capsys.readouterr()
    assert run(given, tmp_path / "out.trr", "--samples", 2, "--resume") == 0
    assert "the run is finished, nothing is left to do" in capsys.readouterr().err
    assert files() == before
    for options in (["--seed", 1], ["--begin", 2], ["--hydrogens"]):
        assert run(given, tmp_path / "out.trr", "--samples", 2, "--resume", *options) == 2
        assert "already exists" in capsys.readouterr().err
    (tmp_path / "out_2.trr").unlink()
    assert run(given, tmp_path / "out.trr", "--samples", 2, "--resume") == 2
