"""What all kinds of ``backmap reconstruct`` have in common: from opened inputs to whole outputs."""

from __future__ import annotations

import argparse
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap import api
from backmap.errors import InputEndsEarly, InputWarning

if TYPE_CHECKING:
    import torch

    from backmap.cluster import Job, Workers
    from backmap.io import AtomList, FrameRange, FrameSource, GrowingOutput, Journal
    from backmap.models.checkpoint import ModelFile
    from backmap.runs.layout import Layout
    from backmap.runs.outputs import Outputs
    from backmap.runs.report import Report

_FRAMES_NAMED = 10
_OPTIONS_OF_THE_RESULT = (
    ("seed", "samples", "one_file", "atoms", "begin", "end", "stride", "refine", "temperature")
    + ("skip_unknown", "keep_given", "c_alphas", "bead_noise", "ddim_steps", "redraws", "segments", "burn_in")
    + ("hydrogens", "ph", "minimise")
)


@dataclass(frozen=True)
class Pool:
    """Where a run computes.

    Parameters
    ----------
    device : torch.device
        Kind of device.
    client : distributed.Client, optional
        Of the cluster, where there is one.
    threads : int
        Processor threads of this process.
    """

    device: torch.device
    client: Any
    threads: int

    @property
    def sharing(self) -> int:
        """How many batches are built at once in the memory of this machine."""
        if self.client is not None:
            return max(1, len(self.client.nthreads()))
        return self.threads if self.device.type == "cpu" else 1

    def workers(self, job: Job, pieces: int | None = None) -> Workers:
        """Open workers for a job that has so many pieces at once, or any number."""
        from backmap.cluster import DaskWorkers, LocalWorkers

        if self.client is not None:
            return DaskWorkers(self.client, job, self.device)
        count = min(self.sharing, pieces or self.sharing)
        return LocalWorkers(job, self.device, count, max(1, self.threads // count))


@contextmanager
def open_pool(arguments: argparse.Namespace) -> Iterator[Pool]:
    """Find or start what a run computes with."""
    import torch

    threads = arguments.threads or torch.get_num_threads()
    if arguments.scheduler is None and arguments.workers is None:
        yield Pool(api.select_device(arguments.device), None, threads)
        return
    from backmap.cluster import choose_device, open_client

    with open_client(arguments.scheduler, arguments.workers) as client:
        yield Pool(choose_device(client, arguments.device), client, threads)


class Reconstruction(ABC):
    """One run of the command.

    Attributes
    ----------
    sources : list of FrameSource
        The opened inputs.
    atoms : AtomList
        Atoms that are written.
    residues : int
        Of a frame.
    steps : int
        Frames that the run goes through, of the longest input.
    """

    sources: Sequence[FrameSource]
    atoms: AtomList
    residues: int
    steps: int

    def __init__(self, arguments: argparse.Namespace, model: ModelFile) -> None:
        self._arguments, self._model_file = arguments, model

    def carry_out(self) -> int:
        """Build what is not there yet, and give the outputs their names."""
        from backmap.io import Journal
        from backmap.runs.outputs import Outputs
        from backmap.runs.report import Report

        arguments, samples = self._arguments, self._arguments.samples
        outputs = Outputs.plan(arguments.output, arguments.input, samples, arguments.one_file)
        inputs = list(dict.fromkeys(file for source in self.sources for file in source.files))
        may_replace = arguments.overwrite or Journal.was_publishing(outputs.unfinished)
        outputs.require_free(self.atoms, inputs, may_replace)
        description = self._describe(inputs)
        again = {"resume": arguments.resume, "overwrite": arguments.overwrite}
        with open_pool(arguments) as pool:
            outputs.make_folder()
            with Journal(outputs.unfinished, _request(description, pool.device), **again) as journal:
                size = samples * sum(source.frames for source in self.sources), self.residues
                watch = {"done": self.frames_built(journal), "quiet": arguments.quiet, "log": arguments.log}
                with Report(*size, **watch) as report:
                    report.note("start", run=description)
                    with _telling_what_is_kept(journal, self.steps):
                        failures = self.build(pool, outputs, journal, report)
                    outcome = self.outcome(journal)
                    whole = partial(self.whole_outputs, outputs, journal)
                    outputs.finish(journal, self.atoms, whole, {**description, **outcome})
                    report.note("end", outputs=[str(path) for path in outputs.all_paths], **outcome)
        for message in self.warnings(outcome, outputs):
            warnings.warn(message, InputWarning, stacklevel=2)
        if not arguments.quiet:
            line = self.closing_line(outcome, report)
            print(f"{line} -> {named(outputs.all_paths)}", file=sys.stderr)
        if failures:
            raise InputEndsEarly(f"{failures[0]}; those frames are in {named(outputs.all_paths)}")
        return 0

    @abstractmethod
    def frames_built(self, journal: Journal) -> int:
        """Frames of all inputs and samples that an earlier run has built."""

    @abstractmethod
    def build(
        self, pool: Pool, outputs: Outputs, journal: Journal, report: Report
    ) -> Sequence[InputEndsEarly]:
        """Build and write what is not there yet; give what is wrong with inputs that end early."""

    def early_ends(self) -> list[InputEndsEarly]:
        """What is known to be wrong with inputs that end early, where all their frames were built before."""
        return [end for source in self.sources if (end := source.early_end) is not None]

    @abstractmethod
    def whole_outputs(self, outputs: Outputs, journal: Journal) -> Sequence[GrowingOutput]:
        """Open the outputs with all their frames."""

    @abstractmethod
    def outcome(self, journal: Journal) -> dict[str, Any]:
        """What is to be said of the run in the file beside the outputs."""

    @abstractmethod
    def warnings(self, outcome: dict[str, Any], outputs: Outputs) -> Iterator[str]:
        """Say what the user must know of the outcome."""

    @abstractmethod
    def closing_line(self, outcome: dict[str, Any], report: Report) -> str:
        """Say what was built and how fast."""

    def _describe(self, inputs: Sequence[Path]) -> dict[str, Any]:
        """Say how the outputs are made, so that they can be made again."""
        from backmap.io import describe_file

        arguments = self._arguments
        model = {"name": arguments.model, "path": str(api.require_model(arguments.model))}
        return {
            "input": [describe_file(path) for path in inputs],
            "model": {**model, "sha256": self._model_file.sha256},
            **{name: getattr(arguments, name) for name in _OPTIONS_OF_THE_RESULT},
            "seed_from": describe_file(arguments.seed_from) if arguments.seed_from else None,
            "device": arguments.device,
        }


def _request(description: dict[str, Any], device: torch.device) -> dict[str, object]:
    """All that decides the frames of a run, by the names that messages use."""
    from backmap.io.manifest import versions

    return {
        "input": [entry["sha256"] for entry in description["input"]],
        "model": description["model"]["sha256"],
        "trajectory to start from": description["seed_from"] and description["seed_from"]["sha256"],
        **{name: description[name] for name in _OPTIONS_OF_THE_RESULT},
        "device": device.type,
        **{f"version of {package}": version for package, version in versions().items()},
    }


def frame_range(arguments: argparse.Namespace) -> FrameRange:
    """Give the frames that were asked for."""
    from backmap.io import FrameRange

    return FrameRange(arguments.begin - 1, arguments.end, arguments.stride)


def choose_atoms(arguments: argparse.Namespace, built: AtomList) -> tuple[AtomList, Layout]:
    """Give the atoms that are to be written of those that are built, and how."""
    from backmap.io import listed, select_listed
    from backmap.runs.layout import Layout

    if arguments.atoms is None:
        return built, Layout(None, arguments.one_file)
    selected = select_listed(built, arguments.atoms)
    return listed(built, selected), Layout(selected, arguments.one_file)


@contextmanager
def _telling_what_is_kept(journal: Journal, frames: int) -> Iterator[None]:
    """Say, when a run is stopped, what of it can be gone on with."""
    try:
        yield
    except BaseException:
        if journal.progress.frames_done and journal.folder.is_dir():
            kept = f"{journal.progress.frames_done} of {counted(frames, 'frame')}"
            print(f"backmap: {journal.folder} keeps {kept}; go on with --resume", file=sys.stderr)
        raise


def named(paths: Sequence[Path]) -> str:
    """Name outputs: the first and the last."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} ... {paths[-1].name}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Say how many there are: ``1 frame``, ``2 frames``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def numbered(frames: Sequence[int]) -> str:
    """Name bad frames by their numbers: ``2 bad frames (7, 19)``."""
    named = ", ".join(map(str, frames[:_FRAMES_NAMED]))
    return f"{counted(len(frames), 'bad frame')} ({named}{' ...' if len(frames) > _FRAMES_NAMED else ''})"


def rounded(number: float) -> str:
    """Write a speed with two digits that mean something: ``6 700``."""
    digits = max(0, len(str(int(number))) - 2)
    return f"{int(round(number, -digits)):,}".replace(",", " ")
