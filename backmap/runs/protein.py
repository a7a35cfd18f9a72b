"""Runs of models that build each frame of a protein separately."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backmap.errors import InputEndsEarly, InputError
from backmap.io import GrowingOutput, Journal, open_source, require_output_format
from backmap.io.selection.links import read_links
from backmap.models.model_file import ModelFile

from .c_alpha_record import CAlphaRecord, describe_cis, describe_motion, describe_noise, describe_strain
from .expected_errors import ExpectedErrors
from .outputs import Outputs
from .pool import Pool
from .progress_report import ProgressReport
from .protein_frames import (
    OVERLAP_NM,
    frames_per_batch,
    to_step,
)
from .protein_plan import ProteinPlan
from .read_ahead import read_ahead
from .recorder import Recorder
from .request import Request
from .run import Run
from .wording import counted, numbered, rounded

_MANY_JUMPS = 0.2
"""Share of jumps between coherent frames that is worth a warning."""


class ProteinRun(Run):
    """Builds every frame of one input."""

    def __init__(self, request: Request, model: ModelFile) -> None:
        super().__init__(request, model)
        if len(request.input) > 1:
            raise InputError(f"{request.input[1]}: {model.family} models take one input; run once per input")
        require_output_format(request.output)
        self._source = source = open_source(
            request.input[0],
            request.top,
            skip_unknown=request.skip_unknown,
            frames=request.frames,
            skip_bad=request.on_bad_frame == "skip",
            sequence=request.sequence,
            beads=request.beads,
            residue_file=request.residues,
            others=request.others(model.family),
            nucleic_beads=request.nucleic_beads,
            links=read_links(request.link or ()),
        )
        self.sources, self.steps, self.residues = [source], source.n_frames, source.n_residues
        self._plan = ProteinPlan.make(source, model, request)
        self.atoms, self.layout = self.choose_atoms(self._plan.atoms)

    @property
    def further_models(self) -> dict[str, ModelFile]:
        """The model that estimates C-alphas from beads, if there is one."""
        estimator = self._plan.job.estimator
        return {} if estimator is None else {"bead_model": estimator}

    def frames_built(self, journal: Journal) -> int:
        """Return the number of frames, over all samples, that an earlier run built."""
        return journal.progress.frames_done * self.request.samples

    def build(
        self, pool: Pool, outputs: Outputs, journal: Journal, report: ProgressReport
    ) -> Sequence[InputEndsEarly]:
        """Build and write the remaining frames."""
        request, source = self.request, self._source
        if journal.progress.frames_done == source.n_frames:
            return self.early_ends()
        batch = journal.progress.notes.get("batch") or self._frames_per_batch(pool)
        skipped = list(journal.progress.notes.get("skipped", ()))
        unfinished = journal.progress.notes.get("unfinished", 0)
        jumps = journal.progress.notes.get("jumps", 0)
        overlaps = journal.progress.notes.get("overlaps", [0, 0])
        strained_nucleotides = journal.progress.notes.get("strained_nucleotides", 0)
        c_alphas = CAlphaRecord.from_notes(journal.progress.notes.get("c_alphas", {}))
        errors = ExpectedErrors.from_notes(journal.progress.notes.get("expected_errors", {}))
        grown = self.whole_outputs(outputs, journal)
        chunks = read_ahead(source.chunks(batch, journal.progress.frames_done))
        pieces = -(-(source.n_frames - journal.progress.frames_done) // batch)
        with (
            pool.workers(self._plan.job, pieces) as workers,
            Recorder(journal, grown, chunk=request.chunk, written=report.update) as recorder,
        ):
            try:
                for built in self._plan.build(workers, chunks, journal.progress.state):
                    skipped = skipped + built.chunk.skipped.tolist()
                    unfinished += built.failures
                    jumps += built.n_jumps
                    strained_nucleotides += built.n_strained_nucleotides
                    if built.overlaps is not None:
                        new = int(built.overlaps.sum()), int((built.overlaps > 0).sum())
                        overlaps = [one + other for one, other in zip(overlaps, new, strict=True)]
                    c_alphas = c_alphas.followed_by(built.c_alphas, source.topology, source.name)
                    if request.confidence:
                        errors += ExpectedErrors.of(built, self._plan.kept)
                    notes = {
                        "skipped": skipped,
                        "unfinished": unfinished,
                        "jumps": jumps,
                        "overlaps": overlaps,
                        "strained_nucleotides": strained_nucleotides,
                        "batch": batch,
                        "c_alphas": c_alphas.to_notes(),
                        "expected_errors": errors.to_notes(),
                    }
                    recorder.add(to_step(built, self.layout, notes, request.confidence))
            except InputEndsEarly as failure:
                return [failure]
        return []

    def whole_outputs(self, outputs: Outputs, journal: Journal) -> list[GrowingOutput]:
        """Open the outputs at their current lengths."""
        return outputs.grow(journal, self.atoms, self._source.frame_interval_ps)

    def _frames_per_batch(self, pool: Pool) -> int:
        size = self.residues, self.request.draws_in_memory
        return self.request.batch or frames_per_batch(*size, pool.device, pool.sharing)

    def outcome(self, journal: Journal) -> dict[str, Any]:
        """Return what was left out, and the record of the C-alphas."""
        notes = journal.progress.notes
        skipped = [number + 1 for number in notes.get("skipped", [])]
        n_atoms, n_structures = notes.get("overlaps", [0, 0])
        return {
            "overlaps_with_others": {"n_atoms": n_atoms, "n_structures": n_structures},
            "strained_nucleotides": notes.get("strained_nucleotides", 0),
            "skipped_frames": skipped,
            "structures_not_minimised": notes.get("unfinished", 0),
            **({"jumps": notes.get("jumps", 0)} if self.request.coherent else {}),
            **({"expected_errors": self._expected_errors(notes)} if self.request.confidence else {}),
            **CAlphaRecord.from_notes(notes.get("c_alphas", {})).summary(
                self._source.topology, self._source.beads_name
            ),
        }

    def _expected_errors(self, notes: dict[str, Any]) -> list[dict[str, Any]]:
        errors = ExpectedErrors.from_notes(notes.get("expected_errors", {}))
        return errors.summary(self._plan.atoms, self._plan.kept)

    def warnings(self, outcome: dict[str, Any], outputs: Outputs) -> Iterator[str]:
        """Report what was left out, and unusual peptide bonds."""
        if cis := describe_cis(outcome):
            yield f"{self._source.name}: {cis}"
        if noise := describe_noise(outcome, self.request.bead_noise):
            yield f"{self._source.name}: {noise}"
        if strain := describe_strain(outcome):
            yield f"{self._source.name}: {strain}"
        jumps, steps = outcome.get("jumps", 0), self.steps - 1
        if jumps > _MANY_JUMPS * steps:
            yield (
                f"{self._source.name}: {jumps} of {counted(steps, 'step')} between frames are jumps, where "
                "atoms begin anew; coherent frames are those of one trajectory that follow each other closely"
            )
        if outcome["skipped_frames"]:
            yield f"{self._source.name}: left out {numbered(outcome['skipped_frames'])}"
        if outcome["strained_nucleotides"]:
            yield (
                f"{self._source.name}: {counted(outcome['strained_nucleotides'], 'nucleotide')} with bonds "
                "more than 10 % off; no molecule fits the beads there"
            )
        near = outcome["overlaps_with_others"]
        if near["n_atoms"]:
            yield (
                f"{self._source.name}: {counted(near['n_atoms'], 'built atom')} in "
                f"{counted(near['n_structures'], 'structure')} closer than {OVERLAP_NM} nm to molecules that "
                "are carried along; only side chains avoid them"
            )
        if outcome["structures_not_minimised"]:
            number = counted(outcome["structures_not_minimised"], "structure")
            yield f"{self._source.name}: {number} could not be minimised; left as built"

    def summary(self, outcome: dict[str, Any], report: ProgressReport) -> str:
        """Summarise what was built, how fast, and how far atoms are from what they were built from."""
        speed = report.frames_built * self.residues / report.seconds
        said = f"{rounded(speed)} residues/s" if report.frames_built else "all built before"
        n_frames = self.steps - len(outcome["skipped_frames"])
        numbers = (n_frames, "frame"), (self.residues, "residue"), (self.request.samples, "sample")
        sizes = [counted(number, noun) for number, noun in numbers]
        motion = describe_motion(outcome)
        line = f"reconstructed {' x '.join(sizes)} in {report.seconds:.1f} s ({said})"
        if outcome.get("jumps"):
            line += f", {counted(outcome['jumps'], 'jump')} between frames"
        return f"{line}, {motion}" if motion else line
