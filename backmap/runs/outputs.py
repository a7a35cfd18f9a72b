"""Outputs of a run: their names, and the growing files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from backmap.errors import InputError
from backmap.io import (
    AtomList,
    GrowingOutput,
    Journal,
    manifest_path,
    output_files,
    require_free,
    require_output_format,
    sample_paths,
    unfinished_path,
    write_manifest,
)
from backmap.io.durable.manifest import read_manifest, read_outputs
from backmap.io.durable.staging import explain_writing
from backmap.io.naming import OUTPUT_SUFFIXES, stem_of, suffix_of


@dataclass(frozen=True)
class Outputs:
    """Names of the files that a run writes.

    Parameters
    ----------
    paths : list of list of Path
        For each trajectory (outer list), one file per sample, or one file with all samples.
    record : Path
        File that records how the outputs were made.
    unfinished : Path
        Folder that keeps partial outputs until they are complete.
    """

    paths: list[list[Path]]
    record: Path
    unfinished: Path

    @classmethod
    def plan(
        cls,
        output: str | PathLike[str],
        inputs: Sequence[str | PathLike[str]],
        samples: int,
        one_file: bool = False,
    ) -> Outputs:
        """Name the outputs: a file for one input, or a folder of files named like the inputs for several.

        Raises
        ------
        InputError
            If a format cannot be written, or two files would have the same name.
        """
        output, files = Path(output), 1 if one_file else samples
        if len(inputs) == 1:
            require_output_format(output)
            return cls([sample_paths(output, files)], manifest_path(output), unfinished_path(output))
        names = [_output_name(Path(given)) for given in inputs]
        for name in names:
            if names.count(name) > 1:
                raise InputError(
                    f"{output / name}: two inputs would be written to this file; rename one of them"
                )
        paths = [sample_paths(output / name, files) for name in names]
        return cls(paths, output / "rollout.backmap.json", output / "rollout.partial")

    @property
    def all_paths(self) -> list[Path]:
        """All files that contain frames."""
        return sum(self.paths, [])

    def all_files(self, atoms: AtomList) -> list[Path]:
        """List every file of the finished run: frames, names, and the record last."""
        return [*(file for path in self.all_paths for file in output_files(path, atoms)), self.record]

    def names(self, atoms: AtomList) -> list[str]:
        """List the names of all files of the finished run."""
        return [file.name for file in self.all_files(atoms)]

    def record_of_same_run(self, atoms: AtomList, description: Mapping[str, object]) -> dict[str, Any] | None:
        """Return the record of a finished run that made these outputs as described, if there is one.

        Files count as the same by their content, not by their path.
        """
        if self.unfinished.exists() or not all(file.is_file() for file in self.all_files(atoms)):
            return None
        record = read_manifest(self.record)
        same = record.get("outputs") == self.names(atoms)[:-1] and all(
            _content(record.get(name)) == _content(value) for name, value in description.items()
        )
        return record if same else None

    def finish(
        self,
        journal: Journal,
        atoms: AtomList,
        grown: Callable[[], Iterable[GrowingOutput]],
        record: Mapping[str, object],
        inputs: Sequence[Path] = (),
    ) -> None:
        """Complete the outputs, write the record, and move all of them to their final names.

        If the record replaces that of an earlier run, the outputs of that run which this run does not write
        are removed, so that no sample of another run remains beside the new ones.

        Parameters
        ----------
        journal : Journal
            Journal of the run.
        atoms : AtomList
            Atoms of the outputs.
        grown : function
            Opens the complete outputs.
        record : mapping
            How the outputs were made.
        inputs : sequence of Path
            Files that the run reads, which are never removed.
        """
        journal.commit(replace(journal.progress, finishing=True))
        write_manifest(journal.folder / self.record.name, record)
        for output in grown():
            output.finish()
        for path in self._left_by_earlier_run(atoms, inputs):
            with explain_writing(path):
                path.unlink()
        journal.publish({journal.folder / file.name: file for file in self.all_files(atoms)})

    def _left_by_earlier_run(self, atoms: AtomList, inputs: Sequence[Path]) -> list[Path]:
        """List outputs that the existing record names, apart from files that this run writes or reads."""
        kept = {file.absolute() for file in self.all_files(atoms)}
        earlier = [self.record.with_name(name) for name in read_outputs(self.record)]
        return [
            path
            for path in earlier
            if path.absolute() not in kept
            and path.is_file()
            and not path.is_symlink()
            and not any(given.exists() and path.samefile(given) for given in inputs)
        ]

    def make_folder(self) -> None:
        """Create the folder for the outputs of several inputs."""
        if len(self.paths) > 1:
            with explain_writing(self.record.parent):
                self.record.parent.mkdir(exist_ok=True)

    def require_free(
        self, atoms: AtomList, inputs: Sequence[Path], overwrite: bool, log: Path | None = None
    ) -> None:
        """Refuse names that the outputs or the log cannot have, before anything is built."""
        files = self.all_files(atoms)
        if log is not None and log.absolute() in {file.absolute() for file in (*files, *inputs)}:
            raise InputError(f"{log}: is an input or output of this run; choose another name for the log")
        if len(self.paths) > 1 and not self.record.parent.exists():
            return
        taken: set[Path] = set()
        for file in files:
            require_free(file, overwrite=overwrite, inputs=inputs, taken=taken)
            taken.add(file)

    def grow(
        self, journal: Journal, atoms: AtomList, frame_interval_ps: float | None = None
    ) -> list[GrowingOutput]:
        """Open the outputs at their current lengths."""
        return [
            GrowingOutput(
                journal.folder,
                path,
                atoms,
                lengths=journal.progress.lengths,
                frame_interval_ps=frame_interval_ps,
                finishing=journal.progress.finishing,
            )
            for path in self.all_paths
        ]


def _content(described: object) -> object:
    """Return an entry of a record as JSON, with the hashes of files in place of their descriptions."""
    if isinstance(described, dict) and "sha256" in described:
        return described["sha256"]
    if isinstance(described, list | tuple):
        return [_content(entry) for entry in described]
    return described


def _output_name(given: Path) -> str:
    """Name the output of one of several inputs: the same name, as DCD if the format cannot be written."""
    return given.name if suffix_of(given) in OUTPUT_SUFFIXES else stem_of(given) + ".dcd"
