"""Offsets of the frames in XTC, TRR and DCD files, from the sizes in their headers.

XTC and TRR are GROMACS's XDR files: big-endian 4-byte fields. DCD is CHARMM's: Fortran records, each between
two 4-byte fields that give its length.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backmap.errors import InputError

_XTC_MAGIC = 1995
_XTC_START = struct.Struct(">2i")  # magic number, atoms
_XTC_PACKED = struct.Struct(
    ">2i44xi32xi"
)  # magic number, atoms, ..., atoms again, ..., bytes of packed positions
_XTC_PLAIN_ATOMS = 9  # positions of so few atoms are not packed
_XTC_PLAIN_HEADER = 56

_TRR_MAGIC = 1993
_TRR_SIZES = struct.Struct(
    ">i28x3i8x4i"
)  # magic, bytes of box virial pressure positions velocities forces, atoms
_TRR_HEADER = 76  # followed by time and lambda

_DCD_START = 92
_DCD_FIXED_ATOMS, _DCD_HAS_CELL, _DCD_HAS_FOURTH, _DCD_CHARMM = 40, 48, 52, 84


@dataclass(frozen=True)
class FrameLayout:
    """The whole frames of a file.

    Parameters
    ----------
    atoms : int
        Atoms per frame.
    offsets : ndarray, (frames,) int64
        Bytes before each frame.
    ends_early : bool
        Whether part of another frame follows the last whole one.
    boxes : ndarray, (frames,) bool, optional
        Which frames have a box, in formats where it is optional.
    """

    n_atoms: int
    offsets: np.ndarray
    ends_early: bool
    boxes: np.ndarray | None = None


def xtc_layout(path: Path) -> FrameLayout:
    """Find the frames of an XTC file.

    Raises
    ------
    InputError
        If a frame has a different number of atoms from the first, or no header where it should begin.
    """
    data = _mapped(path, _XTC_START.size)
    atoms = _xtc_atoms(data, 0, 0, path)
    if atoms <= _XTC_PLAIN_ATOMS:
        return _plain_xtc_layout(data, atoms, path)

    def length_at(offset: int, frame: int) -> int:
        magic, found, again, packed = _XTC_PACKED.unpack_from(data, offset)
        if magic != _XTC_MAGIC or found != atoms:
            _require_atoms(_xtc_atoms(data, offset, frame, path), atoms, frame, path)
        if again != atoms or 8 * packed < atoms:
            raise _damaged(path, frame)
        return _XTC_PACKED.size + packed + -packed % 4

    offsets, end = _scan(data, _XTC_PACKED.size, length_at)
    _check_xtc_start(data, end, len(offsets), atoms, path)
    return FrameLayout(atoms, offsets, end < len(data))


def _plain_xtc_layout(data: mmap.mmap, atoms: int, path: Path) -> FrameLayout:
    """Lay out frames that are not packed, and so all have the same size."""
    length = _XTC_PLAIN_HEADER + 12 * atoms
    frames = len(data) // length
    words = np.frombuffer(data, ">i4", frames * length // 4).reshape(frames, -1)
    unlike = (words[:, 0] != _XTC_MAGIC) | (words[:, 1] != atoms)
    first = int(unlike.argmax()) if unlike.any() else frames
    _check_xtc_start(data, first * length, first, atoms, path)
    return FrameLayout(atoms, length * np.arange(frames, dtype=np.int64), frames * length < len(data))


def _check_xtc_start(data: mmap.mmap, offset: int, frame: int, atoms: int, path: Path) -> None:
    """Check that a frame with the right number of atoms begins at an offset, if there are enough bytes."""
    if offset + _XTC_START.size <= len(data):
        _require_atoms(_xtc_atoms(data, offset, frame, path), atoms, frame, path)


def _xtc_atoms(data: mmap.mmap, offset: int, frame: int, path: Path) -> int:
    """Return the number of atoms of the frame that begins at an offset."""
    magic, atoms = _XTC_START.unpack_from(data, offset)
    if magic != _XTC_MAGIC or atoms <= 0:
        raise _damaged(path, frame)
    return atoms


def trr_layout(path: Path) -> FrameLayout:
    """Find the frames of a TRR file.

    Raises
    ------
    InputError
        If a frame has a different number of atoms from the first, no positions, or no header where it should
        begin.
    """
    data = _mapped(path, _TRR_SIZES.size)
    atoms = _TRR_SIZES.unpack_from(data)[-1]
    boxes = array("b")

    def length_at(offset: int, frame: int) -> int:
        magic, *sizes, found = _TRR_SIZES.unpack_from(data, offset)
        if magic != _TRR_MAGIC or found <= 0 or min(sizes) < 0:
            raise _damaged(path, frame)
        _require_atoms(found, atoms, frame, path)
        positions = sizes[3]
        if not positions:
            raise InputError(f"{path}: frame {frame + 1} has no positions; leave such frames out")
        number_bytes = positions // (3 * atoms)
        if number_bytes not in (4, 8):
            raise _damaged(path, frame)
        boxes.append(sizes[0] > 0)
        return _TRR_HEADER + 2 * number_bytes + sum(sizes)

    offsets, end = _scan(data, _TRR_SIZES.size, length_at)
    has_box = np.array(boxes[: len(offsets)], dtype=bool)
    return FrameLayout(atoms, offsets, end < len(data), has_box)


def _scan(data: mmap.mmap, header_bytes: int, length_at: Callable[[int, int], int]) -> tuple[np.ndarray, int]:
    """Follow the headers; return where each whole frame begins, and where the last of them ends."""
    offsets = array("q")
    offset = 0
    while offset + header_bytes <= len(data):
        end = offset + length_at(offset, len(offsets))
        if end > len(data):
            break
        offsets.append(offset)
        offset = end
    return np.frombuffer(offsets, dtype=np.int64) if offsets else np.empty(0, dtype=np.int64), offset


def dcd_bytes(path: Path) -> tuple[int, int] | None:
    """Return the size of a DCD file's header and of each frame in bytes; None if its layout is unusual."""
    with path.open("rb") as file:
        start = file.read(_DCD_START)
        order = next((order for order in "<>" if start[:8] == struct.pack(f"{order}i4s", 84, b"CORD")), None)
        if order is None or len(start) < _DCD_START:
            return None

        def number(at: int) -> int:
            return struct.unpack_from(f"{order}i", start, at)[0]

        def skip_record() -> bytes:
            (length,) = struct.unpack(f"{order}i", file.read(4))
            return file.read(length + 4)[:-4]

        if number(_DCD_FIXED_ATOMS):
            return None
        try:
            skip_record()  # the titles
            (atoms,) = struct.unpack(f"{order}i", skip_record())
            before = file.tell()
            charmm = number(_DCD_CHARMM)
            cell = 8 + len(skip_record()) if charmm and number(_DCD_HAS_CELL) else 0
        except struct.error:
            return None
        return before, cell + (4 if charmm and number(_DCD_HAS_FOURTH) else 3) * (8 + 4 * atoms)


def _mapped(path: Path, at_least: int) -> mmap.mmap:
    """Map a file with a minimum size in bytes into memory; garbage collection unmaps it."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < at_least:
            raise _damaged(path, 0)
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _require_atoms(found: int, atoms: int, frame: int, path: Path) -> None:
    if found != atoms:
        raise InputError(
            f"{path}: frame {frame + 1} has {found} atoms, but the first has {atoms}; "
            "give every frame the same atoms or split the file"
        )


def _damaged(path: Path, frame: int) -> InputError:
    kind = path.suffix.lstrip(".").upper()
    if not frame:
        return InputError(f"{path}: cannot be read as {kind}; it is damaged or in another format")
    return InputError(f"{path}: is damaged after frame {frame}: no other frame begins there; copy it again")
