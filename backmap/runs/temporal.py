"""Runs of temporal models, which build each frame from the frames before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backmap.errors import InputEndsEarly
from backmap.inference.temporal_job import TemporalJob, make_refinement
from backmap.io import AtomList, BeadSource, GrowingOutput, Journal, Progress, open_beads
from backmap.models.model_file import ModelFile

from .outputs import Outputs
from .pool import Pool
from .progress_report import ProgressReport
from .recorder import Recorder
from .request import Building, Request
from .run import Run
from .temporal_frames import (
    Rollout,
    allow_open_files,
    check_sources,
    describe_tally,
    plan_strands,
    read_library,
    tally_by_trajectory,
    to_step,
)
from .wording import counted, numbered, rounded

if TYPE_CHECKING:
    from backmap.models.temporal.model import TemporalModel


def rollout_job(model: ModelFile, asked: Building) -> TemporalJob:
    """Make the job that rolls out a model as requested."""
    return TemporalJob(
        model=model,
        samples=asked.samples,
        seed=asked.seed,
        refine=asked.refine,
        temperature_kelvin=asked.temperature,
    )


class TemporalRun(Run):
    """Rolls out a model along all inputs in parallel."""

    sources: Sequence[BeadSource]

    def __init__(self, request: Request, model: ModelFile) -> None:
        super().__init__(request, model)
        self._job = rollout_job(model, request)
        self._model = self._load()
        make_refinement(self._model, request.model, request.refine, request.temperature)
        self.sources = self._open_sources()
        lengths = [source.n_frames for source in self.sources]
        self._strands = plan_strands(lengths, request.segments, request.burn_in)
        self.steps = max(strand.end - strand.first for strand in self._strands)
        built = AtomList.of_molecule(self._model.molecule)
        self.residues = len(built.residues)
        self.atoms, self.layout = self.choose_atoms(built)

    def _load(self) -> TemporalModel:
        """Load the model for checks, and the frames that rollouts start from."""
        model = self._job.load("cpu")
        if self.request.seed_from:
            library = read_library(model, self.request.seed_from)
            self._job = replace(self._job, library=library)
            model = self._job.load("cpu")
        return model

    def _open_sources(self) -> list[BeadSource]:
        """Open the inputs, and check the first frames of each."""
        request, model = self.request, self._model
        allow_open_files(len(request.input))
        sources = [
            open_beads(
                given,
                model.molecule,
                model.mapping,
                request.top,
                frames=request.frames,
                skip_bad=request.on_bad_frame == "skip",
            )
            for given in request.input
        ]
        check_sources(sources, model)
        return sources

    def frames_built(self, journal: Journal) -> int:
        """Return the number of frames, over all trajectories and samples, that an earlier run built."""
        done = journal.progress.frames_done
        kept = (min(strand.first + done, strand.end) - strand.begin for strand in self._strands)
        return self.request.samples * sum(max(0, frames) for frames in kept)

    def build(
        self, pool: Pool, outputs: Outputs, journal: Journal, report: ProgressReport
    ) -> Sequence[InputEndsEarly]:
        """Build and write the remaining frames."""
        request, done = self.request, journal.progress
        if done.frames_done == self.steps:
            return self.early_ends()
        rollout = Rollout(
            self._model,
            self.sources,
            self._strands,
            samples=request.samples,
            device=pool.device,
            frames_per_chunk=request.batch,
        )
        skipped = {name: set(numbers) for name, numbers in done.notes.get("skipped", {}).items()}
        grown = self._grow(outputs, journal)
        with (
            pool.workers(self._job, rollout.groups) as workers,
            Recorder(journal, grown, chunk=request.chunk, written=report.update) as recorder,
        ):
            for frames_done, pieces, state in rollout.run(workers, done.state, done.frames_done):
                for strand, piece in zip(self._strands, pieces, strict=True):
                    name = self.sources[strand.trajectory].name
                    skipped.setdefault(name, set()).update(piece.chunk.skipped.tolist())
                notes = {"skipped": {name: sorted(numbers) for name, numbers in skipped.items()}}
                progress = Progress(frames_done, state=state, notes=notes)
                recorder.add(to_step(pieces, self.layout, progress, request.samples))
        return rollout.failures

    def whole_outputs(self, outputs: Outputs, journal: Journal) -> list[GrowingOutput]:
        """Open the outputs, and append the later parts of each to its first part."""
        return self._joined(self._grow(outputs, journal))

    def _grow(self, outputs: Outputs, journal: Journal) -> list[GrowingOutput]:
        """Open one output per strand and file; later segments are joined to the first one later."""
        samples = self.request.samples
        repeats = samples // self.layout.files(samples)
        return [
            GrowingOutput(
                journal.folder,
                path,
                self.atoms,
                lengths=journal.progress.lengths,
                first_model=repeats * strand.begin if strand.begin else None,
                frame_interval_ps=self.sources[strand.trajectory].frame_interval_ps,
                finishing=journal.progress.finishing,
            )
            for strand in self._strands
            for path in outputs.paths[strand.trajectory]
        ]

    def _joined(self, grown: Sequence[GrowingOutput]) -> list[GrowingOutput]:
        """Append the later parts of every output to its first part."""
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

    def outcome(self, journal: Journal) -> dict[str, Any]:
        """Return what the monitor counted, and what was left out."""
        tally = tally_by_trajectory(journal.progress.state, self._strands, len(self.sources))
        skipped = journal.progress.notes.get("skipped", {})
        return {
            "rollout": describe_tally(tally, [source.name for source in self.sources]),
            "skipped_frames": {
                name: [n + 1 for n in numbers] for name, numbers in skipped.items() if numbers
            },
        }

    def warnings(self, outcome: dict[str, Any], outputs: Outputs) -> Iterator[str]:
        """Report what was left out, and what remained unphysical."""
        for name, numbers in outcome["skipped_frames"].items():
            yield f"{name}: left out {numbered(numbers)}"
        for counts in outcome["rollout"]:
            if counts["unphysical"]:
                frames = counted(counts["unphysical"], "frame")
                yield (
                    f"{counts['trajectory']}: {frames} remained unphysical after repeated draws (see "
                    f"{outputs.record.name}); check that its beads resemble those of the training data"
                )

    def summary(self, outcome: dict[str, Any], report: ProgressReport) -> str:
        """Summarise what was built, how fast, and what the monitor counted."""
        frames = sum(source.n_frames for source in self.sources)
        sizes = [counted(frames, "frame"), counted(self.request.samples, "sample")]
        if len(self.sources) > 1:
            number = counted(len(self.sources), "trajectory", "trajectories")
            sizes[0] = f"{number} with {sizes[0]} in total"
        built = report.frames_built
        speed = f"{rounded(built / report.seconds)} frames/s" if built else "all built before"
        counts = outcome["rollout"]
        nouns = {"redraws": "repeated draw", "reseeds": "restart", "unphysical": "unphysical frame"}
        watched = ", ".join(counted(sum(row[name] for row in counts), noun) for name, noun in nouns.items())
        total = sum(row["frames"] for row in counts)
        mean = sum(row["mean_residual_nm"] * row["frames"] for row in counts) / total
        largest = max(row["largest_residual_nm"] for row in counts)
        return (
            f"reconstructed {' x '.join(sizes)} in {report.seconds:.1f} s ({speed}); {watched}; "
            f"distance of beads from the input {mean:.2g} nm, at most {largest:.2g} nm"
        )
