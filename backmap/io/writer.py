"""Write structures and trajectories frame by frame, in any format, whole or not at all."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np

from backmap.errors import InputError

from .atom_list import AtomList
from .mdtraj_objects import mdtraj_topology
from .naming import (
    HDF5_SUFFIXES,
    MMCIF_SUFFIXES,
    NETCDF_SUFFIXES,
    OUTPUT_SUFFIXES,
    PDB_SUFFIXES,
    require_suffix,
    stem_of,
    suffix_of,
    with_suffix,
)
from .staging import StagedFiles, explain_writing, writing_error
from .structure_records import MMCIF_HEADER, mmcif_template, pdb_template, too_long_for_pdb
from .trajectory_file import open_quietly

ANGSTROM_PER_NM = 10.0
_PDB_RANGE_ANGSTROM = (-999.999, 9999.999)
_PDB_ATOMS = 99_999


class Writer(Protocol):
    """Takes frames of the atoms it was made for."""

    def write(
        self,
        coordinates: np.ndarray,
        time: np.ndarray | None = None,
        unitcell_vectors: np.ndarray | None = None,
    ) -> None:
        """Append frames.

        Parameters
        ----------
        coordinates : ndarray, (frames, residues, 15, 3) of a protein or (frames, atoms, 3) of a molecule
            Positions in nm.
        time : ndarray, (frames,), optional
            Time in ps.
        unitcell_vectors : ndarray, (frames, 3, 3), optional
            Box vectors in nm.
        """

    def close(self) -> None:
        """Finish the file, making sure that all of it arrived."""

    def abandon(self) -> None:
        """Let go of the file without finishing it."""


def require_output_format(path: str | Path) -> str:
    """Give the suffix of an output, or refuse one that cannot be written."""
    return require_suffix(path, OUTPUT_SUFFIXES, "output")


def create_writer(files: StagedFiles, path: str | Path, atoms: AtomList) -> Writer:
    """Start an output file within a set of files that appear together.

    Parameters
    ----------
    files : StagedFiles
        The set.
    path : path
        Final name; its suffix gives the format. Trajectory formats without residue names get a PDB file of
        their first frame beside them (mmCIF where chain names are too long for PDB).
    atoms : AtomList
        Atoms to write.
    """
    path = Path(path)
    suffix = require_output_format(path)
    if suffix in PDB_SUFFIXES + MMCIF_SUFFIXES:
        return _create_text_writer(files, path, atoms)
    _, *beside = output_files(path, atoms)
    hidden = files.add(path)
    names = _create_text_writer(files, beside[0], atoms) if beside else None
    return TrajectoryWriter(hidden, path, atoms, names)


def output_files(path: Path, atoms: AtomList) -> list[Path]:
    """Name the files that :func:`create_writer` makes: the output, and what names its atoms if it cannot."""
    if suffix_of(path) in PDB_SUFFIXES + MMCIF_SUFFIXES + HDF5_SUFFIXES:
        return [path]
    return [path, with_suffix(path, ".cif" if too_long_for_pdb(atoms) else ".pdb")]


@contextmanager
def open_writer(
    path: str | Path,
    atoms: AtomList,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
) -> Iterator[Writer]:
    """Write one output file: it appears when the ``with`` block ends well, and not at all otherwise.

    Parameters
    ----------
    path, atoms
        As for :func:`create_writer`.
    overwrite : bool
        Whether an existing file may be replaced.
    inputs : iterable of path
        Files that are being read and must not be replaced.
    """
    with StagedFiles(overwrite=overwrite, inputs=inputs) as files:
        with finishing([create_writer(files, path, atoms)]) as (writer,):
            yield writer


@contextmanager
def finishing(writers: list[Writer]) -> Iterator[list[Writer]]:
    """Close writers at the end, or abandon them when anything goes wrong."""
    try:
        yield writers
        for writer in writers:
            writer.close()
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise


def _create_text_writer(files: StagedFiles, path: Path, atoms: AtomList) -> Writer:
    if suffix_of(path) in MMCIF_SUFFIXES:
        return MmcifWriter(files.add(path), path, atoms)
    too_long = too_long_for_pdb(atoms)
    if too_long:
        raise InputError(f"{path}: {too_long} is too long for a PDB file; write mmCIF (.cif) instead")
    return PdbWriter(files.add(path), path, atoms)


class _TextFile:
    """A text file, gzipped if its name says so, whose failures name the final file."""

    def __init__(self, hidden: Path, final: Path) -> None:
        self._final = final
        with explain_writing(final):
            self._file = (
                io.TextIOWrapper(
                    gzip.GzipFile(filename=stem_of(final), mode="wb", fileobj=hidden.open("wb"), mtime=0)
                )
                if suffix_of(final).endswith(".gz")
                else hidden.open("w", encoding="utf-8")
            )

    def write(self, text: str) -> None:
        with explain_writing(self._final):
            self._file.write(text)

    def close(self) -> None:
        with explain_writing(self._final):
            self._file.close()

    def abandon(self) -> None:
        with suppress(OSError, ValueError):
            self._file.close()


class PdbWriter:
    """PDB text. Several frames become MODEL records, a single one has none."""

    def __init__(self, hidden: Path, final: Path, atoms: AtomList) -> None:
        self._final = final
        self._present = atoms.present
        self._template = pdb_template(atoms)
        self._waiting: str | None = None
        self._models = 0
        self._file = _TextFile(hidden, final)

    def write(
        self,
        coordinates: np.ndarray,
        time: np.ndarray | None = None,
        unitcell_vectors: np.ndarray | None = None,
    ) -> None:
        """Append frames: coordinates (frames, ..., 3) and box vectors in nm; time is not stored."""
        angstrom = np.asarray(coordinates, dtype=np.float64)[:, self._present] * ANGSTROM_PER_NM
        self._check_range(angstrom)
        if not self._models and self._waiting is None and unitcell_vectors is not None and len(angstrom):
            self._file.write(_cryst1(unitcell_vectors[0]))
        for frame in angstrom:
            self._append(self._template % tuple(frame.ravel()))

    def _append(self, text: str) -> None:
        """Write a frame; the first waits until it is known whether there are others."""
        if self._waiting is None and not self._models:
            self._waiting = text
            return
        if not self._models:
            self._write_model(self._waiting)
            self._waiting = None
        self._write_model(text)

    def _write_model(self, text: str) -> None:
        self._models += 1
        self._file.write(f"MODEL {self._models:>8}\n{text}ENDMDL\n")

    def _check_range(self, angstrom: np.ndarray) -> None:
        low, high = _PDB_RANGE_ANGSTROM
        if angstrom.size and not (low <= angstrom.min() and angstrom.max() <= high):
            raise InputError(
                f"{self._final}: coordinates beyond {low:.0f} to {high:.0f} Angstrom do not fit into a "
                "PDB file; write mmCIF (.cif) or HDF5 (.h5), or move the structure to the origin"
            )

    def close(self) -> None:
        """Finish the file."""
        if self._waiting is not None:
            self._file.write(self._waiting)
        self._file.write("END\n")
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file without finishing it."""
        self._file.abandon()


class MmcifWriter:
    """mmCIF text: one table of atoms, frames told apart by their model number."""

    def __init__(self, hidden: Path, final: Path, atoms: AtomList) -> None:
        self._present = atoms.present
        self._template = mmcif_template(atoms)
        self._models = 0
        self._name = stem_of(final).replace(" ", "_") or "backmap"
        self._file = _TextFile(hidden, final)

    def write(
        self,
        coordinates: np.ndarray,
        time: np.ndarray | None = None,
        unitcell_vectors: np.ndarray | None = None,
    ) -> None:
        """Append frames: coordinates (frames, ..., 3) and box vectors in nm; time is not stored."""
        angstrom = np.asarray(coordinates, dtype=np.float64)[:, self._present] * ANGSTROM_PER_NM
        if not self._models and len(angstrom):
            cell = "" if unitcell_vectors is None else _mmcif_cell(unitcell_vectors[0])
            self._file.write(f"data_{self._name}\n#\n{cell}{MMCIF_HEADER}")
        for frame in angstrom:
            self._models += 1
            ids = np.arange(1, len(frame) + 1) + (self._models - 1) * len(frame)
            fields = np.column_stack([ids, frame, np.full(len(frame), self._models)])
            self._file.write(self._template % tuple(fields.ravel()))

    def close(self) -> None:
        """Finish the file."""
        self._file.write("#\n")
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file without finishing it."""
        self._file.abandon()


class TrajectoryWriter:
    """A trajectory in a format of mdtraj, with a text file of the first frame for the residue names."""

    def __init__(self, hidden: Path, final: Path, atoms: AtomList, names: Writer | None) -> None:
        self._hidden = hidden
        self._final = final
        self._present = atoms.present
        self._suffix = suffix_of(final)
        self._names = names
        self._frames = 0
        with self._explained():
            import mdtraj

            self._file = mdtraj.open(str(hidden), "w", force_overwrite=True)
            if self._suffix in HDF5_SUFFIXES:
                self._file.topology = mdtraj_topology(atoms)

    def write(
        self,
        coordinates: np.ndarray,
        time: np.ndarray | None = None,
        unitcell_vectors: np.ndarray | None = None,
    ) -> None:
        """Append frames: coordinates (frames, ..., 3) in nm, time in ps, box vectors in nm."""
        if not len(coordinates):
            return
        if not self._frames and self._names is not None:
            box = None if unitcell_vectors is None else unitcell_vectors[:1]
            self._names.write(coordinates[:1], unitcell_vectors=box)
        positions = np.ascontiguousarray(coordinates[:, self._present], dtype=np.float32)
        if time is None:
            time = np.arange(self._frames, self._frames + len(positions))
        with self._explained():
            self._write_frames(positions, np.asarray(time, dtype=np.float32), unitcell_vectors)
        self._frames += len(positions)

    def _write_frames(self, positions: np.ndarray, time: np.ndarray, vectors: np.ndarray | None) -> None:
        if self._suffix in (".xtc", ".trr"):
            box = None if vectors is None else np.asarray(vectors, dtype=np.float32)
            step = np.arange(self._frames, self._frames + len(positions), dtype=np.int32)
            self._file.write(positions, time=time, step=step, box=box)
            return
        lengths, angles = (None, None) if vectors is None else cell_parameters(vectors)
        if self._suffix in HDF5_SUFFIXES:
            self._file.write(positions, time=time, cell_lengths=lengths, cell_angles=angles)
            return
        positions = positions * np.float32(ANGSTROM_PER_NM)
        lengths = None if lengths is None else lengths * np.float32(ANGSTROM_PER_NM)
        if self._suffix in NETCDF_SUFFIXES:
            self._file.write(positions, time=time, cell_lengths=lengths, cell_angles=angles)
        else:
            self._file.write(positions, cell_lengths=lengths, cell_angles=angles)

    def close(self) -> None:
        """Finish the file and count its frames, because not every format reports that a disk was full."""
        if self._names is not None:
            self._names.close()
        with self._explained():
            self._file.close()
            with open_quietly(self._hidden) as file:
                written = len(file)
        if written != self._frames:
            raise writing_error(
                self._final, OSError(f"{written} of {self._frames} frames arrived; is the disk full?")
            )

    def abandon(self) -> None:
        """Let go of the file without finishing it."""
        if self._names is not None:
            self._names.abandon()
        with suppress(Exception):
            self._file.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            with explain_writing(self._final):
                yield
        except (RuntimeError, TypeError) as error:  # how mdtraj's writers tell of a failed write
            raise writing_error(self._final, OSError("a write failed; is the disk full?")) from error
        except ImportError as error:
            needed = "tables" if self._suffix in HDF5_SUFFIXES else error.name or "another package"
            raise InputError(
                f"{self._final}: writing this format needs a package; pip install {needed}"
            ) from error


def cell_parameters(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn box vectors (frames, 3, 3) in nm into lengths in nm and angles in degrees, each (frames, 3)."""
    vectors = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=-1)
    unit = vectors / lengths[..., None]
    cosines = np.stack(
        [np.sum(unit[:, i] * unit[:, j], axis=-1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=-1
    )
    return lengths.astype(np.float32), np.degrees(np.arccos(np.clip(cosines, -1, 1))).astype(np.float32)


def _cell_angstrom(vectors: np.ndarray) -> tuple[float, ...]:
    lengths, angles = cell_parameters(np.asarray(vectors)[None])
    return (*(lengths[0] * ANGSTROM_PER_NM), *angles[0])


def _cryst1(vectors: np.ndarray) -> str:
    a, b, c, alpha, beta, gamma = _cell_angstrom(vectors)
    return f"CRYST1{a:9.3f}{b:9.3f}{c:9.3f}{alpha:7.2f}{beta:7.2f}{gamma:7.2f} P 1           1\n"


def _mmcif_cell(vectors: np.ndarray) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    values = _cell_angstrom(vectors)
    return "".join(f"_cell.{name} {value:.3f}\n" for name, value in zip(names, values, strict=True)) + "#\n"
