"""Requests to end are heeded at once, whatever is being built, and leave what can be gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backmap.io import Journal
from tests import toy_protein
from tests.cli.test_long_runs import run

PATIENCE_SECONDS = 120
"""How long a busy machine may take for what takes an idle one a second: far less than the batch takes."""

SCRIPT = """
import sys, time
from pathlib import Path
from backmap.cli.main import command
from tests import toy_protein

busy, weights = map(Path, sys.argv[1:3])

class Slow(toy_protein.FixedOffsets):
    def reconstruct(self, c_alpha, **how):
        if int(how["numbers"][0]) >= 4:
            busy.touch()
            time.sleep(3600)
        return super().reconstruct(c_alpha, **how)

toy_protein.install(weights, Slow())
sys.argv = ["backmap", *sys.argv[3:]]
command()
"""


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            pytest.fail(f"{path} does not come: {process.communicate()[1]}")
        time.sleep(0.02)


def heed_hang_ups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(tmp_path: Path, given: Path, *prefix: str) -> subprocess.Popen:
    """Start a run, and wait until it is in the middle of a batch that takes an hour."""
    asked = ["reconstruct", given, "--top", given.with_suffix(".pdb"), "-o", tmp_path / "out.xtc"]
    asked += ["--batch", 2, "--chunk", 2, "--threads", 1]
    environment = {**os.environ, "PYTHONPATH": str(Path(toy_protein.__file__).parents[1])}
    command = [*prefix, sys.executable, "-c", SCRIPT, tmp_path / "busy", tmp_path / "toy.safetensors", *asked]
    process = subprocess.Popen(
        list(map(str, command)),
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=heed_hang_ups,  # the tests may run under nohup
    )
    wait_for(tmp_path / "busy", process)
    wait_for(tmp_path / "out.xtc.partial" / "progress.safetensors", process)
    return process


@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)], ids=str
)
def test_a_run_ends_at_once_and_can_be_gone_on_with(tmp_path, toy, given, capsys, number, code):
    process = start(tmp_path, given)
    process.send_signal(number)
    _, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == code
    assert "out.xtc.partial keeps 4 of 12 frames; continue with --resume" in error
    assert "Traceback" not in error and not (tmp_path / "out.xtc").exists()
    assert run(given, tmp_path / "out.xtc", "--resume", "--batch", 2) == 0
    assert run(given, tmp_path / "whole.xtc") == 0
    assert (tmp_path / "out.xtc").read_bytes() == (tmp_path / "whole.xtc").read_bytes()


def test_a_second_run_is_told_of_the_first(tmp_path, toy, given, capsys):
    process = start(tmp_path, given)
    try:
        for options in ([], ["--resume"], ["--overwrite"]):
            assert run(given, tmp_path / "out.xtc", *options) == 2
            assert "out.xtc.partial: another run is writing there now; wait until it ends" in (
                capsys.readouterr().err
            )
    finally:
        process.kill()
        process.communicate()
    assert run(given, tmp_path / "out.xtc") == 2
    assert "contains an unfinished run; give --resume" in capsys.readouterr().err


def test_ignored_signals_stay_ignored(tmp_path, given):
    process = start(tmp_path, given, "nohup")
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 143


def test_a_run_that_was_killed_while_it_finished(tmp_path, toy, given, monkeypatch):
    """What has its final name already stays, whatever was left of the rest."""
    assert run(given, tmp_path / "whole.xtc", "--samples", 3) == 0
    publish = Journal.publish

    def publish_one(journal: Journal, files: dict[Path, Path]) -> None:
        hidden, final = next(iter(files.items()))
        hidden.rename(final)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "publish", publish_one)
    assert run(given, tmp_path / "out.xtc", "--samples", 3) == 130
    monkeypatch.setattr(Journal, "publish", publish)
    assert run(given, tmp_path / "out.xtc", "--samples", 3, "--resume") == 0
    for sample in (1, 2, 3):
        assert (tmp_path / f"out_{sample}.xtc").read_bytes() == (
            tmp_path / f"whole_{sample}.xtc"
        ).read_bytes()
