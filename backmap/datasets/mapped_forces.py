"""Beads and the forces on them, from all-atom trajectories with forces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np

from backmap.chemistry import LinearMapping, Molecule
from backmap.chemistry.constants import BOLTZMANN
from backmap.chemistry.force_mapping import ForceMapping, constrained_hydrogens, groups_of
from backmap.datasets.frame_pairs import FramePairs, load_frame_pairs
from backmap.datasets.time_split import split_in_time
from backmap.errors import InputError

MappingOf = Callable[[Molecule], LinearMapping]

FEWEST_FRAMES = 500
"""With fewer, not even the prior can be fitted."""

_VIRIAL_RANGE = 0.5, 2.0
_STANDARD_ERRORS = 4.0
_FRAMES_FOR_WEIGHTS = 20_000


class Aggregation(StrEnum):
    """How the forces on atoms become forces on beads.

    BASIC
        Those on the atoms of each bead, and on what is constrained to them.
    OPTIMAL
        A sum over all atoms with the least noise.
    """

    BASIC = "basic"
    OPTIMAL = "optimal"


class ForceUnit(StrEnum):
    """Unit of the forces in a file."""

    KJ_PER_MOL_NM = "kJ/mol/nm"
    KCAL_PER_MOL_ANGSTROM = "kcal/mol/A"

    @property
    def kj_per_mol_nm(self) -> float:
        """Its value in kJ/mol/nm."""
        return 1.0 if self is ForceUnit.KJ_PER_MOL_NM else 41.84


@dataclass(frozen=True)
class MappedForces:
    """Frames of beads with the forces on them.

    Parameters
    ----------
    beads, forces : ndarray, (frames, beads, 3) float32
        In nm and kJ/mol/nm. The forces of frames that came without are NaN.
    weights : ndarray, (frames,) float64
        Weight of each frame in the unbiased ensemble; their mean is 1.
    """

    beads: np.ndarray
    forces: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.beads)

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 of beads and forces."""
        digest = hashlib.sha256(np.ascontiguousarray(self.beads).data)
        digest.update(np.ascontiguousarray(self.forces).data)
        return digest.hexdigest()

    @property
    def has_forces(self) -> np.ndarray:
        """Which frames (frames,) came with forces."""
        return np.isfinite(self.forces[:, 0, 0])

    def virial_ratio(self, kt: float) -> tuple[float, float]:
        """Return -<sum r F> / ((3 n - 3) kT) about the centre, and its standard error.

        The virial theorem says that it is 1 for a molecule that is free to move. It is so in biased frames
        too, if the bias acts on torsions, which do not depend on the size of the molecule.
        """
        centred = self.beads - self.beads.mean(axis=1, keepdims=True)
        virial = np.einsum("fbx,fbx->f", centred, self.forces, dtype=np.float64)
        ratio = -virial / (3 * (self.beads.shape[1] - 1) * kt)
        return float(ratio.mean()), float(ratio.std() / np.sqrt(len(ratio)))

    def part(self, rows: np.ndarray) -> MappedForces:
        """Return some of the frames."""
        weights = self.weights[rows]
        return MappedForces(self.beads[rows], self.forces[rows], weights / weights.mean())


@dataclass(frozen=True)
class ForceData:
    """What a force field learns from.

    Parameters
    ----------
    train, held_out : MappedForces
        Frames to train on, and to validate with.
    molecule : Molecule
        Atoms.
    mapping : LinearMapping
        Positions of the beads.
    force_mapping : ForceMapping
        Forces on the beads.
    """

    train: MappedForces
    held_out: MappedForces
    molecule: Molecule
    mapping: LinearMapping
    force_mapping: ForceMapping


def load_mapped_forces(
    trajectories: Sequence[str | Path],
    topology: str | Path,
    forces: Sequence[str | Path] | None = None,
    *,
    without_forces: Sequence[str | Path] = (),
    mapping_of: MappingOf,
    aggregation: Aggregation = Aggregation.OPTIMAL,
    constrain_hydrogens: bool = True,
    unit: ForceUnit = ForceUnit.KJ_PER_MOL_NM,
    temperature: float = 300.0,
    train_share: float = 0.9,
) -> ForceData:
    """Read trajectories and forces of one molecule, and map both to beads.

    Parameters
    ----------
    trajectories : sequence of path
        All-atom trajectories.
    topology : path
        Their topology.
    forces : sequence of path, optional
        Arrays (frames, atoms, 3) in NumPy's format; by default ``NAME.forces.npy`` beside each trajectory.
        The weights of biased frames, ``NAME.log_weights.npy``, are read where they are.
    without_forces : sequence of path
        More trajectories of the same ensemble, without forces, which teach by noise.
    mapping_of : function
        Makes the mapping of a molecule.
    aggregation : Aggregation
        How forces are mapped.
    constrain_hydrogens : bool
        Whether the simulation constrained bonds to hydrogen.
    unit : ForceUnit
        Unit of the forces.
    temperature : float
        In K.
    train_share : float
        First part of each trajectory to train on; the rest is held out.

    Raises
    ------
    InputError
        If a file cannot be used, frames are too few, or forces do not belong to the frames.
    """
    every = [*trajectories, *without_forces]
    pairs, molecule = load_frame_pairs(every, topology, previous_frames=0)
    files = forces or [Path(path).with_suffix(".forces.npy") for path in trajectories]
    if len(files) != len(trajectories):
        raise InputError(f"{len(trajectories)} trajectories need as many files of forces, not {len(files)}")
    n_with_forces = sum(pairs.lengths[: len(trajectories)])
    if n_with_forces < FEWEST_FRAMES:
        raise InputError(
            f"{n_with_forces} frames are too few to learn forces from; give at least {FEWEST_FRAMES}"
        )
    mapping = mapping_of(molecule)
    atomic = np.concatenate(
        [
            _read_forces(Path(file), length, molecule.n_atoms)
            for file, length in zip(files, pairs.lengths, strict=False)
        ]
    )
    atomic *= np.float32(unit.kj_per_mol_nm)
    constraints = constrained_hydrogens(molecule.elements, molecule.bonds) if constrain_hydrogens else []
    groups = groups_of(molecule.n_atoms, constraints)
    if aggregation is Aggregation.OPTIMAL:
        some = atomic[:: max(1, len(atomic) // _FRAMES_FOR_WEIGHTS)]
        force_mapping = ForceMapping.optimal(mapping, groups, some)
    else:
        force_mapping = ForceMapping.basic(mapping, groups)
    beads = mapping.apply(pairs.coordinates).astype(np.float32)
    mapped = np.full_like(beads, np.nan)
    mapped[:n_with_forces] = force_mapping.apply(atomic)
    data = MappedForces(beads, mapped, _read_weights(every, pairs))
    _require_consistent(data.part(np.flatnonzero(data.has_forces)), BOLTZMANN * temperature, str(files[0]))
    train, held_out = _split(data, pairs.lengths, train_share)
    return ForceData(train, held_out, molecule, mapping, force_mapping)


def _read_forces(path: Path, n_frames: int, n_atoms: int) -> np.ndarray:
    """Read the forces of one trajectory, (frames, atoms, 3) float32."""
    array = _read_array(
        path,
        "there are no forces; write them with `examples/simulate.py --forces`, or name their file in [data]",
    )
    if array.shape != (n_frames, n_atoms, 3):
        raise InputError(
            f"{path}: has shape {array.shape}, but its trajectory needs forces of shape "
            f"({n_frames}, {n_atoms}, 3)"
        )
    if not np.isfinite(array).all():
        frame = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise InputError(f"{path}: the forces of frame {frame + 1} are not finite numbers")
    return array.astype(np.float32)


def _read_array(path: Path, otherwise: str) -> np.ndarray:
    """Read an array of numbers; ``otherwise`` says what to do if the file is missing."""
    if not path.is_file():
        raise InputError(f"{path}: {otherwise}")
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read as a NumPy array: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise InputError(f"{path}: must hold one array of floating-point numbers")
    return array


def _read_weights(trajectories: Sequence[str | Path], pairs: FramePairs) -> np.ndarray:
    """Return the weight (frames,) of each frame in the unbiased ensemble, 1 on average."""
    parts = []
    for path, length in zip(trajectories, pairs.lengths, strict=True):
        file = Path(path).with_suffix(".log_weights.npy")
        logarithms = _read_array(file, "") if file.exists() else np.zeros(length)
        if logarithms.shape != (length,) or not np.isfinite(logarithms).all():
            raise InputError(f"{file}: must hold one finite number for each of {length} frames")
        weights = np.exp(logarithms.astype(np.float64) - logarithms.max())
        parts.append(weights / weights.mean())
    return np.concatenate(parts)


def _require_consistent(data: MappedForces, kt: float, path: str) -> None:
    """Refuse forces that are not those of the frames, by the virial theorem."""
    low, high = _VIRIAL_RANGE
    ratio, error = data.virial_ratio(kt)
    if low < ratio < high or abs(ratio - 1.0) < _STANDARD_ERRORS * error:
        return
    kcal = ForceUnit.KCAL_PER_MOL_ANGSTROM
    if low < ratio * kcal.kj_per_mol_nm < high:
        raise InputError(f'{path}: the forces seem to be in {kcal.value}; set force_unit = "{kcal.value}"')
    if low < ratio / kcal.kj_per_mol_nm < high:
        raise InputError(f"{path}: the forces seem to be in kJ/mol/nm; leave out force_unit")
    raise InputError(
        f"{path}: the forces do not belong to the frames: by the virial theorem they are {ratio:.3g} times "
        "what the temperature asks for; check the files' order, the frames' interval and the unit"
    )


def _split(
    data: MappedForces, lengths: Sequence[int], train_share: float
) -> tuple[MappedForces, MappedForces]:
    """Part every trajectory in time."""
    sides = [
        np.concatenate([np.arange(part.start, part.stop) for part in slices])
        for slices in split_in_time(lengths, train_share)
    ]
    if not all(len(side) for side in sides):
        raise InputError(f"train_share {train_share} leaves no frames to train on, or none to validate with")
    return data.part(sides[0]), data.part(sides[1])
