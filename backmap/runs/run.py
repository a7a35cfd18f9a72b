"""One run from files to files: read, build, write; in constant memory, and resumable."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap.errors import InputEndsEarly, InputWarning
from backmap.io import AtomList, FrameSource, GrowingOutput, Journal, describe_file, listed, select_listed
from backmap.io.durable import manifest
from backmap.models import shipped
from backmap.models.model_file import ModelFile

from .output_layout import OutputLayout
from .outputs import Outputs
from .pool import Pool, open_pool
from .progress_report import ProgressReport
from .request import Request
from .wording import counted, named, nothing_left

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Outcome:
    """Result of a finished run.

    Attributes
    ----------
    outputs : list of Path
        Files that contain frames.
    record : dict
        How they were made and what happened: the content of the JSON file beside them, without versions.
    summary : str
        What was built and how fast, in one line.
    early_end : InputEndsEarly, optional
        Error about an input that ends in the middle of a frame; its complete frames are built.
    """

    outputs: list[Path]
    record: dict[str, Any]
    summary: str
    early_end: InputEndsEarly | None = None


class Run(ABC):
    """A run of one family of models.

    Attributes
    ----------
    sources : list of FrameSource
        The opened inputs.
    atoms : AtomList
        Atoms that are written.
    layout : OutputLayout
        Which of the built atoms are written, and to which files.
    residues : int
        Residues per frame.
    steps : int
        Number of frames the run processes, for the longest input.
    """

    sources: Sequence[FrameSource]
    atoms: AtomList
    layout: OutputLayout
    residues: int
    steps: int

    def __init__(self, request: Request, model: ModelFile) -> None:
        self.request, self.model_file = request, model

    def carry_out(self) -> Outcome:
        """Build the remaining frames, and move the outputs to their final names.

        Raises
        ------
        InputError
            If the input or the request cannot be used, or the output cannot be written. A note of the
            exception says how much of the run is kept for ``resume``.
        """
        request = self.request
        outputs = Outputs.plan(request.output, request.input, request.samples, request.one_file)
        inputs = list(dict.fromkeys(file for source in self.sources for file in source.files))
        description = self._describe(inputs)
        if request.resume and not request.overwrite:
            record = outputs.record_of_same_run(self.atoms, description)
            if record is not None:
                return Outcome(outputs.all_paths, record, nothing_left(outputs.all_paths))
        may_replace = request.overwrite or Journal.is_finishing(outputs.unfinished)
        outputs.require_free(self.atoms, inputs, may_replace, self._log)
        again = {"resume": request.resume, "overwrite": request.overwrite}
        with open_pool(request) as pool:
            outputs.make_folder()
            key, names = _resume_key(description, request, pool.device), outputs.names(self.atoms)
            with Journal(outputs.unfinished, key, names, **again) as journal:
                progress = ProgressReport(
                    request.samples * sum(source.n_frames for source in self.sources),
                    self.residues,
                    done=self.frames_built(journal),
                    quiet=request.quiet,
                    log=self._log,
                )
                with progress as report, noting_what_is_kept(journal, self.steps):
                    report.note("start", run=description)
                    failures = self.build(pool, outputs, journal, report)
                    found = self.outcome(journal)
                    written = outputs.names(self.atoms)[:-1]  # all but the record
                    record = {**description, "outputs": written, **found}
                    outputs.finish(
                        journal, self.atoms, partial(self.whole_outputs, outputs, journal), record, inputs
                    )
                    report.note("end", outputs=[str(path) for path in outputs.all_paths], **found)
        for message in self.warnings(found, outputs):
            warnings.warn(message, InputWarning, stacklevel=2)
        where = named(outputs.all_paths)
        early_end = InputEndsEarly(f"{failures[0]}; those frames are in {where}") if failures else None
        summary = f"{self.summary(found, report)} -> {where}"
        return Outcome(outputs.all_paths, record, summary, early_end)

    @property
    def further_models(self) -> dict[str, ModelFile]:
        """Models, besides the one to build with, on which the atoms depend; by name in the record file."""
        return {}

    def choose_atoms(self, built: AtomList) -> tuple[AtomList, OutputLayout]:
        """Return the atoms to write out of those that are built, and their layout."""
        request = self.request
        if request.atoms is None:
            return built, OutputLayout(None, request.one_file)
        selected = select_listed(built, request.atoms)
        return listed(built, selected), OutputLayout(selected, request.one_file)

    @abstractmethod
    def frames_built(self, journal: Journal) -> int:
        """Return the number of frames, over all inputs and samples, that an earlier run built."""

    @abstractmethod
    def build(
        self, pool: Pool, outputs: Outputs, journal: Journal, report: ProgressReport
    ) -> Sequence[InputEndsEarly]:
        """Build and write the remaining frames; return the errors of inputs that end early."""

    def early_ends(self) -> list[InputEndsEarly]:
        """Return the errors of inputs that end early, if all their frames were built before."""
        return [end for source in self.sources if (end := source.early_end) is not None]

    @abstractmethod
    def whole_outputs(self, outputs: Outputs, journal: Journal) -> Sequence[GrowingOutput]:
        """Open the complete outputs."""

    @abstractmethod
    def outcome(self, journal: Journal) -> dict[str, Any]:
        """Return the entries about the run for the record file beside the outputs."""

    @abstractmethod
    def warnings(self, outcome: dict[str, Any], outputs: Outputs) -> Iterator[str]:
        """Yield what the user must know about the outcome."""

    @abstractmethod
    def summary(self, outcome: dict[str, Any], report: ProgressReport) -> str:
        """Summarise what was built and how fast."""

    @property
    def _log(self) -> Path | None:
        return None if self.request.log is None else Path(self.request.log)

    def _describe(self, inputs: Sequence[Path]) -> dict[str, Any]:
        """Describe how the outputs are made, so that they can be reproduced."""
        request = self.request
        further = {
            name: {"path": file.name, "sha256": file.sha256} for name, file in self.further_models.items()
        }
        model = {"name": request.model, "path": str(shipped.require_model(request.model))}
        return {
            "input": [describe_file(path) for path in inputs],
            "model": {**model, "sha256": self.model_file.sha256},
            **further,
            **request.deciding,
            "seed_from": describe_file(request.seed_from) if request.seed_from else None,
            "coherence": describe_file(request.coherence) if request.coherence else None,
            "device": request.device,
        }


def _resume_key(description: dict[str, Any], request: Request, device: torch.device) -> dict[str, object]:
    """Return everything that determines the frames of a run, by the names used in messages."""
    return {
        "input": [entry["sha256"] for entry in description["input"]],
        "model": description["model"]["sha256"],
        "model that estimates C-alphas": description.get("bead_model", {}).get("sha256"),
        "trajectory to start from": description["seed_from"] and description["seed_from"]["sha256"],
        "rates of coherent frames": description["coherence"] and description["coherence"]["sha256"],
        **request.deciding,
        "device": device.type,
        **manifest.version_key(),
    }


@contextmanager
def noting_what_is_kept(journal: Journal, frames: int) -> Iterator[None]:
    """Add a note to any exception that says how much of the run can be resumed."""
    try:
        yield
    except BaseException as error:
        if journal.progress.frames_done and journal.folder.is_dir():
            kept = f"{journal.progress.frames_done} of {counted(frames, 'frame')}"
            error.add_note(f"{journal.folder} keeps {kept}; continue with --resume")
        raise
