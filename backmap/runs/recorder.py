"""Writing of built frames in a separate thread, and of the progress to the journal."""

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
"""Time between commits: short enough that a kill loses little, long enough that the disk costs little."""

_WAITING = 2


@dataclass(frozen=True)
class Step:
    """Frames built since the previous step.

    Parameters
    ----------
    progress : Progress
        Progress of the run after this step, except for the lengths of the outputs.
    written : sequence of (int, Frames)
        Frames to write, each with the index of its output.
    frames_built : int
        Number of frames for the report.
    """

    progress: Progress
    written: Sequence[tuple[int, Frames]]
    frames_built: int


class Recorder:
    """Writes steps in order, and commits them to the journal.

    Use it in a ``with`` statement: on exit, all added steps are committed, also after an exception. If the
    program is told to stop, only the step being written is completed.

    Parameters
    ----------
    journal : Journal
        Journal of the run.
    outputs : sequence of GrowingOutput
        Outputs to write to.
    chunk : int, optional
        Commit after this many input frames; by default about every second.
    written : function of int, optional
        Called with the number of written frames after each step.
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
        """Add a step; wait if too many others are still being written."""
        self._waiting.append(self._pool.submit(self._write, step))
        if len(self._waiting) > _WAITING:
            self._waiting.popleft().result()

    def _write(self, step: Step) -> None:
        """Write a step, unless an earlier one failed: nothing may follow a partly written step."""
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
        """Explain the error if writing fails because the folder of the run was removed."""
        try:
            yield
        except InputError as error:
            if self._journal.folder.is_dir():
                raise
            raise InputError(
                f"{self._journal.folder}: was removed during the run; start the run again"
            ) from error

    def _is_due(self, step: Step) -> bool:
        if self._chunk is None:
            return time.monotonic() - self._committed >= SECONDS_PER_COMMIT
        return step.progress.frames_done - self._journal.progress.frames_done >= self._chunk

    def _commit(self) -> None:
        """Flush the outputs to disk, then record their lengths."""
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
