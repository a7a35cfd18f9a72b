"""Encoders that turn frames into bytes to append to a growing output file, one per format.

A run that is killed must leave its file intact up to the last recorded length. Text, XTC, TRR and DCD allow
this: frames follow one another without an index. HDF5 and NetCDF do not, so they grow as TRR, which stores
the same numbers, and are converted once all frames are written; text is gzipped then.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backmap.errors import InputError, InputWarning

from ..atom_list import AtomList
from ..durable.staging import explain_writing, rename_durably, writing_error
from ..frames import NO_SYMMETRY, Frames
from ..mdtraj_objects import mdtraj_topology
from ..naming import (
    GRO_SUFFIXES,
    HDF5_SUFFIXES,
    MMCIF_SUFFIXES,
    NETCDF_SUFFIXES,
    PDB_SUFFIXES,
    stem_of,
    suffix_of,
)
from ..selection.disulfide_records import disulfides_of_frame, with_disulfides
from ..selection.rings import closing_bonds_of_frame
from .ascii_names import ascii_name
from .frame_layout import dcd_bytes, trr_layout, xtc_layout
from .frame_times import AKMA_PS
from .gro_file import GRO_BOX_ORDER
from .structure_file import ANGSTROM_PER_NM
from .structure_records import (
    MMCIF_HEADER,
    Template,
    gro_templates,
    mmcif_links,
    mmcif_templates,
    pdb_closing_bonds,
    pdb_disulfides,
    pdb_templates,
    require_plain_names,
    require_words,
    templates,
    too_long_for_gro,
    too_long_for_pdb,
)

if TYPE_CHECKING:
    from mdtraj.formats import HDF5TrajectoryFile

_PDB_RANGE_ANGSTROM = (-999.999, 9999.999)
_XTC_FARTHEST_NM = 1e6
"""XTC stores positions, and the extent of a frame, as 4-byte integers in pm."""
_INT32 = np.iinfo(np.int32)
_PDB_WIDEST_BOX_ANGSTROM = 99999.999
_GRO_RANGE_NM = (-999.999, 9999.999)
_GRO_WIDEST_BOX_NM = 999.99999
_FRAMES_PER_CONVERSION = 500
_DCD_FRAMES, _DCD_INTERVAL, _DCD_LAST_STEP, _DCD_STEP_LENGTH = 8, 16, 20, 44
_NOT_IN_BLOCK_NAMES = re.compile(r"[^!-~]")
_DCD_TITLE = slice(180, 260)


class FrameEncoder(Protocol):
    """Turns frames into bytes of one format."""

    def begin(self, frames: Frames) -> bytes:
        """Return the bytes that precede the first of these frames."""

    def encode(self, frames: Frames) -> Iterable[bytes]:
        """Return the bytes of the frames, one after another; a file may be encoded in pieces of any size.

        Frames that do not fit are refused before any bytes are made.
        """

    def finish(self, growing: Path, frames: int, final: Path) -> None:
        """Turn a growing file with the given number of frames into the output; it may be consumed."""


def make_encoder(
    final: Path, scratch: Path, atoms: AtomList, frame_interval_ps: float | None = None
) -> FrameEncoder:
    """Choose the encoder of an output by its suffix.

    Parameters
    ----------
    final : Path
        Name of the output.
    scratch : Path
        A temporary file that may be written and removed.
    atoms : AtomList
        Atoms of every frame.
    frame_interval_ps : float, optional
        Time between frames, for formats that store it in the header (DCD).
    """
    suffix = suffix_of(final)
    if suffix in PDB_SUFFIXES:
        return PdbEncoder(final, atoms)
    if suffix in MMCIF_SUFFIXES:
        return MmcifEncoder(final, atoms)
    if suffix in GRO_SUFFIXES:
        return GroEncoder(final, atoms)
    if suffix == ".dcd":
        return DcdEncoder(final, scratch, frame_interval_ps)
    if suffix in HDF5_SUFFIXES + NETCDF_SUFFIXES:
        return ConvertedEncoder(final, scratch, atoms)
    return GromacsEncoder(final, scratch, suffix)


class _TextEncoder:
    """Common part of text formats: the last lines, and compression of the complete file."""

    def __init__(self, final: Path, atoms: AtomList) -> None:
        require_plain_names(atoms, final)
        self._final = final

    def _close(self, growing: Path, text: str, final: Path) -> None:
        """Append the last lines and rename the file."""
        with explain_writing(self._final):
            with growing.open("ab") as file:
                file.write(text.encode())
            if not suffix_of(self._final).endswith(".gz"):
                rename_durably(growing, final)
                return
            zipped = growing.with_name(growing.name + ".gz")
            with growing.open("rb") as plain, zipped.open("wb") as target:
                with gzip.GzipFile(stem_of(self._final), "wb", fileobj=target, mtime=0) as file:
                    shutil.copyfileobj(plain, file)
            rename_durably(zipped, final)


class PdbEncoder(_TextEncoder):
    """PDB text. Several frames are written as MODEL records, a single frame without. Time is not stored."""

    def __init__(self, final: Path, atoms: AtomList) -> None:
        super().__init__(final, atoms)
        too_long = too_long_for_pdb(atoms)
        if too_long:
            raise InputError(f"{final}: {too_long} is too long for a PDB file; write mmCIF (.cif) instead")
        self._atoms = atoms

    def begin(self, frames: Frames) -> bytes:
        """Return the bonds that need a record, and the box, of the first frame."""
        first = frames.coordinates[0]
        bonds = pdb_disulfides(self._atoms, disulfides_of_frame(self._atoms, first))
        bonds += pdb_closing_bonds(self._atoms, closing_bonds_of_frame(self._atoms, first))
        return f"{bonds}{self._cell(frames)}".encode()

    def encode(self, frames: Frames) -> Iterable[bytes]:
        """Return one MODEL per frame."""
        _require_finite(frames, self._final)
        low, high = _PDB_RANGE_ANGSTROM
        ends = [float(end(frames.coordinates, initial=0.0)) * ANGSTROM_PER_NM for end in (np.min, np.max)]
        if not (low <= ends[0] and ends[1] <= high):
            raise InputError(
                f"{self._final}: coordinates outside {low:.0f} to {high:.0f} Angstrom do not fit into a "
                "PDB file; write mmCIF (.cif) or HDF5 (.h5), or move the structure to the origin"
            )
        return self._models(frames)

    def _models(self, frames: Frames) -> Iterator[bytes]:
        """Write one MODEL per frame, in pieces."""
        for index, number in enumerate(_numbers_of(frames)):
            yield f"MODEL {number + 1:>8}\n".encode()
            pieces = templates(pdb_templates, self._atoms, frames.b_factors is not None)
            yield from _filled(pieces, _angstrom_with_b_factors(frames, index))
            yield b"ENDMDL\n"

    def finish(self, growing: Path, frames: int, final: Path) -> None:
        """Close the file, removing the records around a single model."""
        if frames == 1:
            growing = self._without_model(growing)
        self._close(growing, "END\n", final)

    def _cell(self, frames: Frames) -> str:
        """Return the CRYST1 record of the first frame, empty if there is no box or it is too wide."""
        if frames.box is None or not frames.box[0].any():
            return ""
        a, b, c, alpha, beta, gamma = _cell_angstrom(frames.box[0])
        if max(a, b, c) > _PDB_WIDEST_BOX_ANGSTROM:
            warnings.warn(
                f"{self._final}: a box of {max(a, b, c):.0f} Angstrom does not fit into a PDB file, which is "
                "written without it; write mmCIF (.cif) or HDF5 (.h5) to keep the box",
                InputWarning,
                stacklevel=2,
            )
            return ""
        copies = "1" if frames.space_group == NO_SYMMETRY else ""
        cell = f"CRYST1{a:9.3f}{b:9.3f}{c:9.3f}{alpha:7.2f}{beta:7.2f}{gamma:7.2f}"
        return f"{cell} {frames.space_group:<11}{copies:>4}\n"

    def _without_model(self, growing: Path) -> Path:
        """Write the single model of a file to another file, without the records around it."""
        alone = growing.with_name(growing.name + ".alone")
        with explain_writing(self._final), growing.open("rb") as lines, alone.open("wb") as kept:
            kept.writelines(line for line in lines if not line.startswith((b"MODEL", b"ENDMDL")))
        return alone


class MmcifEncoder(_TextEncoder):
    """mmCIF text: one table of atoms, with frames as model numbers. Time is not stored."""

    def __init__(self, final: Path, atoms: AtomList) -> None:
        super().__init__(final, atoms)
        require_words(atoms, final)
        self._atoms = atoms
        self._name = _NOT_IN_BLOCK_NAMES.sub("_", stem_of(final)) or "backmap"

    def begin(self, frames: Frames) -> bytes:
        """Return the box of the first frame, its bonds that need a row, and the columns of the table."""
        box = frames.box
        cell = "" if box is None or not box[0].any() else _mmcif_cell(box[0], frames.space_group)
        first = frames.coordinates[0]
        bonds = mmcif_links(
            self._atoms,
            disulfides_of_frame(self._atoms, first),
            closing_bonds_of_frame(self._atoms, first),
        )
        return f"data_{self._name}\n#\n{cell}{bonds}{MMCIF_HEADER}".encode()

    def encode(self, frames: Frames) -> Iterable[bytes]:
        """Return one row per atom."""
        _require_finite(frames, self._final)
        return self._rows(frames)

    def _rows(self, frames: Frames) -> Iterator[bytes]:
        """Write one row per atom, in pieces."""
        for index, number in enumerate(_numbers_of(frames)):
            frame = _angstrom_with_b_factors(frames, index)
            ids = np.arange(1, len(frame) + 1) + number * len(frame)
            fields = np.column_stack([ids, frame, np.full(len(frame), number + 1)])
            yield from _filled(templates(mmcif_templates, self._atoms, frames.b_factors is not None), fields)

    def finish(self, growing: Path, frames: int, final: Path) -> None:
        """Close the table."""
        self._close(growing, "#\n", final)


class GroEncoder(_TextEncoder):
    """GRO text: frames one after another, each with time, atoms and box. Names of chains are not stored."""

    def __init__(self, final: Path, atoms: AtomList) -> None:
        super().__init__(final, atoms)
        too_long = too_long_for_gro(atoms)
        if too_long:
            raise InputError(f"{final}: {too_long} does not fit into a GRO file; write mmCIF (.cif) instead")
        self._atoms = atoms

    def begin(self, frames: Frames) -> bytes:
        """Nothing."""
        return b""

    def encode(self, frames: Frames) -> Iterable[bytes]:
        """Return the frames; all have a box of nine numbers, or none has a box."""
        _require_finite(frames, self._final)
        positions = frames.coordinates
        boxes = np.zeros((1, 3, 3)) if frames.box is None else np.asarray(frames.box)
        low, high = _GRO_RANGE_NM
        beyond = positions.min(initial=0.0) < low or positions.max(initial=0.0) > high
        if beyond or np.abs(boxes).max(initial=0.0) > _GRO_WIDEST_BOX_NM:
            raise InputError(
                f"{self._final}: coordinates outside {low:.0f} to {high:.0f} nm, or a box of more than "
                f"{_GRO_WIDEST_BOX_NM:.0f} nm, do not fit into a GRO file; write HDF5 (.h5), or move the "
                "structure to the origin"
            )
        return self._frames(frames, boxes)

    def _frames(self, frames: Frames, boxes: np.ndarray) -> Iterator[bytes]:
        """Write frames with their boxes (frames, 3, 3), in pieces."""
        for index, frame in enumerate(frames.coordinates):
            time = "" if frames.time is None else f" t= {frames.time[index]:.5f}"
            step = "" if frames.step is None else f" step= {frames.step[index]}"
            yield f"by backmap{time}{step}\n{self._atoms.n_atoms:5d}\n".encode()
            yield from _filled(templates(gro_templates, self._atoms), np.asarray(frame, dtype=np.float64))
            box = np.zeros(3) if frames.box is None else boxes[index].ravel()[GRO_BOX_ORDER]
            yield "".join([*(f"{length:10.5f}" for length in box), "\n"]).encode()

    def finish(self, growing: Path, frames: int, final: Path) -> None:
        """Rename the file."""
        self._close(growing, "", final)


class _MdtrajEncoder:
    """Common part of the binary formats: mdtraj writes a piece to a file, whose bytes are returned."""

    def __init__(self, final: Path, scratch: Path) -> None:
        self._final = final
        self._scratch = scratch

    @contextmanager
    def _written(self, path: Path) -> Iterator[Any]:
        """Open a file for writing with mdtraj, and explain failures."""
        try:
            with explain_writing(self._final), ascii_name(path) as name:
                import mdtraj

                with mdtraj.open(name, "w", force_overwrite=True) as file:
                    yield file
        except (RuntimeError, TypeError) as error:  # raised by mdtraj's writers if a write fails
            raise self._incomplete() from error
        except ImportError as error:
            needed = "tables" if suffix_of(path) in HDF5_SUFFIXES else error.name or "another package"
            raise InputError(
                f"{self._final}: writing this format needs a package; install it with `pip install {needed}`"
            ) from error

    def _incomplete(self) -> InputError:
        return writing_error(self._final, OSError("a write failed; is the disk full?"))

    def _taken(self, path: Path) -> bytes:
        with explain_writing(self._final):
            data = path.read_bytes()
            path.unlink()
        return data


class GromacsEncoder(_MdtrajEncoder):
    """XTC and TRR: frames one after another, with nothing before or after."""

    def __init__(self, final: Path, scratch: Path, suffix: str) -> None:
        super().__init__(final, scratch.with_name(scratch.name + suffix))
        self._layout = trr_layout if suffix == ".trr" else xtc_layout
        self._farthest_nm = None if suffix == ".trr" else _XTC_FARTHEST_NM

    def begin(self, frames: Frames) -> bytes:
        """Nothing."""
        return b""

    def encode(self, frames: Frames) -> Iterable[bytes]:
        """Return the frames, with time, step and box."""
        if not len(frames):
            return ()
        _require_finite(frames, self._final)
        self._require_fit(frames)
        box = frames.box
        time = frames.numbers if frames.time is None else frames.time
        step = frames.numbers if frames.step is None else frames.step
        with self._written(self._scratch) as file:
            file.write(
                np.ascontiguousarray(frames.coordinates, dtype=np.float32),
                time=np.asarray(time, dtype=np.float32),
                step=np.asarray(step, dtype=np.int32),
                box=None if box is None else np.ascontiguousarray(box, dtype=np.float32),
            )
        self._require_whole(len(frames))
        return (self._taken(self._scratch),)

    def _require_fit(self, frames: Frames) -> None:
        """Refuse values that the fields of the format cannot hold and would silently alter."""
        farthest = self._farthest_nm
        if farthest is not None and np.abs(frames.coordinates).max(initial=0.0) > farthest:
            raise InputError(
                f"{self._final}: coordinates beyond {farthest:.0f} nm do not fit into an XTC file; "
                "write TRR (.trr) or HDF5 (.h5), or move the structure to the origin"
            )
        last = _INT32.max if frames.step is None else int(np.max(frames.step, initial=0))
        if last > _INT32.max:
            kind = suffix_of(self._final).lstrip(".").upper()
            raise InputError(
                f"{self._final}: step {last} of the simulation does not fit into {kind}, whose steps end at "
                f"{_INT32.max}; write DCD (.dcd) or HDF5 (.h5), which store no steps"
            )

    def _require_whole(self, frames: int) -> None:
        """Check that all frames were written: not every failed write is reported."""
        try:
            with explain_writing(self._final):
                found = self._layout(self._scratch)
        except InputError as error:
            raise self._incomplete() from error
        if found.ends_early or len(found.offsets) != frames:
            raise self._incomplete()

    def finish(self, growing: Path, frames: int, final: Path) -> None:
        """Rename the file."""
        with explain_writing(self._final):
            rename_durably(growing, final)


class DcdEncoder(_MdtrajEncoder):
    """DCD: a header of three records, then frames. The counts in the header are set at the end."""

    def __init__(self, final: Path, scratch: Path, frame_interval_ps: float | None) -> None:
        super().__init__(final, scratch.with_name(scratch.name + ".dcd"))
        self._interval_ps = frame_interval_ps

    def begin(self, frames: Frames) -> bytes:
        """Return the header, without a time stamp, so that equal runs give equal files."""
        header = bytearray(self._cut(frames)[0])
        header[_DCD_TITLE] = b"REMARKS by backmap".ljust(80)
        return bytes(header)

    def encode(self, frames: Frames) -> Iterable[bytes]:
        """Return the frames, all with a box (zeros for none), as the header promises one for each frame."""
        _require_finite(frames, self._final)
        return (self._cut(frames)[1],) if len(frames) else ()

    def _cut(self, frames: Frames) -> tuple[bytes, bytes]:
        """Return the header and the frames of a file with these frames."""
        box = np.zeros((len(frames), 3, 3)) if frames.box is None else frames.box
        cell = _cell(box, ANGSTROM_PER_NM)
        with self._written(self._scratch) as file:
            file.write(np.asarray(frames.coordinates, dtype=np.float32) * np.float32(ANGSTROM_PER_NM), **cell)
        with explain_writing(self._final):
            found = dcd_bytes(self._scratch)
        data = self._taken(self._scratch)
        if found is None or len(data) != found[0] + found[1] * len(frames):
            raise self._incomplete()
        return data[: found[0]], data[found[0] :]

    def finish(self, growing: Path, frames: int, final: Path) -> None:
        """Set the number of frames and the time between them, and rename the file."""
        with explain_writing(self._final):
            with growing.open("r+b") as file:
                _put(file.fileno(), "<i", frames, _DCD_FRAMES)
                _put(file.fileno(), "<i", frames, _DCD_LAST_STEP)
                _put(file.fileno(), "<i", 1, _DCD_INTERVAL)
                if self._interval_ps is not None:
                    _put(file.fileno(), "<f", self._interval_ps / AKMA_PS, _DCD_STEP_LENGTH)
            rename_durably(growing, final)


class ConvertedEncoder(_MdtrajEncoder):
    """HDF5 and NetCDF, which grow as TRR."""

    def __init__(self, final: Path, scratch: Path, atoms: AtomList) -> None:
        super().__init__(final, scratch)
        self._atoms = atoms
        self._suffix = suffix_of(final)
        self._growing = GromacsEncoder(final, scratch, ".trr")
        with explain_writing(final):
            with self._written(scratch.with_name(scratch.name + self._suffix)):
                pass  # fail now if the package that writes this format is missing
            scratch.with_name(scratch.name + self._suffix).unlink()

    def begin(self, frames: Frames) -> bytes:
        """Nothing."""
        return b""

    def encode(self, frames: Frames) -> Iterable[bytes]:
        """Return the frames as TRR, without steps, which neither format stores."""
        return self._growing.encode(replace(frames, step=None))

    def finish(self, growing: Path, frames: int, final: Path) -> None:
        """Convert the frames, some at a time, and check that all of them were written."""
        made = self._scratch.with_name(self._scratch.name + self._suffix)
        with _as_trr(growing) as source, self._written(made) as target:
            if self._suffix in HDF5_SUFFIXES:
                _keep_no_times(target)
                first = source.read(n_frames=1)[0]
                target.topology = mdtraj_topology(with_disulfides(self._atoms, first))
                source.seek(0)
            for _ in range(0, frames, _FRAMES_PER_CONVERSION):
                positions, time, _, box = source.read(n_frames=_FRAMES_PER_CONVERSION)[:4]
                self._convert(positions, time, box, target)
            if self._suffix in NETCDF_SUFFIXES:
                target._handle.title = "by backmap"  # instead of the time and the machine
        if _frames_in(made) != frames:
            raise self._incomplete()
        with explain_writing(self._final):
            rename_durably(made, final)

    def _convert(self, positions: np.ndarray, time: np.ndarray, box: np.ndarray | None, target: Any) -> None:
        scale = 1.0 if self._suffix in HDF5_SUFFIXES else ANGSTROM_PER_NM
        cell = {} if box is None or not box.any() else _cell(box, scale)
        target.write(positions * np.float32(scale), time=time, **cell)


def _keep_no_times(file: HDF5TrajectoryFile) -> None:
    """Keep the arrays of a file from recording their creation time, so that equal runs give equal files."""
    for name in ("create_array", "create_earray"):
        setattr(file._handle, name, partial(getattr(file._handle, name), track_times=False))


def _require_finite(frames: Frames, final: Path) -> None:
    """Refuse coordinates that are not finite in single precision."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.asarray(frames.coordinates, dtype=np.float32) * np.float32(ANGSTROM_PER_NM))
    if not finite.all():
        frame, atom, _ = np.argwhere(~finite)[0]
        number = _numbers_of(frames)[frame] + 1
        raise InputError(
            f"{final}: frame {number}, atom {atom + 1}: a coordinate to be written is not a finite number; "
            "the run went wrong before this point"
        )


def _angstrom_with_b_factors(frames: Frames, index: int) -> np.ndarray:
    """Return positions of a frame in Angstrom, and its B-factors if there are any: (atoms, 3 or 4)."""
    angstrom = np.asarray(frames.coordinates[index], dtype=np.float64) * ANGSTROM_PER_NM
    if frames.b_factors is None:
        return angstrom
    return np.column_stack([angstrom, frames.b_factors[index]])


def _filled(pieces: Iterable[Template], fields: np.ndarray) -> Iterator[bytes]:
    """Fill the templates of a model with the numbers (atoms, fields) of its atoms, one after another."""
    first = 0
    for text, n_atoms in pieces:
        numbers = fields[first : first + n_atoms].ravel().tolist()
        yield (text % tuple(numbers)).encode()
        first += n_atoms


def _numbers_of(frames: Frames) -> np.ndarray:
    assert frames.numbers is not None  # the growing file has numbered them
    return frames.numbers


@contextmanager
def _as_trr(path: Path) -> Iterator[Any]:
    from mdtraj.formats import TRRTrajectoryFile

    with ascii_name(path) as name, TRRTrajectoryFile(name) as file:
        yield file


def _frames_in(path: Path) -> int:
    import mdtraj

    with ascii_name(path) as name, mdtraj.open(name) as file:
        return len(file)


def _put(descriptor: int, kind: str, value: float, offset: int) -> None:
    os.pwrite(descriptor, struct.pack(kind, value), offset)


def _cell(vectors: np.ndarray, scale: float) -> dict[str, np.ndarray]:
    """Return the box in the form mdtraj's files expect: lengths in nm times a scale, angles in degrees."""
    lengths, angles = cell_parameters(vectors)
    return {"cell_lengths": lengths * np.float32(scale), "cell_angles": angles}


def cell_parameters(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn box vectors (frames, 3, 3) in nm into lengths in nm and angles in degrees, each (frames, 3).

    Zero vectors, which stand for directions that are not periodic, are perpendicular to all others.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=-1)
    unit = vectors / np.where(lengths > 0, lengths, 1.0)[..., None]
    cosines = np.stack(
        [np.sum(unit[:, i] * unit[:, j], axis=-1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=-1
    )
    return lengths.astype(np.float32), np.degrees(np.arccos(np.clip(cosines, -1, 1))).astype(np.float32)


def _cell_angstrom(vectors: np.ndarray) -> tuple[float, ...]:
    lengths, angles = cell_parameters(np.asarray(vectors)[None])
    return (*(lengths[0] * ANGSTROM_PER_NM), *angles[0])


def _mmcif_cell(vectors: np.ndarray, space_group: str) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    values = _cell_angstrom(vectors)
    cell = "".join(f"_cell.{name} {value:.3f}\n" for name, value in zip(names, values, strict=True))
    return f"{cell}_symmetry.space_group_name_H-M '{space_group}'\n#\n"
