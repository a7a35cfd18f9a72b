"""A run on disk: how far it is, what is refused, what is swept away."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backmap.errors import InputError, InputWarning
from backmap.io import Journal, Progress
from backmap.io.durable.growing_file import Length
from tests.fuzzing import tries

OUTPUTS = ("out.dcd", "out.pdb")
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
    with pytest.raises(KeyboardInterrupt), Journal(folder, REQUEST, OUTPUTS) as journal:
        journal.commit(progress(5))
        journal.commit(progress(9))
        raise KeyboardInterrupt
    return folder


def test_progress_comes_back(begun):
    with Journal(begun, REQUEST, OUTPUTS, resume=True) as journal:
        found = journal.progress
        assert (found.frames_done, found.lengths, found.notes) == (
            9, {"out.dcd": Length(90, 9)}, {"skipped": [9]}
        )  # fmt: skip
        np.testing.assert_array_equal(found.state["x"], [9, 0.5])
        journal.remove()
    assert not begun.exists()


def test_nothing_done_leaves_nothing(folder):
    with pytest.raises(KeyboardInterrupt), Journal(folder, REQUEST, OUTPUTS):
        raise KeyboardInterrupt
    assert not folder.exists()


def test_what_was_there_without_progress_is_swept_away(folder):
    with Journal(folder, REQUEST, OUTPUTS):
        (folder / "out.dcd.growing").write_text("half")
    with Journal(folder, REQUEST, OUTPUTS, resume=True) as journal:
        assert journal.progress.frames_done == 0
    assert [path.name for path in folder.iterdir()] == ["journal.json"]


def test_killed_before_the_request_was_whole(folder):
    folder.mkdir()
    (folder / "journal.json.partial").write_text("{")
    with Journal(folder, REQUEST, OUTPUTS, resume=True) as journal:
        assert journal.progress.frames_done == 0


@pytest.mark.parametrize("kill_at", range(4))
def test_killed_while_it_was_removed(begun, monkeypatch, kill_at):
    """Whatever is left then can be gone on with, or is nothing."""
    (begun / "out.pdb.growing").write_text("x")
    removed = []

    def unlink(path: Path, **_: object) -> None:
        if len(removed) == kill_at:
            raise KeyboardInterrupt
        removed.append(path)
        os.unlink(path)

    with pytest.raises(KeyboardInterrupt), Journal(begun, REQUEST, OUTPUTS, resume=True) as journal:
        journal.commit(replace(journal.progress, finishing=True))
        monkeypatch.setattr(Path, "unlink", unlink)
        monkeypatch.setattr(Path, "rmdir", unlink)
        journal.remove()
    monkeypatch.undo()
    progress_left = (begun / "progress.safetensors").exists()
    assert Journal.is_finishing(begun) == progress_left
    with Journal(begun, REQUEST, OUTPUTS, resume=True) as journal:
        assert journal.progress.finishing == progress_left
        journal.remove()
    assert not begun.exists()


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
        "contains an unfinished run; give --resume to continue it, or --overwrite to start anew"
    )
    assert refusal(begun, REQUEST | {"seed": 4}, resume=True) == (
        "the unfinished run there differs in seed (3, now 4); "
        "give the same again, or --overwrite to start anew"
    )
    assert refusal(begun, REQUEST | {"input": ["b" * 64]}, resume=True).startswith(
        "the unfinished run there differs in input; give"
    )
    with Journal(begun, REQUEST, OUTPUTS, resume=True):
        for options in ({"resume": True}, {"overwrite": True}, {}):
            assert refusal(begun, REQUEST, **options) == (
                "another run is writing there now; wait until it ends, or stop it"
            )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("x")
    assert "contains files, but no journal of a run; move" in refusal(
        tmp_path / "mine", REQUEST, overwrite=True
    )
    assert (tmp_path / "mine" / "precious.txt").exists()
    (tmp_path / "file").write_text("x")
    assert "is in the way" in refusal(tmp_path / "file", REQUEST, overwrite=True)
    assert "none: no such folder; create it first" in refusal(tmp_path / "none" / "out", REQUEST)


def damaged(data: bytes, generator: random.Random) -> bytes:
    """Cut, lengthen, or change a byte of a file."""
    place = generator.randrange(len(data))
    return generator.choice(
        [
            data[:place],
            data + bytes([generator.randrange(256)]),
            data[:place] + bytes([data[place] ^ generator.randrange(1, 256)]) + data[place + 1 :],
            data[:place] + generator.randbytes(20) + data[place:],
            generator.randbytes(len(data)),
        ]
    )


@pytest.mark.fuzz
@pytest.mark.parametrize("name", ["journal.json", "progress.safetensors"])
def test_damage_is_refused_and_nothing_removed(begun, name):
    path, whole = begun / name, (begun / name).read_bytes()
    for seed in tries(60):
        path.write_bytes(damaged(whole, random.Random(seed)))
        before = {file: file.read_bytes() for file in begun.iterdir()}
        message = refusal(begun, REQUEST, resume=True)
        assert name in message and ("give --overwrite" in message or "remove" in message), message
        assert {file: file.read_bytes() for file in begun.iterdir()} == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"frames": 3}',
        b'{"program": "backmap", "contents": 3}',
    ],
    ids=["empty", "cut", "list", "bytes", "deep", "foreign", "number"],
)
@pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}], ids=str)
def test_a_foreign_journal_costs_nobody_a_file(folder, content, options):
    folder.mkdir()
    (folder / "journal.json").write_bytes(content)
    (folder / "precious.txt").write_text("x")
    assert "is damaged or not a journal of backmap; remove" in refusal(folder, REQUEST, **options)
    assert sorted(path.name for path in folder.iterdir()) == ["journal.json", "precious.txt"]
    assert (folder / "journal.json").read_bytes() == content


def test_progress_of_another_run_is_refused(begun, tmp_path):
    other = tmp_path / "other.partial"
    with pytest.raises(KeyboardInterrupt), Journal(other, REQUEST | {"seed": 4}, OUTPUTS) as journal:
        journal.commit(progress(5))
        raise KeyboardInterrupt
    (begun / "progress.safetensors").write_bytes((other / "progress.safetensors").read_bytes())
    assert "was changed since the run wrote it" in refusal(begun, REQUEST, resume=True)


@pytest.mark.parametrize("options", [{"resume": True}, {"overwrite": True}], ids=str)
def test_foreign_files_stay(begun, options):
    (begun / "notes").mkdir()
    (begun / "notes" / "precious.txt").write_text("x")
    (begun / "out.dcd.bak").write_text("x")
    (begun / "link.growing").symlink_to(begun / "notes")
    for name in ("out.dcd.growing", "out.pdb", "out.dcd.from-12.growing", "out.dcd.piece.dcd"):
        (begun / name).write_text("x")
    with (
        pytest.warns(InputWarning, match=r"kept, .* \(link.growing, notes, out.dcd.bak\)"),
        Journal(begun, REQUEST, OUTPUTS, **options) as journal,
    ):
        journal.remove()
    assert sorted(path.name for path in begun.iterdir()) == ["link.growing", "notes", "out.dcd.bak"]
    assert (begun / "notes" / "precious.txt").exists()


def test_an_output_that_is_gone_is_not_passed_over(begun, tmp_path):
    with (
        pytest.raises(InputError, match="out.dcd: is missing; give --overwrite"),
        Journal(begun, REQUEST, OUTPUTS, resume=True) as journal,
    ):
        journal.publish({begun / "out.dcd": tmp_path / "out.dcd"})


def test_full_disk_keeps_what_is_done(begun, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (
        pytest.raises(InputError, match="the disk is full"),
        Journal(begun, REQUEST, OUTPUTS, resume=True) as journal,
    ):
        monkeypatch.setattr(Path, "write_bytes", full)
        journal.commit(progress(20))
    monkeypatch.undo()
    with Journal(begun, REQUEST, OUTPUTS, resume=True) as journal:
        assert journal.progress.frames_done == 9


def test_everything_is_on_the_disk_before_it_counts(folder, monkeypatch):
    """A name is given only after the content was synchronised, and then the folder is."""
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: events.append(os.readlink(f"/proc/self/fd/{d}")) or fsync(d))
    monkeypatch.setattr(os, "replace", lambda a, b: events.append(f"-> {b}") or replace(a, b))
    with Journal(folder, REQUEST, OUTPUTS) as journal:
        events.clear()
        journal.commit(progress(5))
        path = folder / "progress.safetensors"
        assert events == [f"{path}.partial", f"-> {path}", str(folder)]
        events.clear()
        (folder / "out").write_text("x")
        final = folder.parent / "out"
        (folder.parent / "published").write_text("x")
        journal.publish({folder / "out": final, folder / "published": folder.parent / "published"})
        assert events[:3] == [str(folder / "out"), f"-> {final}", str(folder.parent)]
    assert final.read_text() == "x" and not folder.exists()
