"""Output files that grow frame by frame and can be cut back to an earlier length after being killed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType

import numpy as np

from backmap.errors import InputError

from ..atom_list import AtomList
from ..formats.frame_encoders import make_encoder
from ..formats.structure_records import too_long_for_pdb
from ..frames import Frames
from ..naming import GRO_SUFFIXES, HDF5_SUFFIXES, STRUCTURE_SUFFIXES, suffix_of, with_suffix
from .staging import explain_writing, synchronise

_GROWING = ".growing"
_PIECE = ".piece"
_PART = ".from-"
_ENDINGS = re.compile(rf"({_PART}\d+)?({_GROWING}(\.gz|\.alone)?|{_PIECE}(\.\w+)?)?", re.ASCII)
_BYTES_PER_READ = 1 << 20


@dataclass(frozen=True)
class Length:
    """Length of a growing file: bytes, frames, and the CRC-32 of the bytes."""

    size: int = 0
    n_frames: int = 0
    checksum: int = 0

    def grown(self, data: bytes, frames: int = 0) -> Length:
        """Return the length after more bytes, which contain the given number of frames."""
        return Length(self.size + len(data), self.n_frames + frames, zlib.crc32(data, self.checksum))


def is_part_of_output(name: str, outputs: Collection[str]) -> bool:
    """Return whether a file name belongs to the growing files of outputs with these names."""
    return any(
        name.startswith(output) and _ENDINGS.fullmatch(name, len(output)) is not None for output in outputs
    )


class GrowingFile:
    """A file that frames are added to.

    Parameters
    ----------
    finished : Path
        Path of the file once it is complete; until then, a file beside it grows.
    final : Path
        Final name of the output, which determines the format and is used in messages.
    atoms : AtomList
        Atoms of every frame.
    length : Length
        How far the file had grown; anything beyond is cut off.
    first_model : int, optional
        For a part of an output: the number of frames before it. :meth:`take` joins the parts.
    frame_interval_ps : float, optional
        Time between frames, for formats that store it in the header.
    finishing : bool
        Whether the file had all its frames and was being converted to its final form.
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
        """Cut off what was added after the length was recorded.

        The rest must be unchanged, unless finishing had begun: it changes bytes in place, and is repeated.
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
                    f"{self.path}: was changed since the run wrote it; give --overwrite to start the run anew"
                )
            with self.path.open("ab") as file:
                file.truncate(self.length.size)

    def _checksum(self) -> int:
        """Return the CRC-32 of the bytes up to the length."""
        left, found = self.length.size, Length()
        if not left:
            return found.checksum
        with self.path.open("rb") as file:
            while left:
                data = file.read(min(left, _BYTES_PER_READ))
                found, left = found.grown(data), left - len(data)
        return found.checksum

    def append(self, frames: Frames) -> None:
        """Number frames and append them."""
        if not len(frames):
            return
        first = self._first_model + self.length.n_frames
        frames = replace(frames, numbers=np.arange(first, first + len(frames)))
        begin = b"" if self.length.n_frames or self._is_part else self._encoder.begin(frames[:1])
        self._add(chain([begin], self._encoder.encode(frames)), len(frames))

    def _add(self, pieces: Iterable[bytes], frames: int) -> None:
        """Append the pieces of frames; the length grows once all are written."""
        length = self.length
        with explain_writing(self.final), self.path.open("ab") as file:
            for data in pieces:
                file.write(data)
                length = length.grown(data)
        self.length = length.grown(b"", frames)

    def synchronise(self) -> Length:
        """Wait until everything that was added is on disk."""
        with explain_writing(self.final):
            synchronise(self.path)
        return self.length

    def take(self, part: GrowingFile) -> None:
        """Append all frames of a part that grew separately, whose numbers continue from here."""
        if self._is_finished:
            return
        with explain_writing(self.final), self.path.open("ab") as file, part.path.open("rb") as source:
            while data := source.read(_BYTES_PER_READ):
                file.write(data)
                self.length = self.length.grown(data)
        self.length = replace(self.length, n_frames=self.length.n_frames + part.length.n_frames)

    def finish(self) -> None:
        """Convert the file to its final form, once, and wait until it is on disk."""
        if not self._is_finished:
            self._encoder.finish(self.path, self.length.n_frames, self.finished)
            self._is_finished = True


class GrowingOutput:
    """One output: a file of frames and, for formats without names, a file of the first frame beside it.

    Parameters
    ----------
    folder : Path
        Folder in which the output grows.
    final : Path
        Final name of the output, which determines the format.
    atoms : AtomList
        Atoms to write.
    lengths : mapping of str to Length
        How far its files had grown, by name.
    first_model, frame_interval_ps, finishing
        As for :class:`GrowingFile`. A part has its own name and no file beside it.
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
    def n_frames(self) -> int:
        """Number of frames so far."""
        return self._frames.length.n_frames

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
        coordinates : ndarray, (frames, atoms, 3)
            Positions in nm.
        time : ndarray, (frames,), optional
            Time in ps.
        box : ndarray, (frames, 3, 3), optional
            Box vectors in nm.
        step : ndarray, (frames,), optional
            Integration step.
        """
        self.append(Frames(coordinates=coordinates, time=time, step=step, box=box))

    def append(self, frames: Frames) -> None:
        """Append frames that contain only the listed atoms."""
        is_first = not self.n_frames and len(frames)
        self._frames.append(frames)
        for names in self.files[1:] if is_first else ():
            names.append(frames[:1])

    def synchronise(self) -> dict[str, Length]:
        """Wait until everything that was added is on disk, and return the lengths of the files by name."""
        return {file.finished.name: file.synchronise() for file in self.files}

    def take(self, part: GrowingOutput) -> None:
        """Append all frames of a part, whose numbers continue from here."""
        self._frames.take(part._frames)

    def finish(self) -> None:
        """Convert the files to their final form, in the folder where they grew."""
        for file in self.files:
            file.finish()


def output_files(path: Path, atoms: AtomList) -> list[Path]:
    """Return the files of an output: itself, and the file that names its atoms if its format cannot."""
    if suffix_of(path) in STRUCTURE_SUFFIXES + GRO_SUFFIXES + HDF5_SUFFIXES:
        return [path]
    return [path, with_suffix(path, ".cif" if too_long_for_pdb(atoms) else ".pdb")]
