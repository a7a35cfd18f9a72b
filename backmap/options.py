"""What may be asked for: the same limits for options of the command line and arguments in Python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.errors import InputError
from backmap.limits import Real, Whole, shown

if TYPE_CHECKING:
    import mdtraj

_PICOSECONDS = Real(1e-9, 1e12)
_FRAMES = Whole(1, 10**12)

NUMBERS: dict[str, Whole | Real] = {
    "samples": Whole(1, 10_000),
    "seed": Whole(0, 2**63 - 1),
    "ddim_steps": Whole(0, 10_000),
    "redraws": Whole(0, 1_000),
    "bead_noise": Real(1e-6, 10.0),
    "ph": Real(0.0, 14.0),
    "minimise": Whole(0, 1_000_000),
    "refine": Whole(0, 100_000_000),
    "temperature": Real(1.0, 10_000.0),
    "begin": _FRAMES,
    "end": _FRAMES,
    "stride": _FRAMES,
    "threads": Whole(1, 1_024),
    "workers": Whole(1, 256),
    "batch": Whole(1, 1_000_000),
    "chunk": _FRAMES,
    "segments": Whole(1, 10_000),
    "burn_in": Whole(0, 10**12),
    "frame_interval": _PICOSECONDS,
    "lag": _PICOSECONDS,
    "lag_times": _PICOSECONDS,
    "states": Whole(2, 5_000),
    "metastable": Whole(2, 100),
}
"""Numbers by the name of their option; numbers of the evaluation in ps and K, ``bead_noise`` in nm."""

CHOICES = {"device": ("auto", "cpu", "cuda"), "c_alphas": ("auto", "keep", "relax")}
_FLAGS = {"skip_unknown", "keep_given", "hydrogens"}
_FILES = {"model", "top", "sequence"}
_MAY_BE_NONE = {"redraws", "bead_noise", "temperature", "top", "sequence"}
_MAY_BE_NONE |= {"frame_interval", "lag", "lag_times", "metastable"}


def check_arguments(**given: Any) -> dict[str, Any]:
    """Check arguments of the Python interface by their names, and give them as plain values.

    Nothing is converted but numpy's numbers and truth values.

    Raises
    ------
    InputError
        If one has the wrong type or lies outside its limits; the message names it.
    """
    return {
        name: None if value is None and name in _MAY_BE_NONE else _check(name, value)
        for name, value in given.items()
    }


def _check(name: str, value: Any) -> Any:
    if name == "lag_times":
        if isinstance(value, str | bytes) or not isinstance(value, Sequence | np.ndarray):
            raise InputError(f"lag_times is {shown(value)}; give a sequence of numbers")
        return [NUMBERS[name].check(time, name) for time in value]
    if name in NUMBERS:
        return NUMBERS[name].check(value, name)
    if name in CHOICES:
        if not (isinstance(value, str) and value in CHOICES[name]):
            raise InputError(f"{name} is {shown(value)}; give one of {', '.join(CHOICES[name])}")
        return value
    if name in _FLAGS:
        if not isinstance(value, bool | np.bool_):
            raise InputError(f"{name} is {shown(value)}; give True or False")
        return bool(value)
    assert name in _FILES, name
    if not is_path(value) or not os.fspath(value) or "\0" in os.fspath(value):
        raise InputError(f"{name} is {shown(value)}; give the name of a file")
    return value


def is_path(value: object) -> bool:
    """Whether a value names a file."""
    return isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str)


def require_trajectories(given: Any, name: str) -> list[mdtraj.Trajectory]:
    """Give one or several trajectories as a list, or say that they are none."""
    import mdtraj

    listed = [given] if isinstance(given, mdtraj.Trajectory) else given
    if isinstance(listed, str | bytes) or not isinstance(listed, Sequence):
        raise InputError(f"{name}: {shown(given)} is no mdtraj.Trajectory, and no sequence of such")
    for trajectory in listed:
        if not isinstance(trajectory, mdtraj.Trajectory):
            raise InputError(f"{name}: {shown(trajectory)} is no mdtraj.Trajectory; load files with mdtraj")
    return list(listed)
