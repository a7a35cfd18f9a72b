"""Writing what a run builds, in a thread of its own, and noting how far it is."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from types import TracebackType

from backmap.errors import InputError
from backmap.io import Frames, GrowingOutput, Journal, Progress

SECONDS_PER_COMMIT = 1.0
"""How often it is noted how far a run is: a kill loses little, and waiting for the disk takes little."""

_WAITING = 2


@dataclass(frozen=True)
class Step:
    """What was built since the step before.

    Parameters
    ----------
    progress : Progress
        How far the run is after it, but for the lengths of the outputs.
    written : sequence of (int, Frames)
        Frames to write, with the number of their output.
    frames_built : int
        For the report.
    """

    progress: Progress
    written: Sequence[tuple[int, Frames]]
    frames_built: int


class Recorder:
    """Writes steps in order, and commits them to the journal.

    In a ``with`` statement: in the end all steps that were added are committed, after an exception too. Where
    the program is told to end, only the step that is being written is waited for.

    Parameters
    ----------
    journal : Journal
        Where the run is kept.
    outputs : sequence of GrowingOutput
        Where frames go.
    chunk : int, optional
        Commit after so many frames of the input; by default, every second or so.
    written : function of int, optional
        Told how many frames were written, after each step.
    """

    def __init__(
        self,
        journal: Journal,
        outputs: Sequence[GrowingOutput],
        *,
        chunk: int | None = None,
        written: Callable[[int], object] = lambda frames: None,
    ) -> None:
        self._journal, self._outputs = journal, outputs
        self._chunk, self._written = chunk, written
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()
        self._last = journal.progress
        self._committed = time.monotonic()
        self._failed = False

    def add(self, step: Step) -> None:
        """Hand in a step; waits if others are still being written."""
        self._waiting.append(self._pool.submit(self._write, step))
        if len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def _write(self, step: Step) -> None:
        """Write a step, unless one before it failed: what was half written must not be followed by more."""
        if self._failed:
            return
        self._failed = True
        with self._missing_a_folder():
            for number, frames in step.written:
                self._outputs[number].append(frames)
            self._last = step.progress
            if self._is_due(step):
                self._commit()
        self._failed = False
        self._written(step.frames_built)

    @contextmanager
    def _missing_a_folder(self) -> Iterator[None]:
        """Say so where writing fails because the folder of the run is gone."""
        try:
            yield
        except InputError as error:
            if self._journal.folder.is_dir():
                raise
            raise InputError(
                f"{self._journal.folder}: was removed while the run went on; start it anew"
            ) from error

    def _is_due(self, step: Step) -> bool:
        if self._chunk is None:
            return time.monotonic() - self._committed >= SECONDS_PER_COMMIT
        return step.progress.frames_done - self._journal.progress.frames_done >= self._chunk

    def _commit(self) -> None:
        """Put the outputs on the disk, then note how long they are."""
        lengths = {name: length for output in self._outputs for name, length in output.synchronise().items()}
        self._last = replace(self._last, lengths=lengths)
        self._journal.commit(self._last)
        self._committed = time.monotonic()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None and not issubclass(kind, Exception))
        if kind is None:
            for future in self._waiting:
                future.result()
        if not self._failed and self._last is not self._journal.progress:
            with suppress(InputError) if kind is not None else nullcontext():
                self._commit()
