"""Pieces of a run on disk: what is kept, what is refused, what is swept away."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from backmap.errors import InputError
from backmap.io import Journal, StagedFiles

REQUEST = {"input": ["a" * 64], "seed": 3, "version of numpy": "2.0"}


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "out.dcd.partial"


def piece(number: float) -> dict[str, np.ndarray]:
    return {"state.x": np.array([number]), "atoms": np.full((2, 3), number, dtype=np.float32)}


@pytest.fixture
def begun(folder) -> Path:
    """Leave a journal of two pieces behind, as a kill does."""
    with pytest.raises(KeyboardInterrupt), Journal(folder, REQUEST) as journal:
        journal.append(piece(1), 5)
        journal.append(piece(2), 9)
        raise KeyboardInterrupt
    return folder


def test_pieces_come_back_in_order(begun):
    with Journal(begun, REQUEST, resume=True) as journal:
        assert journal.frames_done == 9
        assert journal.last("state.")["x"].tolist() == [2]
        journal.append(piece(3), 100)
        found = [(piece["atoms"], piece.row("atoms", 1), "none" in piece) for piece in journal.pieces()]
        assert [whole[0, 0] for whole, _, _ in found] == [1, 2, 3]
        assert all(row.tolist() == whole[1].tolist() and not there for whole, row, there in found)
        journal.remove()
    assert not begun.exists()


def test_nothing_done_leaves_nothing(folder):
    with pytest.raises(KeyboardInterrupt), Journal(folder, REQUEST):
        raise KeyboardInterrupt
    assert not folder.exists()


def test_what_was_being_written_is_swept_away(begun):
    for name in ("piece-000000000009-000000000020.safetensors.partial", "out.dcd"):
        (begun / name).write_text("half")
    with Journal(begun, REQUEST, resume=True) as journal:
        assert journal.frames_done == 9
    assert sorted(path.name for path in begun.iterdir()) == [
        "journal.json",
        "piece-000000000000-000000000005.safetensors",
        "piece-000000000005-000000000009.safetensors",
    ]


def test_killed_before_the_request_was_whole(folder):
    folder.mkdir()
    (folder / "journal.json.partial").write_text("{")
    with Journal(folder, REQUEST, resume=True) as journal:
        assert journal.frames_done == 0


def test_killed_while_it_was_removed(begun, monkeypatch):
    """What is left of the pieces then must not be taken for an unfinished run."""
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
            assert journal.frames_done == 0
            (begun / "finished").touch()


def test_a_missing_piece_is_named(begun):
    (begun / "piece-000000000000-000000000005.safetensors").unlink()
    assert refusal(begun, REQUEST, resume=True) == (
        "the piece from frame 1 on is missing; give --overwrite to start anew"
    )


def test_overwrite_starts_anew(begun):
    with Journal(begun, {"seed": 4}, overwrite=True) as journal:
        assert journal.frames_done == 0 and not list(journal.pieces())


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


def test_a_damaged_piece_is_named(begun):
    path = begun / "piece-000000000000-000000000005.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with Journal(begun, REQUEST, resume=True) as journal:
        with pytest.raises(
            InputError,
            match="piece-000000000000-000000000005.safetensors: cannot be read .*start the run anew",
        ):
            list(journal.pieces())


def test_full_disk_keeps_what_is_done(begun, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match="the disk is full"), Journal(begun, REQUEST, resume=True) as journal:
        monkeypatch.setattr(Path, "write_bytes", full)
        journal.append(piece(3), 20)
    monkeypatch.undo()
    with Journal(begun, REQUEST, resume=True) as journal:
        assert journal.frames_done == 9


def test_everything_is_on_the_disk_before_it_counts(folder, monkeypatch):
    """A name is given only after the content was synchronised, and then the folder is."""
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda d: events.append(os.readlink(f"/proc/self/fd/{d}")) or fsync(d))
    monkeypatch.setattr(os, "replace", lambda a, b: events.append(f"-> {b}") or replace(a, b))
    with Journal(folder, REQUEST) as journal:
        events.clear()
        journal.append(piece(1), 5)
        path = folder / "piece-000000000000-000000000005.safetensors"
        assert events == [f"{path}.partial", f"-> {path}", str(folder)]
        events.clear()
        with StagedFiles(folder=folder) as files:
            files.add(folder.parent / "out").write_text("x")
            assert (folder / "out").exists()
        assert events == [str(folder / "out"), f"-> {folder.parent / 'out'}", str(folder.parent)]
