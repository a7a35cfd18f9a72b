"""Open any structure or trajectory as a stream of frames of a molecule's beads."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from backmap.chemistry import LinearMapping, Molecule
from backmap.errors import InputError, InputWarning

from .formats.structure_file import FrameFile
from .formats.trajectory_file import LoadedTrajectory, residue_records
from .frames import Frames
from .naming import INPUT_SUFFIXES, TOPOLOGY_SUFFIXES, require_file, require_suffix
from .reader import EVERY_FRAME, FrameRange, FrameSource, open_files, open_frames
from .selection.bead_selection import (
    BeadSelection,
    bare_atoms,
    bare_beads,
    describe_beads,
    select_atoms,
    select_beads,
)
from .selection.coordinate_checks import MIN_BOX_WIDTH_NM, NOT_FINITE
from .selection.records import ResidueRecord
from .selection.whole_molecules import ChainsOfAtoms, make_whole, narrowest_width, periodic_boxes

if TYPE_CHECKING:
    import mdtraj

_SAME_INTERVAL = 1e-3


class BeadSource(FrameSource):
    """An opened structure or trajectory of a molecule's beads, made by :func:`open_beads`.

    Chunks have coordinates (frames, beads, 3) float64 in nm.
    """

    def __init__(
        self,
        name: str,
        frames_file: FrameFile,
        selection: BeadSelection,
        *,
        frames: FrameRange = EVERY_FRAME,
        skip_bad: bool = False,
        files: tuple[Path, ...] = (),
        timed: bool | None = None,
    ) -> None:
        super().__init__(name, frames_file, frames=frames, skip_bad=skip_bad, files=files, timed=timed)
        self._selection = selection
        atoms = np.arange(len(selection.atom_index))
        self._one_chain = ChainsOfAtoms(atoms, atoms, np.zeros_like(atoms), np.ones_like(atoms[1:]))

    def odd_interval(self, expected_ps: float) -> str | None:
        """Say how the time between frames differs from that of a model's training; None if it does not."""
        stride = self.frame_range.stride
        if self.n_frames < 2:
            return None
        interval = self.frame_interval_ps
        if interval is None:
            if stride == 1 or self._timed:
                return None
            return (
                f"contains no times; with a stride of {stride} its frames must be "
                f"{expected_ps / stride:g} ps apart for this model"
            )
        if abs(interval - expected_ps) <= _SAME_INTERVAL * expected_ps:
            return None
        after = f" after a stride of {stride}" if stride > 1 else ""
        return (
            f"frames are {interval:g} ps apart{after}, but the model was trained on frames "
            f"{expected_ps:g} ps apart; its atoms will move too fast or too slowly"
        )

    def _take(self, raw: Frames) -> tuple[np.ndarray, np.ndarray]:
        positions = self._positions(raw)
        with np.errstate(invalid="ignore"):
            beads = self._selection.weights @ positions
        return beads, np.isfinite(positions).all(axis=(1, 2))

    def _refuse(self, raw: Frames, number: int) -> NoReturn:
        atom = np.isfinite(self._positions(raw)[0]).all(axis=-1).argmin()
        raise InputError(f"{self.name}: frame {number + 1}, {self._selection.labels[atom]}: {NOT_FINITE}")

    def _positions(self, raw: Frames) -> np.ndarray:
        """Return the positions of the selected atoms, with molecules split by a box made whole."""
        positions = np.asarray(raw.coordinates[:, self._selection.atom_index], dtype=np.float64)
        boxes = periodic_boxes(raw.periodic_box, len(raw))
        sensible = np.isfinite(positions).all(axis=(1, 2)) & np.isfinite(boxes).all(axis=(1, 2))
        sensible &= narrowest_width(boxes) >= MIN_BOX_WIDTH_NM
        return make_whole(positions, np.where(sensible[:, None, None], boxes, 0.0), self._one_chain)


def warn_of_intervals(sources: Iterable[BeadSource], expected_ps: float) -> None:
    """Warn if times between frames differ from that of a model's training, once for files that are alike."""
    alike: dict[str, list[str]] = {}
    for source in sources:
        if (odd := source.odd_interval(expected_ps)) is not None:
            alike.setdefault(odd, []).append(source.name)
    for odd, names in alike.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        warnings.warn(f"{names[0]}{more}: {odd}", InputWarning, stacklevel=3)


def open_beads(
    path: str | Path,
    molecule: Molecule,
    mapping: LinearMapping,
    top: str | Path | None = None,
    *,
    frames: FrameRange = EVERY_FRAME,
    skip_bad: bool = False,
) -> BeadSource:
    """Open a structure or trajectory that contains the beads of a molecule, or the atoms they are made of.

    Parameters
    ----------
    path : path
        PDB, mmCIF, or any trajectory mdtraj reads; text formats also as ``.gz``.
    molecule : Molecule
        The molecule. Its atoms are found by residue and atom names among any others, such as water.
    mapping : LinearMapping
        Its beads. A file that contains only beads has them in this order.
    top : path, optional
        Topology, for trajectories that contain only coordinates. Without one, the number of atoms tells
        whether they are the beads or all atoms of the molecule.
    frames : FrameRange
        Which frames to read.
    skip_bad : bool
        Leave out frames whose coordinates are not finite, instead of refusing the file.

    Raises
    ------
    InputError
        If the file cannot be used; the message says what was expected and what was found.

    Warns
    -----
    InputWarning
        If only the number of atoms shows that the file contains the beads or the molecule.
    """
    path = require_file(path)
    suffix = require_suffix(path, INPUT_SUFFIXES, "input")
    if top is None and suffix not in TOPOLOGY_SUFFIXES:
        file = open_frames(path, mapping.n_beads)
        selection = _select_by_number(path, file.n_atoms, molecule, mapping)
        return BeadSource(str(path), file, selection, frames=frames, skip_bad=skip_bad, files=(path,))
    opened = open_files(path, top)
    if opened.frames.n_atoms == mapping.n_beads:
        opened.require_same_atoms("it seems to contain only the beads: leave out the topology")
    opened.require_same_atoms("give the topology it was written with")
    selection = select_beads(opened.names.residues, molecule, mapping, file=str(opened.files[-1]))
    return BeadSource(
        str(path), opened.frames, selection, frames=frames, skip_bad=skip_bad, files=opened.files
    )


def beads_from_mdtraj(
    trajectory: mdtraj.Trajectory,
    molecule: Molecule,
    mapping: LinearMapping,
    *,
    residues: Sequence[ResidueRecord] | None = None,
) -> BeadSource:
    """Open an mdtraj trajectory in memory as :func:`open_beads` opens a file.

    ``residues``, if given, replace those of its topology.
    """
    name = "the trajectory"
    residues = residue_records(trajectory.topology) if residues is None else residues
    selection = select_beads(residues, molecule, mapping, file=name)
    # mdtraj numbers the frames if it knows no times
    timed = not np.array_equal(trajectory.time, np.arange(trajectory.n_frames))
    return BeadSource(name, LoadedTrajectory(trajectory), selection, timed=timed)


def read_molecule(path: str | Path, molecule: Molecule) -> np.ndarray:
    """Read a whole trajectory of all atoms of a molecule.

    Parameters
    ----------
    path : path
        A file that names its atoms, or one that contains only coordinates in the order of the molecule.
    molecule : Molecule
        The molecule; other atoms of the file are left out.

    Returns
    -------
    ndarray, (frames, atoms, 3) float32
        Positions in nm.

    Raises
    ------
    InputError
        If the file does not contain the molecule exactly once, or a coordinate is not finite.
    """
    path = require_file(path)
    everything = LinearMapping.from_atoms(range(molecule.n_atoms), molecule)
    if require_suffix(path, INPUT_SUFFIXES, "input") in TOPOLOGY_SUFFIXES:
        opened = open_files(path)
        index = select_atoms(opened.names.residues, molecule, file=str(path))
        selection = BeadSelection(index, everything.weights, bare_atoms(molecule, everything).labels)
        frames = opened.frames
    else:
        frames = open_frames(path, molecule.n_atoms)
        selection = bare_atoms(molecule, everything)
        if frames.n_atoms != molecule.n_atoms:
            raise InputError(
                f"{path}: expected the {molecule.n_atoms} atoms of the model's molecule; "
                f"found {frames.n_atoms}"
            )
    source = BeadSource(str(path), frames, selection, files=(path,))
    return np.concatenate([chunk.coordinates.astype(np.float32) for chunk in source.chunks(10_000)])


def _select_by_number(path: Path, atoms: int, molecule: Molecule, mapping: LinearMapping) -> BeadSelection:
    if atoms == mapping.n_beads:
        meaning, selection = f"the model's {describe_beads(mapping)}", bare_beads(mapping)
    elif atoms == molecule.n_atoms:
        meaning, selection = f"the {atoms} atoms of the model's molecule", bare_atoms(molecule, mapping)
    else:
        raise InputError(
            f"{path}: contains coordinates of {atoms} atoms but no names; expected the model's "
            f"{describe_beads(mapping)}, the {molecule.n_atoms} atoms of its molecule, or a topology "
            "with --top"
        )
    warnings.warn(
        f"{path}: contains no names; assumed to be {meaning} in this order (give a topology with --top to "
        "make sure)",
        InputWarning,
        stacklevel=3,
    )
    return selection
