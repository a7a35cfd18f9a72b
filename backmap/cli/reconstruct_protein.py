"""``backmap reconstruct`` for models that build every frame on its own."""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backmap import api
from backmap.errors import InputEndsEarly, InputError, InputWarning

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
    from backmap.inference.protein_job import ProteinJob
    from backmap.io import AtomList, GrowingOutput, Journal, Source
    from backmap.models.checkpoint import ModelFile
    from backmap.runs.outputs import Outputs
    from backmap.runs.report import Report


def run(arguments: argparse.Namespace, model: ModelFile) -> int:
    """Build every frame of one input."""
    from backmap.io import Journal, open_source
    from backmap.runs.outputs import Outputs
    from backmap.runs.report import Report

    if len(arguments.input) > 1:
        raise InputError(f"{arguments.input[1]}: {model.family} models take one input; run once for each")
    outputs = Outputs.plan(arguments.output, arguments.input, arguments.samples, arguments.one_file)
    source = open_source(
        arguments.input[0],
        arguments.top,
        skip_unknown=arguments.skip_unknown,
        frames=frame_range(arguments),
        skip_bad=arguments.on_bad_frame == "skip",
    )
    description = describe_run(arguments, model, [source])
    with open_pool(arguments) as pool:
        request = request_of(description, pool.device)
        again = {"resume": arguments.resume, "overwrite": arguments.overwrite}
        with Journal(outputs.unfinished, request, **again) as journal:
            whole = Whole(arguments, model, source, pool)
            outputs.require_free(
                whole.atoms, source.files, overwrite=arguments.overwrite or journal.is_publishing
            )
            done = journal.progress.frames_done * arguments.samples
            size = source.frames * arguments.samples, source.topology.residues
            with Report(*size, done=done, quiet=arguments.quiet, log=arguments.log) as report:
                report.note("start", run=description)
                failure = whole.build(outputs, journal, report)
                whole.finish(outputs, journal, description)
                report.note("end", outputs=[str(path) for path in outputs.all_paths])
    if not arguments.quiet:
        print(_closing_line(source, outputs, arguments.samples, report), file=sys.stderr)
    if failure is not None:
        raise InputEndsEarly(f"{failure}; those frames are in {named(outputs.all_paths)}")
    return 0


def _closing_line(source: Source, outputs: Outputs, samples: int, report: Report) -> str:
    frames, residues = source.frames, source.topology.residues
    speed = report.frames_built * residues / report.seconds
    said = f"{rounded(speed)} residues/s" if report.frames_built else "all built before"
    size = f"{counted(frames, 'frame')} x {counted(residues, 'residue')} x {counted(samples, 'sample')}"
    return f"reconstructed {size} in {report.seconds:.1f} s ({said}) -> {named(outputs.all_paths)}"


class Whole:
    """Everything between an input and its outputs."""

    def __init__(self, arguments: argparse.Namespace, model: ModelFile, source: Source, pool: Pool) -> None:
        from backmap.inference.protein_job import ProteinJob
        from backmap.io import listed, select_listed
        from backmap.runs.frames import Kept, listed_atoms

        self._arguments, self._source, self._pool = arguments, source, pool
        job = ProteinJob(
            name=source.name,
            model=model,
            topology=source.topology,
            linked=source.linked,
            samples=arguments.samples,
            seed=arguments.seed,
            ddim_steps=arguments.ddim_steps,
            redraws=arguments.redraws,
            given=source.present if arguments.keep_given else None,
        )
        self._job, built = self._with_finishing(job, listed_atoms(source.topology))
        stays = job.c_alphas if arguments.minimise else None
        self._kept = Kept.find(built, source.topology, job.read, stays)
        self._selected = None if arguments.atoms is None else select_listed(built, arguments.atoms)
        self.atoms: AtomList = built if self._selected is None else listed(built, self._selected)

    def _with_finishing(self, job: ProteinJob, built: AtomList) -> tuple[ProteinJob, AtomList]:
        """Add what is done to built frames, and give the atoms there are then."""
        arguments, finishing = self._arguments, []
        if arguments.hydrogens or arguments.minimise:
            from backmap.postprocessing import Hydrogens, RestrainedMinimisation
            from backmap.runs.frames import build_reference

            if arguments.hydrogens:
                with api.explained():
                    reference = build_reference(job, self._source, built)
                finishing.append(Hydrogens(built, reference, ph=arguments.ph))
                built = finishing[0].atoms
            if arguments.minimise:
                finishing.append(RestrainedMinimisation(built, iterations=arguments.minimise))
        return replace(job, finishing=finishing), built

    def build(self, outputs: Outputs, journal: Journal, report: Report) -> InputEndsEarly | None:
        """Build and write the frames that are not there yet.

        Returns
        -------
        InputEndsEarly, optional
            What was wrong, if the input ends in the middle of a frame.
        """
        from backmap.runs.frames import build_frames, to_step
        from backmap.runs.read_ahead import read_ahead
        from backmap.runs.recorder import Recorder

        arguments, source = self._arguments, self._source
        if journal.progress.frames_done == source.frames:
            return None
        batch = journal.progress.notes.get("batch") or self._frames_per_batch()
        skipped = list(journal.progress.notes.get("skipped", ()))
        unfinished = journal.progress.notes.get("unfinished", 0)
        grown = self._grow(outputs, journal)
        chunks = read_ahead(source.chunks(batch, journal.progress.frames_done))
        with (
            telling_what_is_kept(journal, source.frames),
            self._pool.workers(self._job) as workers,
            Recorder(journal, grown, chunk=arguments.chunk, written=report.update) as recorder,
        ):
            try:
                for built in build_frames(workers, chunks, self._kept, arguments.samples):
                    skipped = skipped + built.chunk.skipped.tolist()
                    unfinished += built.failures
                    notes = {"skipped": skipped, "unfinished": unfinished, "batch": batch}
                    recorder.add(to_step(built, self._selected, notes, arguments.one_file))
            except InputEndsEarly as failure:
                return failure
        return None

    def _grow(self, outputs: Outputs, journal: Journal) -> list[GrowingOutput]:
        return outputs.grow(journal, self.atoms, self._source.frame_interval_ps)

    def _frames_per_batch(self) -> int:
        from backmap.runs.frames import frames_per_batch

        size = self._source.topology.residues, self._arguments.samples
        return self._arguments.batch or frames_per_batch(*size, self._pool.device, self._pool.sharing)

    def finish(self, outputs: Outputs, journal: Journal, description: dict[str, Any]) -> None:
        """Give the outputs their names, and say how they were made and what was left out."""
        skipped = journal.progress.notes.get("skipped", [])
        unfinished = journal.progress.notes.get("unfinished", 0)
        record = {
            **description,
            "skipped_frames": [number + 1 for number in skipped],
            "structures_not_minimised": unfinished,
        }
        outputs.finish(journal, self.atoms, lambda: self._grow(outputs, journal), record)
        if skipped:
            warnings.warn(f"{self._source.name}: left out {numbered(skipped)}", InputWarning, stacklevel=2)
        if unfinished:
            warnings.warn(
                f"{self._source.name}: {counted(unfinished, 'structure')} could not be minimised, "
                "and stayed as built",
                InputWarning,
                stacklevel=2,
            )
