"""``backmap reconstruct`` for models that build every frame on its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from backmap.errors import InputEndsEarly, InputError

from .reconstruction import (
    Pool,
    Reconstruction,
    choose_atoms,
    counted,
    frame_range,
    numbered,
    rounded,
)

if TYPE_CHECKING:
    from backmap.io import GrowingOutput, Journal, Source
    from backmap.models.checkpoint import ModelFile
    from backmap.runs.outputs import Outputs
    from backmap.runs.report import Report


class ProteinReconstruction(Reconstruction):
    """Builds every frame of one input."""

    def __init__(self, arguments: argparse.Namespace, model: ModelFile) -> None:
        from backmap.io import require_output_format
        from backmap.runs.protein_plan import ProteinOptions, ProteinPlan

        super().__init__(arguments, model)
        if len(arguments.input) > 1:
            raise InputError(f"{arguments.input[1]}: {model.family} models take one input; run once for each")
        require_output_format(arguments.output)
        self._source = source = self._open_source()
        self.sources, self.steps, self.residues = [source], source.frames, source.topology.residues
        names = [field.name for field in fields(ProteinOptions)]
        options = ProteinOptions(**{name: getattr(arguments, name) for name in names})
        self._plan = ProteinPlan.make(source, model, options)
        built = self._plan.atoms
        self.atoms, self._layout = choose_atoms(arguments, built)

    def _open_source(self) -> Source:
        from backmap.io import open_source

        arguments = self._arguments
        return open_source(
            arguments.input[0],
            arguments.top,
            skip_unknown=arguments.skip_unknown,
            frames=frame_range(arguments),
            skip_bad=arguments.on_bad_frame == "skip",
            sequence=arguments.sequence,
        )

    def frames_built(self, journal: Journal) -> int:
        """Frames of all samples that an earlier run has built."""
        return journal.progress.frames_done * self._arguments.samples

    def build(
        self, pool: Pool, outputs: Outputs, journal: Journal, report: Report
    ) -> Sequence[InputEndsEarly]:
        """Build and write the frames that are not there yet."""
        from backmap.runs.c_alpha_record import CAlphaRecord
        from backmap.runs.frames import build_frames, to_step
        from backmap.runs.read_ahead import read_ahead
        from backmap.runs.recorder import Recorder

        arguments, source = self._arguments, self._source
        if journal.progress.frames_done == source.frames:
            return self.early_ends()
        batch = journal.progress.notes.get("batch") or self._frames_per_batch(pool)
        skipped = list(journal.progress.notes.get("skipped", ()))
        unfinished = journal.progress.notes.get("unfinished", 0)
        c_alphas = CAlphaRecord.from_notes(journal.progress.notes.get("c_alphas", {}))
        grown = self.whole_outputs(outputs, journal)
        chunks = read_ahead(source.chunks(batch, journal.progress.frames_done))
        with (
            pool.workers(self._plan.job) as workers,
            Recorder(journal, grown, chunk=arguments.chunk, written=report.update) as recorder,
        ):
            try:
                for built in build_frames(workers, chunks, self._plan.kept, arguments.samples):
                    skipped = skipped + built.chunk.skipped.tolist()
                    unfinished += built.failures
                    c_alphas += built.c_alphas
                    notes = {
                        "skipped": skipped,
                        "unfinished": unfinished,
                        "batch": batch,
                        "c_alphas": c_alphas.to_notes(),
                    }
                    recorder.add(to_step(built, self._layout, notes))
            except InputEndsEarly as failure:
                return [failure]
        return []

    def whole_outputs(self, outputs: Outputs, journal: Journal) -> list[GrowingOutput]:
        """Open the outputs as far as they have grown."""
        return outputs.grow(journal, self.atoms, self._source.frame_interval_ps)

    def _frames_per_batch(self, pool: Pool) -> int:
        from backmap.runs.frames import frames_per_batch

        size = self.residues, self._arguments.samples
        return self._arguments.batch or frames_per_batch(*size, pool.device, pool.sharing)

    def outcome(self, journal: Journal) -> dict[str, Any]:
        """What was left out, and what became of the C-alphas."""
        from backmap.runs.c_alpha_record import CAlphaRecord

        notes = journal.progress.notes
        skipped = [number + 1 for number in notes.get("skipped", [])]
        return {
            "skipped_frames": skipped,
            "structures_not_minimised": notes.get("unfinished", 0),
            **CAlphaRecord.from_notes(notes.get("c_alphas", {})).summary(self._source.topology),
        }

    def warnings(self, outcome: dict[str, Any], outputs: Outputs) -> Iterator[str]:
        """Say what was left out, and which peptides are unusual."""
        from backmap.runs.c_alpha_record import describe_cis

        if cis := describe_cis(outcome):
            yield f"{self._source.name}: {cis}"
        if outcome["skipped_frames"]:
            yield f"{self._source.name}: left out {numbered(outcome['skipped_frames'])}"
        if outcome["structures_not_minimised"]:
            number = counted(outcome["structures_not_minimised"], "structure")
            yield f"{self._source.name}: {number} could not be minimised, and stayed as built"

    def closing_line(self, outcome: dict[str, Any], report: Report) -> str:
        """Say what was built and how fast, and how far C-alphas moved."""
        from backmap.runs.c_alpha_record import describe_motion

        speed = report.frames_built * self.residues / report.seconds
        said = f"{rounded(speed)} residues/s" if report.frames_built else "all built before"
        sizes = [
            counted(number, noun)
            for number, noun in (
                (self.steps, "frame"), (self.residues, "residue"), (self._arguments.samples, "sample")
            )
        ]  # fmt: skip
        motion = describe_motion(outcome)
        line = f"reconstructed {' x '.join(sizes)} in {report.seconds:.1f} s ({said})"
        return f"{line}, {motion}" if motion else line
