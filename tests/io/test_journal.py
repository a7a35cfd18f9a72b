"""A run on disk: how far it is, what is refused, what is swept away."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from backmap.errors import InputError
from backmap.io import Journal, Progress
from backmap.io.growing_file import Length

REQUEST = {"input": ["a" * 64], "seed": 3, "version of numpy": "2.0"}


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "out.dcd.partial"


def progress(frames: int) -> Progress:
    return Progress(
        frames,
        {"out.dcd": Length(10 * frames, frames)},
        {"x": np.array([frames, 0.5])},
        {"skipped": [frames]},
    )


@pytest.fixture
def begun(folder) -> Path:
    """Leave a journal behind, as a kill does."""
    with pytest.raises(KeyboardInterrupt), Journal(folder, REQUEST) as journal:
        journal.commit(progress(5))
        journal.commit(progress(9))
        raise KeyboardInterrupt
    return folder


def test_progress_comes_back(begun):
    with Journal(begun, REQUEST, resume=True) as journal:
        found = journal.progress
        assert (found.frames_done, found.lengths, found.notes) == (
            9, {"out.dcd": Length(90, 9)}, {"skipped": [9]}
        )  # fmt: skip
        np.testing.assert_array_equal(found.state["x"], [9, 0.5])
        journal.remove()
    assert not begun.exists()


def test_nothing_done_leaves_nothing(folder):
    with pytest.raises(KeyboardInterrupt), Journal(folder, REQUEST):
        raise KeyboardInterrupt
    assert not folder.exists()


def test_what_was_there_without_progress_is_swept_away(folder):
    with Journal(folder, REQUEST):
        (folder / "out.dcd.growing").write_text("half")
    with Journal(folder, REQUEST, resume=True) as journal:
        assert journal.progress.frames_done == 0
    assert [path.name for path in folder.iterdir()] == ["journal.json"]


def test_killed_before_the_request_was_whole(folder):
    folder.mkdir()
    (folder / "journal.json.partial").write_text("{")
    with Journal(folder, REQUEST, resume=True) as journal:
        assert journal.progress.frames_done == 0


def test_killed_while_it_was_removed(begun, monkeypatch):
    """What is left then must not be taken for an unfinished run."""
    unlink = Path.unlink

    def unlink_one(path: Path) -> None:
        unlink(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Journal(begun, REQUEST, resume=True) as journal:
        monkeypatch.setattr(Path, "unlink", unlink_one)
        journal.remove()
    monkeypatch.undo()
    for options in ({}, {"resume": True}):
        with Journal(begun, REQUEST | {"seed": 9}, **options) as journal:
            assert journal.progress.frames_done == 0
            (begun / "finished").touch()


def test_overwrite_starts_anew(begun):
    with Journal(begun, {"seed": 4}, overwrite=True) as journal:
        assert journal.progress == Progress()
        assert [path.name for path in begun.iterdir()] == ["journal.json"]


def refusal(folder: Path, request: dict, **options: bool) -> str:
    with pytest.raises(InputError) as refused:
        Journal(folder, request, **options)
    return str(refused.value).removeprefix(f"{folder}: ")


def test_refusals(begun, tmp_path):
    assert refusal(begun, REQUEST) == (
        "an unfinished run lies there; give --resume to go on with it, or --overwrite to start anew"
    )
    assert refusal(begun, REQUEST | {"seed": 4}, resume=True) == (
        "the unfinished run there had another seed (3, now 4); "
        "ask for the same again, or give --overwrite to start anew"
    )
    assert refusal(begun, REQUEST | {"input": ["b" * 64]}, resume=True).startswith(
        "the unfinished run there had another input; ask"
    )
    with Journal(begun, REQUEST, resume=True):
        assert refusal(begun, REQUEST, resume=True) == (
            "another run is writing there; wait for it or stop it"
        )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    assert "holds other files; move them" in refusal(tmp_path / "mine", REQUEST, overwrite=True)
    assert (tmp_path / "mine" / "precious.txt").exists()
    assert "none: no such folder; create it first" in refusal(tmp_path / "none" / "out", REQUEST)


@pytest.mark.parametrize("length", [0, 7, 20, -3])
def test_damaged_progress_is_named(begun, length):
    path = begun / "progress.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert "progress.safetensors: cannot be read" in refusal(begun, REQUEST, resume=True)


def test_full_disk_keeps_what_is_done(begun, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="the disk is full"), Journal(begun, REQUEST, resume=True) as journal:
        monkeypatch.setattr(Path, "write_bytes", full)
        journal.commit(progress(20))
    monkeypatch.undo()
    with Journal(begun, REQUEST, resume=True) as journal:
        assert journal.progress.frames_done == 9


def test_everything_is_on_the_disk_before_it_counts(folder, monkeypatch):
    """A name is given only after the content was synchronised, and then the folder is."""
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: events.append(os.readlink(f"/proc/self/fd/{d}")) or fsync(d))
    monkeypatch.setattr(os, "replace", lambda a, b: events.append(f"-> {b}") or replace(a, b))
    with Journal(folder, REQUEST) as journal:
        events.clear()
        journal.commit(progress(5))
        path = folder / "progress.safetensors"
        assert events == [f"{path}.partial", f"-> {path}", str(folder)]
        events.clear()
        (folder / "out").write_text("x")
        final = folder.parent / "out"
        journal.publish({folder / "out": final, folder / "gone": folder.parent / "gone"})
        assert events[:4] == [str(folder), str(folder / "out"), f"-> {final}", str(folder.parent)]
    assert final.read_text() == "x" and not folder.exists()
