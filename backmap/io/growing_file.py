"""Output files that grow frame by frame and can be cut back to an earlier length after a kill."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from backmap.errors import InputError

from .atom_list import AtomList
from .frame_encoders import make_encoder
from .frames import Frames
from .naming import HDF5_SUFFIXES, MMCIF_SUFFIXES, PDB_SUFFIXES, suffix_of, with_suffix
from .staging import explain_writing, synchronise
from .structure_records import too_long_for_pdb

_GROWING = ".growing"
_PIECE = ".piece"
_PART = ".from-"
_ENDINGS = re.compile(rf"({_PART}\d+)?({_GROWING}(\.gz|\.alone)?|{_PIECE}(\.\w+)?)?", re.ASCII)
_BYTES_PER_READ = 1 << 20


@dataclass(frozen=True)
class Length:
    """How far a file has grown: bytes, frames in them, and the CRC-32 of the bytes."""

    size: int = 0
    frames: int = 0
    checksum: int = 0

    def grown(self, data: bytes, frames: int = 0) -> Length:
        """Give the length after more bytes, with so many frames in them."""
        return Length(self.size + len(data), self.frames + frames, zlib.crc32(data, self.checksum))


def is_part_of_output(name: str, outputs: Collection[str]) -> bool:
    """Tell whether a file is one of those that outputs with these names are made of while they grow."""
    return any(
        name.startswith(output) and _ENDINGS.fullmatch(name, len(output)) is not None for output in outputs
    )


class GrowingFile:
    """A file that frames are added to.

    Parameters
    ----------
    finished : Path
        Where the file lies when it is whole; until then, a file beside it grows.
    final : Path
        Its name in the end, which says the format and is used in messages.
    atoms : AtomList
        Atoms of every frame.
    length : Length
        How far it had grown: what lies behind is cut off.
    first_model : int, optional
        For a part of an output: how many frames come before it. The whole is made by :meth:`take`.
    frame_interval_ps : float, optional
        Time between frames, where the format's header holds it.
    finishing : bool
        Whether it had all its frames and was being brought into its final form.
    """

    def __init__(
        self,
        finished: Path,
        final: Path,
        atoms: AtomList,
        *,
        length: Length = Length(),
        first_model: int | None = None,
        frame_interval_ps: float | None = None,
        finishing: bool = False,
    ) -> None:
        self.finished = finished
        self.final = final
        self.path = finished.with_name(finished.name + _GROWING)
        self.length = length
        self._first_model = first_model or 0
        self._is_part = first_model is not None
        self._encoder = make_encoder(
            final, finished.with_name(finished.name + _PIECE), atoms, frame_interval_ps
        )
        self._is_finished = finishing and not self.path.exists()
        if not self._is_finished:
            self._cut(finishing)

    def _cut(self, finishing: bool) -> None:
        """Take off what was added after the length was noted.

        What was there then must be unchanged. Finishing changes some bytes in place, and is done again.
        """
        with explain_writing(self.final):
            found = self.path.stat().st_size if self.path.exists() else 0
            if found < self.length.size:
                raise InputError(
                    f"{self.path}: has {found} bytes instead of {self.length.size}; "
                    "give --overwrite to start the run anew"
                )
            if not finishing and self._checksum() != self.length.checksum:
                raise InputError(
                    f"{self.path}: is not what the run has written there; "
                    "give --overwrite to start the run anew"
                )
            with self.path.open("ab") as file:
                file.truncate(self.length.size)

    def _checksum(self) -> int:
        """Give the CRC-32 of the bytes up to the length."""
        left, found = self.length.size, Length()
        if not left:
            return found.checksum
        with self.path.open("rb") as file:
            while left:
                data = file.read(min(left, _BYTES_PER_READ))
                found, left = found.grown(data), left - len(data)
        return found.checksum

    def append(self, frames: Frames) -> None:
        """Add frames, which are numbered here."""
        if not len(frames):
            return
        first = self._first_model + self.length.frames
        frames = replace(frames, numbers=np.arange(first, first + len(frames)))
        begin = b"" if self.length.frames or self._is_part else self._encoder.begin(frames[:1])
        self._add(begin + self._encoder.encode(frames), len(frames))

    def _add(self, data: bytes, frames: int) -> None:
        with explain_writing(self.final), self.path.open("ab") as file:
            file.write(data)
        self.length = self.length.grown(data, frames)

    def synchronise(self) -> Length:
        """Wait until all that was added is on the disk."""
        with explain_writing(self.final):
            synchronise(self.path)
        return self.length

    def take(self, part: GrowingFile) -> None:
        """Add all frames of a part that grew on its own, whose numbers go on from here."""
        if self._is_finished:
            return
        with explain_writing(self.final), self.path.open("ab") as file, part.path.open("rb") as source:
            while data := source.read(_BYTES_PER_READ):
                file.write(data)
                self.length = self.length.grown(data)
        self.length = replace(self.length, frames=self.length.frames + part.length.frames)

    def finish(self) -> None:
        """Bring the file into its final form, once; it is on the disk then."""
        if not self._is_finished:
            self._encoder.finish(self.path, self.length.frames, self.finished)
            self._is_finished = True


class GrowingOutput:
    """One output: a file of frames, and beside it a file of the first frame where the format has no names.

    Parameters
    ----------
    folder : Path
        Where it grows.
    final : Path
        Its name in the end, which says the format.
    atoms : AtomList
        Atoms to write.
    lengths : mapping of str to Length
        How far its files had grown, by name.
    first_model, frame_interval_ps, finishing
        As for :class:`GrowingFile`. A part has a name of its own and nothing beside it.
    """

    def __init__(
        self,
        folder: Path,
        final: Path,
        atoms: AtomList,
        *,
        lengths: Mapping[str, Length] = MappingProxyType({}),
        first_model: int | None = None,
        frame_interval_ps: float | None = None,
        finishing: bool = False,
    ) -> None:
        self._present = atoms.present
        name = final.name if first_model is None else f"{final.name}{_PART}{first_model}"
        self._frames = GrowingFile(
            folder / name,
            final,
            atoms,
            length=lengths.get(name, Length()),
            first_model=first_model,
            frame_interval_ps=frame_interval_ps,
            finishing=finishing,
        )
        self.files = [self._frames]
        for path in output_files(final, atoms)[1:] if first_model is None else ():
            length = lengths.get(path.name, Length())
            self.files.append(
                GrowingFile(folder / path.name, path, atoms, length=length, finishing=finishing)
            )

    @property
    def frames(self) -> int:
        """Number of frames so far."""
        return self._frames.length.frames

    def write(
        self,
        coordinates: np.ndarray,
        time: np.ndarray | None = None,
        box: np.ndarray | None = None,
        step: np.ndarray | None = None,
    ) -> None:
        """Append frames.

        Parameters
        ----------
        coordinates : ndarray, (frames, residues, 15, 3) of a protein or (frames, atoms, 3) of a molecule
            Positions in nm.
        time : ndarray, (frames,), optional
            Time in ps.
        box : ndarray, (frames, 3, 3), optional
            Box vectors in nm.
        step : ndarray, (frames,), optional
            Integration step.
        """
        self.append(Frames(coordinates=coordinates[:, self._present], time=time, step=step, box=box))

    def append(self, frames: Frames) -> None:
        """Append frames of the listed atoms alone."""
        is_first = not self.frames and len(frames)
        self._frames.append(frames)
        for names in self.files[1:] if is_first else ():
            names.append(frames[:1])

    def synchronise(self) -> dict[str, Length]:
        """Wait until all that was added is on the disk, and say how long the files are, by name."""
        return {file.finished.name: file.synchronise() for file in self.files}

    def take(self, part: GrowingOutput) -> None:
        """Add all frames of a part, whose numbers go on from here."""
        self._frames.take(part._frames)

    def finish(self) -> None:
        """Bring the files into their final form; they still lie where they have grown."""
        for file in self.files:
            file.finish()


def output_files(path: Path, atoms: AtomList) -> list[Path]:
    """Name the files of an output: itself, and what names its atoms if its format cannot."""
    if suffix_of(path) in PDB_SUFFIXES + MMCIF_SUFFIXES + HDF5_SUFFIXES:
        return [path]
    return [path, with_suffix(path, ".cif" if too_long_for_pdb(atoms) else ".pdb")]
