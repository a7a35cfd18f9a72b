"""Simulations of coarse-grained molecules, from a force field to trajectories; resumable."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from backmap.cg.langevin import LangevinDynamics, ReplicaState, is_sound
from backmap.cg.model import load_force_field, require_force_field
from backmap.cg.tabulated import TabulatedForces
from backmap.cluster.devices import select_device
from backmap.errors import InputError, InputWarning
from backmap.io import (
    AtomList,
    Frames,
    GrowingOutput,
    Journal,
    Progress,
    describe_file,
    open_beads,
)
from backmap.io.durable import manifest
from backmap.usual_settings import usual_settings

from .outputs import Outputs
from .progress_report import ProgressReport
from .recorder import Recorder, Step
from .run import noting_what_is_kept
from .simulation_request import Simulation
from .wording import counted, named, nothing_left, rounded

_FRAMES_PER_READ = 1_000
_MOST_START_FRAMES = 10_000
_FILES_PER_COMMIT = 100
"""With more replicas, progress is recorded less often than every second: each file has to reach the disk."""
_REPLICAS_NAMED = 5


@dataclass(frozen=True)
class SimulationOutcome:
    """Result of a finished simulation.

    Attributes
    ----------
    outputs : list of Path
        One trajectory per replica.
    stopped : dict of int to int
        Replicas that fell apart, counted from 1, and how many frames each has.
    summary : str
        What was simulated and how fast, in one line.
    """

    outputs: list[Path]
    stopped: dict[int, int]
    summary: str


def simulate(asked: Simulation) -> SimulationOutcome:
    """Simulate all replicas, and move the trajectories to their final names.

    A replica that falls apart is stopped; its trajectory ends with its last sound frame.

    Raises
    ------
    InputError
        If the force field or the start cannot be used, the output cannot be written, or all replicas fall
        apart.
    """
    with usual_settings():
        if asked.threads:
            torch.set_num_threads(asked.threads)
        return _SimulationRun(asked).carry_out()


class _SimulationRun:
    """One simulation, from files to files."""

    def __init__(self, asked: Simulation) -> None:
        self.asked = asked
        self.device = select_device(asked.device)
        self.force_field = load_force_field(asked.force_field)
        self.atoms = AtomList.of_molecule(self.force_field.beads)
        self.start, self.inputs = self._start_frames()
        self.force_field.to(self.device)
        prior = self.force_field.prior
        self.bonds, self.lengths = prior.bonds, prior.bond_parameters[:, 0]
        if not is_sound(self.start, self.bonds.cpu(), self.lengths.cpu()).all():
            raise InputError(
                f"{asked.start or asked.force_field}: has frames with bonds that are not half to twice as "
                "long as in the training data; start from other frames"
            )
        self.forces = TabulatedForces(self.force_field)
        self.dynamics = LangevinDynamics(
            self.forces,
            torch.from_numpy(self.force_field.graph.masses).to(self.device),
            self.force_field.kt,
            time_step_ps=asked.time_step,
            friction_per_ps=asked.friction,
            seed=asked.seed,
        )

    def _start_frames(self) -> tuple[torch.Tensor, list[Path]]:
        """Return frames (frames, beads, 3) in nm to start from, and the files that are read."""
        asked = self.asked
        files = [require_force_field(asked.force_field)]
        if asked.start is None:
            if not len(self.force_field.start):
                raise InputError(f"{asked.force_field}: has no frames to start from; give some with --start")
            return self.force_field.start, files
        source = open_beads(asked.start, self.force_field.molecule, self.force_field.mapping, asked.top)
        chunks = []
        for chunk in source.chunks(_FRAMES_PER_READ):
            chunks.append(torch.from_numpy(np.asarray(chunk.coordinates, dtype=np.float32)))
            if sum(map(len, chunks)) >= _MOST_START_FRAMES:
                break
        return torch.cat(chunks)[:_MOST_START_FRAMES], [*files, *source.files]

    def carry_out(self) -> SimulationOutcome:
        """Simulate the remaining frames."""
        asked = self.asked
        outputs = Outputs.plan(asked.output, [asked.force_field], asked.replicas)
        record: dict[str, Any] = {
            "input": [describe_file(path) for path in self.inputs],
            "frames": asked.frames,
            **asked.deciding,
        }
        if asked.resume and not asked.overwrite:
            finished = outputs.record_of_same_run(self.atoms, record)
            if finished is not None:
                stopped = _counts(finished["stopped"])
                return SimulationOutcome(outputs.all_paths, stopped, nothing_left(outputs.all_paths))
        may_replace = asked.overwrite or Journal.is_finishing(outputs.unfinished)
        log = None if asked.log is None else Path(asked.log)
        outputs.require_free(self.atoms, self.inputs, may_replace, log)
        key = {
            **asked.deciding,
            "input": [entry["sha256"] for entry in record["input"]],
            "device": self.device.type,
            **manifest.version_key(),
        }
        again = {"resume": asked.resume, "overwrite": asked.overwrite}
        with Journal(outputs.unfinished, key, outputs.names(self.atoms), **again) as journal:
            report = ProgressReport(
                asked.replicas * asked.frames,
                self.force_field.beads.n_atoms,
                done=asked.replicas * journal.progress.frames_done,
                quiet=asked.quiet,
                log=log,
            )
            with report, noting_what_is_kept(journal, asked.frames):
                report.note("start", run=record)
                stopped = self._simulate(outputs, journal, report)
                if len(stopped) == asked.replicas:
                    journal.remove()  # there is nothing to go on with
                    self._refuse_all_stopped(stopped)
                names = outputs.names(self.atoms)[:-1]  # all but the record
                found = {"stopped": {str(replica): frames for replica, frames in stopped.items()}}
                outputs.finish(
                    journal,
                    self.atoms,
                    lambda: self._grow(outputs, journal),
                    {**record, "outputs": names, **found},
                    self.inputs,
                )
                report.note("end", outputs=[str(path) for path in outputs.all_paths], **found)
        if stopped:
            warnings.warn(_described(stopped), InputWarning, stacklevel=3)
        return SimulationOutcome(outputs.all_paths, stopped, self._summary(outputs, report))

    def _grow(self, outputs: Outputs, journal: Journal) -> list[GrowingOutput]:
        return outputs.grow(journal, self.atoms, self.asked.frame_interval_ps)

    def _simulate(self, outputs: Outputs, journal: Journal, report: ProgressReport) -> dict[int, int]:
        """Simulate and write the remaining frames; return the replicas that fell apart, with their frames."""
        asked, done = self.asked, journal.progress.frames_done
        stopped = _counts(journal.progress.notes.get("stopped", {}))
        if len(stopped) == asked.replicas:
            return stopped
        state = self._state(journal.progress)
        rare = asked.replicas > _FILES_PER_COMMIT
        with Recorder(
            journal,
            self._grow(outputs, journal),
            chunk=asked.replicas // _FILES_PER_COMMIT if rare else None,
            written=report.update,
        ) as recorder:
            for frame in range(done + 1, asked.frames + 1):
                state = self.dynamics.advance(state, frame, asked.steps)
                sound = is_sound(state.positions, self.bonds, self.lengths).cpu().numpy()
                for replica in (np.flatnonzero(~sound) + 1).tolist():
                    stopped.setdefault(replica, frame - 1)
                if len(stopped) == asked.replicas:
                    break
                recorder.add(self._step(state, frame, stopped))
        return stopped

    def _state(self, progress: Progress) -> ReplicaState:
        """Return where the replicas are: at the start, or where an earlier run left them."""
        if not progress.frames_done:
            return self.dynamics.begin(self.start.to(self.device), self.asked.replicas)
        kept = {name: torch.from_numpy(array).to(self.device) for name, array in progress.state.items()}
        return ReplicaState(**kept)

    def _step(self, state: ReplicaState, frame: int, stopped: Mapping[int, int]) -> Step:
        """Return what to write and to record of one frame."""
        asked = self.asked
        notes = {"stopped": {str(replica): frames for replica, frames in stopped.items()}}
        arrays = {field.name: getattr(state, field.name).cpu().numpy() for field in fields(state)}
        time = np.array([frame * asked.frame_interval_ps])
        step = np.array([frame * asked.steps])
        positions = self._without_noise(state).cpu().numpy()
        going_on = [replica for replica in range(asked.replicas) if replica + 1 not in stopped]
        written = [
            (replica, Frames(coordinates=positions[replica : replica + 1], time=time, step=step))
            for replica in going_on
        ]
        return Step(Progress(frame, {}, arrays, notes), written, len(written))

    def _without_noise(self, state: ReplicaState) -> torch.Tensor:
        """Return the positions (replicas, beads, 3) to write, in nm.

        A force field may be that of beads with noise. The mean of the beads without it is then
        ``y + noise^2 F(y) / kT`` (Tweedie's formula: Efron, J. Am. Stat. Assoc. 106, 1602, 2011).
        """
        noise = self.force_field.config.noise_nm
        if not noise:
            return state.absolute
        return state.absolute + noise**2 / self.force_field.kt * self.forces(state.positions)

    def _refuse_all_stopped(self, stopped: Mapping[int, int]) -> NoReturn:
        last = counted(max(stopped.values()), "frame")
        raise InputError(
            f"{self.asked.force_field}: {'the replica' if len(stopped) == 1 else 'all replicas'} fell apart, "
            f"after {last} at most; give a shorter --time-step, or train on more frames"
        )

    def _summary(self, outputs: Outputs, report: ProgressReport) -> str:
        """Say what was simulated and how fast."""
        asked = self.asked
        steps = report.frames_built * asked.steps
        return (
            f"simulated {counted(asked.replicas, 'replica')} x {counted(asked.frames, 'frame')} of "
            f"{counted(self.force_field.beads.n_atoms, 'bead')} in {report.seconds:.1f} s "
            f"({rounded(steps / max(report.seconds, 1e-9))} steps/s) -> {named(outputs.all_paths)}"
        )


def _counts(noted: Mapping[str, int]) -> dict[int, int]:
    """Return the replicas that fell apart as JSON has them, with numbers as keys."""
    return {int(replica): frames for replica, frames in noted.items()}


def _described(stopped: Mapping[int, int]) -> str:
    """Name the replicas that fell apart."""
    shown = [f"{replica} (after {counted(frames, 'frame')})" for replica, frames in sorted(stopped.items())]
    more = f" and {len(shown) - _REPLICAS_NAMED} more" if len(shown) > _REPLICAS_NAMED else ""
    return (
        f"{counted(len(stopped), 'replica')} fell apart and ended early: "
        f"{', '.join(shown[:_REPLICAS_NAMED])}{more}; a shorter --time-step may help"
    )
