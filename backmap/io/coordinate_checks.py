"""Checks of C-alpha positions: numbers, places, the unit of length, and breaks of the chain."""

from __future__ import annotations

import warnings

import numpy as np

from backmap.chemistry import SLOT_CA, Topology
from backmap.errors import InputError, InputWarning

MIN_C_ALPHA_DISTANCE_NM = 0.01
"""Two C-alphas closer than this are taken for one place given twice."""

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


def check_positions(
    coordinates: np.ndarray, present: np.ndarray, topology: Topology, first_frame: int, file: str
) -> None:
    """Refuse positions that are no numbers and C-alphas that lie on one another.

    Parameters
    ----------
    coordinates : ndarray, (frames, residues, 15, 3)
        Positions in nm.
    present : ndarray, (residues, 15) bool
        Which of them the file has.
    topology : Topology
        The residues, for messages.
    first_frame : int
        Number of the first of these frames in the file, from 0.
    file : str
        Name of the file, for messages.
    """
    bad = present & ~np.isfinite(coordinates).all(axis=-1)
    if bad.any():
        frame, residue, _ = np.argwhere(bad)[0]
        raise InputError(
            f"{file}: frame {first_frame + frame + 1}, {topology.describe(residue)}: a coordinate is not a "
            "finite number; leave that frame out or repair the file"
        )
    pair = _first_coincidence(coordinates[:, :, SLOT_CA])
    if pair is not None:
        frame = first_frame + pair[0] + 1
        one, other = (topology.describe(residue) for residue in pair[1:])
        raise InputError(
            f"{file}: frame {frame}: {one} and {other} have their C-alphas in one place; remove the copy or "
            "repair the file"
        )


def _first_coincidence(c_alpha: np.ndarray) -> tuple[int, int, int] | None:
    """Find frame and residues of two C-alphas closer than ``MIN_C_ALPHA_DISTANCE_NM``, sweeping along x."""
    order = np.argsort(c_alpha[:, :, 0], axis=1)
    ordered = np.take_along_axis(c_alpha, order[:, :, None], axis=1)
    for lag in range(1, c_alpha.shape[1]):
        close = ordered[:, lag:, 0] - ordered[:, :-lag, 0] < MIN_C_ALPHA_DISTANCE_NM
        if not close.any():
            return None
        frames, places = np.nonzero(close)
        apart = np.linalg.norm(ordered[frames, places + lag] - ordered[frames, places], axis=-1)
        hits = np.flatnonzero(apart < MIN_C_ALPHA_DISTANCE_NM)
        if len(hits):
            frame, place = frames[hits[0]], places[hits[0]]
            one, other = sorted((order[frame, place], order[frame, place + lag]))
            return int(frame), int(one), int(other)
    return None


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
