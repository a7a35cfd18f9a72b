"""``backmap reconstruct`` for temporal models, which build a frame from the frames before it."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from backmap.errors import InputEndsEarly, InputWarning

from .reconstruct import (
    Pool,
    counted,
    describe_run,
    frame_range,
    named,
    numbered,
    open_pool,
    request_of,
    rounded,
    telling_what_is_kept,
)

if TYPE_CHECKING:
    from backmap.inference.along_time import Tally
    from backmap.inference.rollout_job import RolloutJob
    from backmap.io import BeadSource, GrowingOutput, Journal
    from backmap.models.checkpoint import ModelFile
    from backmap.models.temporal.model import TemporalModel
    from backmap.runs.outputs import Outputs
    from backmap.runs.report import Report


def run(arguments: argparse.Namespace, model: ModelFile) -> int:
    """Roll a model along all inputs side by side."""
    from backmap.io import Journal
    from backmap.runs.outputs import Outputs
    from backmap.runs.report import Report

    outputs = Outputs.plan(arguments.output, arguments.input, arguments.samples, arguments.one_file)
    with open_pool(arguments) as pool:
        whole = Whole(arguments, model, pool)
        sources = whole.sources
        description = describe_run(arguments, model, sources)
        request = request_of(description, pool.device)
        again = {"resume": arguments.resume, "overwrite": arguments.overwrite}
        with Journal(outputs.unfinished, request, **again) as journal:
            files = [file for source in sources for file in source.files]
            overwrite = arguments.overwrite or journal.is_publishing
            outputs.require_free(whole.atoms, files, overwrite=overwrite)
            size = sum(source.frames for source in sources) * arguments.samples, whole.residues
            done = whole.frames_built(journal)
            with Report(*size, done=done, quiet=arguments.quiet, log=arguments.log) as report:
                report.note("start", run=description)
                failures = whole.build(outputs, journal, report)
                tally = whole.finish(outputs, journal, description)
                report.note("end", outputs=[str(path) for path in outputs.all_paths])
    _warn_of_unphysical(tally, arguments.input, outputs)
    if not arguments.quiet:
        print(_closing_line(tally, sources, outputs, arguments.samples, report), file=sys.stderr)
    if failures:
        raise InputEndsEarly(f"{failures[0]}; those frames are in {named(outputs.all_paths)}")
    return 0


class Whole:
    """Everything between inputs and their outputs."""

    def __init__(self, arguments: argparse.Namespace, model: ModelFile, pool: Pool) -> None:
        from backmap.inference.rollout_job import RolloutJob, make_refinement
        from backmap.io import AtomList, listed, select_listed
        from backmap.runs import rollout

        self._arguments, self._pool = arguments, pool
        self._job = RolloutJob(
            model=model,
            samples=arguments.samples,
            seed=arguments.seed,
            refine=arguments.refine,
            temperature_kelvin=arguments.temperature,
        )
        self._model = self._load()
        make_refinement(self._model, arguments.model, arguments.refine, arguments.temperature)
        self.sources = self._open_sources()
        lengths = [source.frames for source in self.sources]
        self._strands = rollout.plan_strands(lengths, arguments.segments, arguments.burn_in)
        built = AtomList.of_molecule(self._model.molecule)
        self.residues = len(built.residues)
        self._selected = None if arguments.atoms is None else select_listed(built, arguments.atoms)
        self.atoms = built if self._selected is None else listed(built, self._selected)
        self._rollout = rollout.Rollout(
            self._model,
            self.sources,
            self._strands,
            samples=arguments.samples,
            device=pool.device,
            frames_per_chunk=arguments.batch,
        )

    def _load(self) -> TemporalModel:
        """Load the model for checks, and the frames that a rollout is to start from."""
        from dataclasses import replace

        from backmap import api
        from backmap.runs import rollout

        with api.explained():
            model = self._job.load("cpu")
        if self._arguments.seed_from:
            library = rollout.read_library(model, self._arguments.seed_from)
            self._job: RolloutJob = replace(self._job, library=library)
            model = self._job.load("cpu")
        return model

    def _open_sources(self) -> list[BeadSource]:
        """Open the inputs, having looked at the first frames of each."""
        from backmap.io import open_beads
        from backmap.runs import rollout

        arguments, model = self._arguments, self._model
        rollout.allow_open_files(len(arguments.input))
        sources = [
            open_beads(
                given,
                model.molecule,
                model.mapping,
                arguments.top,
                frames=frame_range(arguments),
                skip_bad=arguments.on_bad_frame == "skip",
            )
            for given in arguments.input
        ]
        for source in sources:
            rollout.check_source(source, model)
        return sources

    def frames_built(self, journal: Journal) -> int:
        """Frames of all trajectories and samples that an earlier run has built."""
        done = journal.progress.frames_done
        kept = (min(strand.first + done, strand.end) - strand.begin for strand in self._strands)
        return self._arguments.samples * sum(max(0, frames) for frames in kept)

    def build(self, outputs: Outputs, journal: Journal, report: Report) -> list[InputEndsEarly]:
        """Build and write the frames that are not there yet.

        Returns
        -------
        list of InputEndsEarly
            What was wrong with inputs that end in the middle of a frame.
        """
        from backmap.io import Progress
        from backmap.runs.recorder import Recorder
        from backmap.runs.rollout import to_step

        arguments, done = self._arguments, journal.progress
        if done.frames_done == self._rollout.steps:
            return []
        skipped = {name: set(numbers) for name, numbers in done.notes.get("skipped", {}).items()}
        grown = self._grow(outputs, journal)
        with (
            telling_what_is_kept(journal, self._rollout.steps),
            self._pool.workers(self._job, self._rollout.groups) as workers,
            Recorder(journal, grown, chunk=arguments.chunk, written=report.update) as recorder,
        ):
            for frames_done, pieces, state in self._rollout.run(workers, done.state, done.frames_done):
                for strand, piece in zip(self._strands, pieces, strict=True):
                    name = self.sources[strand.trajectory].name
                    skipped.setdefault(name, set()).update(piece.chunk.skipped.tolist())
                notes = {"skipped": {name: sorted(numbers) for name, numbers in skipped.items()}}
                progress = Progress(frames_done, state=state, notes=notes)
                step = to_step(pieces, progress, arguments.samples, self._selected, arguments.one_file)
                recorder.add(step)
        return self._rollout.failures

    def _grow(self, outputs: Outputs, journal: Journal) -> list[GrowingOutput]:
        """Open one output for every strand and file; those of later segments are parts of the first one's."""
        from backmap.io import GrowingOutput

        repeats = self._arguments.samples if self._arguments.one_file else 1
        return [
            GrowingOutput(
                journal.folder,
                path,
                self.atoms,
                lengths=journal.progress.lengths,
                first_model=repeats * strand.begin if strand.begin else None,
                frame_interval_ps=self.sources[strand.trajectory].frame_interval_ps,
            )
            for strand in self._strands
            for path in outputs.paths[strand.trajectory]
        ]

    def finish(self, outputs: Outputs, journal: Journal, description: dict[str, Any]) -> Tally:
        """Join segments, give the outputs their names, and say how they were made and what was left out."""
        from backmap.runs.rollout import describe_tally, tally_by_trajectory

        tally = tally_by_trajectory(journal.progress.state, self._strands, len(self.sources))
        skipped = journal.progress.notes.get("skipped", {})
        names = [source.name for source in self.sources]
        description["rollout"] = describe_tally(tally, names)
        description["skipped_frames"] = {
            name: [number + 1 for number in numbers] for name, numbers in skipped.items() if numbers
        }
        outputs.finish(journal, self.atoms, lambda: self._joined(self._grow(outputs, journal)), description)
        for name, numbers in skipped.items():
            if numbers:
                warnings.warn(f"{name}: left out {numbered(numbers)}", InputWarning, stacklevel=2)
        return tally

    def _joined(self, grown: Sequence[GrowingOutput]) -> list[GrowingOutput]:
        """Put the parts of every output behind its beginning."""
        files = len(grown) // len(self._strands)
        whole: list[GrowingOutput] = []
        for number, strand in enumerate(self._strands):
            outputs = grown[number * files : (number + 1) * files]
            if not strand.begin:
                whole += outputs
                continue
            for output, part in zip(whole[-files:], outputs, strict=True):
                output.take(part)
        return whole


def _closing_line(
    tally: Tally, sources: Sequence[BeadSource], outputs: Outputs, samples: int, report: Report
) -> str:
    """Say what was built, how fast, and what the monitor saw."""
    frames = sum(source.frames for source in sources)
    sizes = [counted(frames, "frame"), counted(samples, "sample")]
    if len(sources) > 1:
        sizes = [f"{counted(len(sources), 'trajectory', 'trajectories')} of together {sizes[0]}", sizes[1]]
    built = report.frames_built
    speed = f"{rounded(built / report.seconds)} frames/s" if built else "all built before"
    counts = [(tally.redraws, "re-draw"), (tally.reseeds, "re-seed"), (tally.unphysical, "unphysical frame")]
    watched = ", ".join(counted(int(number.sum()), noun) for number, noun in counts)
    mean = tally.residual_sum.sum() / tally.frames.sum()
    return (
        f"rolled out {' x '.join(sizes)} in {report.seconds:.1f} s ({speed}); {watched}; "
        f"coarse-grained residual {mean:.2g} nm, at most {tally.largest_residual.max():.2g} nm "
        f"-> {named(outputs.all_paths)}"
    )


def _warn_of_unphysical(tally: Tally, inputs: Sequence[str], outputs: Outputs) -> None:
    for index in tally.unphysical.nonzero()[0]:
        warnings.warn(
            f"{inputs[index]}: {counted(int(tally.unphysical[index]), 'frame')} stayed unphysical after all "
            f"re-draws (counted in {outputs.record.name}); are its beads like those of the training data?",
            InputWarning,
            stacklevel=2,
        )
