"""Progress of a run, for people (a bar) and for programs (a log)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from types import TracebackType

import psutil
from tqdm import tqdm

from backmap.errors import InputError

_SECONDS_BETWEEN_LINES = 1.0
_BYTES_PER_MB = 1e6


class ProgressReport:
    """A progress bar on a terminal, and a log in JSON lines if requested.

    Use it in a ``with`` statement.

    Parameters
    ----------
    frames : int
        Frames of the whole run, over all trajectories and samples.
    residues : int
        Residues per frame.
    done : int
        Frames built by an earlier run.
    quiet : bool
        Show no bar.
    log : path, optional
        File to append the lines to.
    """

    def __init__(
        self, frames: int, residues: int, *, done: int = 0, quiet: bool = False, log: Path | None = None
    ) -> None:
        self._frames, self._residues, self._before = frames, residues, done
        self._done = done
        self._start = self._last_line = time.monotonic()
        self._end: float | None = None
        hidden = quiet or not sys.stderr.isatty()
        self._bar = tqdm(total=frames, initial=done, unit=" frames", unit_scale=True, disable=hidden)
        self._log_path = log
        with self._explain_logging():
            self._log = None if log is None else _open_log(log)

    @property
    def seconds(self) -> float:
        """Duration of the run so far, or in total."""
        return (self._end or time.monotonic()) - self._start

    @property
    def frames_built(self) -> int:
        """Frames built in this run."""
        return self._done - self._before

    def update(self, frames: int) -> None:
        """Record that frames were built and written."""
        self._done += frames
        self._bar.update(frames)
        now = time.monotonic()
        if now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            values = self._values()
            self._bar.set_postfix_str(
                f"{values['residues_per_second']:,.0f} residues/s, {values['memory_mb']:,.0f} MB".replace(
                    ",", " "
                )
            )
            self._write("progress", **values)

    def note(self, event: str, **values: object) -> None:
        """Append a line to the log."""
        self._write(event, **self._values(), **values)

    def _values(self) -> dict[str, float | None]:
        """Return counts and speeds of this run, without an earlier run that it resumes."""
        speed = self.frames_built / max(self.seconds, 1e-9)
        return {
            "frames_done": self._done,
            "frames": self._frames,
            "frames_per_second": round(speed, 3),
            "residues_per_second": round(speed * self._residues, 1),
            "seconds_left": round((self._frames - self._done) / speed, 1) if speed else None,
            "memory_mb": round(memory_in_use() / _BYTES_PER_MB, 1),
        }

    def _write(self, event: str, **values: object) -> None:
        if self._log is not None:
            moment = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"time": moment, "event": event, **values}) + "\n"
            with self._explain_logging():
                self._log.write(line.encode())

    @contextmanager
    def _explain_logging(self) -> Iterator[None]:
        """Report that the log cannot be written, and stop writing it."""
        try:
            yield
        except OSError as error:
            self._log = None
            raise InputError(f"{self._log_path}: the log cannot be written: {error.strerror}") from error

    def __enter__(self) -> ProgressReport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with suppress(InputError):
                self.note("stopped", reason=" ".join(str(error).split()) or type(error).__name__)
        self._end = time.monotonic()
        self._bar.close()
        if self._log is not None:
            self._log.close()


def _open_log(path: Path) -> FileIO:
    """Open a log for appending; refuse a pipe without a reader instead of waiting for one."""
    log = FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666), "w")
    os.set_blocking(log.fileno(), True)
    return log


def memory_in_use() -> int:
    """Return the bytes in memory of this process and its children."""
    this = psutil.Process()
    total = this.memory_info().rss
    for child in this.children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.Error:  # the child has just ended
            continue
    return total
