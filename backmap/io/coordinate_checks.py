"""Checks of C-alpha positions: numbers, places, the unit of length, and breaks of the chain."""

from __future__ import annotations

import warnings
from typing import NoReturn

import numpy as np

from backmap.chemistry import SLOT_CA, Topology
from backmap.errors import InputError, InputWarning

MIN_C_ALPHA_DISTANCE_NM = 0.01
"""Two C-alphas closer than this are taken for one place given twice."""

NOT_FINITE = "a coordinate is not a finite number; leave that frame out or repair the file"

USUAL_DISTANCE_NM = (0.3, 0.45)
"""Neighbouring C-alphas are 0.38 nm apart (0.29 nm across a cis bond); the median lies in this range."""

_BREAKS_NAMED = 3
_WRONG_UNITS = (
    (10.0, "10 times too long: Angstrom were read as nm; divide the coordinates by 10"),
    (
        100.0,
        "100 times too long: the coordinates are in picometre or were converted twice; divide them by 100",
    ),
    (0.1, "10 times too short: nm were read as Angstrom; multiply the coordinates by 10"),
    (0.01, "100 times too short: they were converted twice; multiply the coordinates by 100"),
)


def sound_frames(coordinates: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Find the frames whose positions are all numbers and whose C-alphas lie apart.

    Parameters
    ----------
    coordinates : ndarray, (frames, residues, 15, 3)
        Positions in nm.
    present : ndarray, (residues, 15) bool
        Which of them the file has.

    Returns
    -------
    ndarray, (frames,) bool
    """
    sound = np.isfinite(coordinates[:, present]).all(axis=(1, 2))
    finite = np.flatnonzero(sound)
    coinciding, _, _ = _coincidences(coordinates[finite, :, SLOT_CA])
    sound[finite[coinciding]] = False
    return sound


def refuse_frame(
    coordinates: np.ndarray, present: np.ndarray, topology: Topology, number: int, file: str
) -> NoReturn:
    """Say what is wrong with a frame that is not sound.

    Parameters
    ----------
    coordinates : ndarray, (residues, 15, 3)
        Positions in nm.
    present : ndarray, (residues, 15) bool
        Which of them the file has.
    topology : Topology
        The residues.
    number : int
        Number of the frame in the file, from 0.
    file : str
        Name of the file.
    """
    bad = present & ~np.isfinite(coordinates).all(axis=-1)
    if bad.any():
        residue = topology.describe(np.argwhere(bad)[0, 0])
        raise InputError(f"{file}: frame {number + 1}, {residue}: {NOT_FINITE}")
    _, (first, *_), (second, *_) = _coincidences(coordinates[None, :, SLOT_CA])
    one, other = (topology.describe(residue) for residue in sorted((first, second)))
    raise InputError(
        f"{file}: frame {number + 1}: {one} and {other} have their C-alphas in one place; remove the copy or "
        "repair the file"
    )


def _coincidences(c_alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find C-alphas closer than ``MIN_C_ALPHA_DISTANCE_NM``: frames, residues and their other residues."""
    order = np.argsort(c_alpha[:, :, 0], axis=1)
    ordered = np.take_along_axis(c_alpha, order[:, :, None], axis=1)
    found = [np.empty((3, 0), dtype=np.int64)]
    for lag in range(1, c_alpha.shape[1]):
        close = ordered[:, lag:, 0] - ordered[:, :-lag, 0] < MIN_C_ALPHA_DISTANCE_NM
        if not close.any():
            break
        frames, places = np.nonzero(close)
        apart = np.linalg.norm(ordered[frames, places + lag] - ordered[frames, places], axis=-1)
        frames, places = (hits[apart < MIN_C_ALPHA_DISTANCE_NM] for hits in (frames, places))
        found.append(np.stack([frames, order[frames, places], order[frames, places + lag]]))
    return tuple(np.concatenate(found, axis=1))


def check_unit(c_alpha: np.ndarray, topology: Topology, file: str) -> None:
    """Refuse coordinates in another unit than nm, judged by the distance of neighbouring C-alphas.

    Parameters
    ----------
    c_alpha : ndarray, (frames, residues, 3)
        C-alpha positions in nm.
    """
    within = ~topology.chain_ends[:-1]
    if not within.any() or not len(c_alpha):
        return
    distance = float(np.median(np.linalg.norm(np.diff(c_alpha, axis=1), axis=-1)[:, within]))
    meaning = wrong_unit(distance, *USUAL_DISTANCE_NM)
    if meaning:
        raise InputError(
            f"{file}: neighbouring C-alphas are {distance:.3g} nm apart instead of 0.38 nm, {meaning}"
        )


def wrong_unit(length: float, low: float, high: float) -> str | None:
    """Say which mistake of units explains a length in nm that should lie in a range, or None if none does."""
    for factor, meaning in _WRONG_UNITS:
        if low * factor < length < high * factor:
            return meaning
    return None


def warn_of_breaks(linked: np.ndarray, c_alpha: np.ndarray, topology: Topology, file: str) -> None:
    """Warn once of neighbours in a chain that are not bonded, naming the first of them.

    Parameters
    ----------
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    c_alpha : ndarray, (frames, residues, 3)
        C-alpha positions in nm.
    """
    breaks = np.flatnonzero(~linked & ~topology.chain_ends)
    if not len(breaks):
        return
    named = "; ".join(_describe_break(index, c_alpha, topology) for index in breaks[:_BREAKS_NAMED])
    more = f"; and {len(breaks) - _BREAKS_NAMED} more" if len(breaks) > _BREAKS_NAMED else ""
    count = "a chain break" if len(breaks) == 1 else f"{len(breaks)} chain breaks"
    warnings.warn(f"{file}: {count}, built as separate segments: {named}{more}", InputWarning, stacklevel=2)


def _describe_break(index: int, c_alpha: np.ndarray, topology: Topology) -> str:
    distance = np.median(np.linalg.norm(c_alpha[:, index + 1] - c_alpha[:, index], axis=-1))
    before, after = topology.describe(index), topology.describe(index + 1)
    return f"between {before} and {after} (C-alphas {distance:.2f} nm apart)"
