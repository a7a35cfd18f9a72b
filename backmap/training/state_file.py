"""The state of a training in one file: written whole or not at all, and checked when it is read."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from backmap.errors import InputError
from backmap.limits import Whole, shown
from backmap.models.model_file import one_line

_COUNT = Whole(0, 2**53)


@dataclass(frozen=True)
class TrainingState:
    """How far a training has come.

    Attributes
    ----------
    epoch, steps : int
        Epochs and steps behind it.
    history : list of dict
        What is known of each epoch.
    tensors : dict of Tensor
        Weights, mean weights and moments of the optimiser.
    """

    epoch: int
    steps: int
    history: list[dict[str, float]]
    tensors: dict[str, Tensor]


def write_state(path: Path, state: TrainingState) -> None:
    """Write a state under another name first, which then becomes the file's."""
    metadata = {
        "epoch": str(state.epoch),
        "updates": str(state.steps),
        "history": json.dumps(state.history),
    }
    temporary = path.with_suffix(".partial")
    save_file({name: t.contiguous().cpu() for name, t in state.tensors.items()}, temporary, metadata)
    os.replace(temporary, path)


def read_state(path: Path) -> TrainingState:
    """Read a state.

    Raises
    ------
    InputError
        If the file holds none; the message does not say which file.
    """
    if not path.is_file():
        raise InputError("it is not a file")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"it cannot be read ({one_line(error)})") from None
    epoch = _count(metadata, "epoch", "epochs")
    steps = _count(metadata, "updates", "steps")
    return TrainingState(epoch, steps, _history(metadata, epoch), tensors)


def _count(metadata: dict[str, str], name: str, counted: str) -> int:
    try:
        return _COUNT.parse(metadata.get(name, ""))
    except ValueError as error:
        raise InputError(f"its number of {counted} {error}") from None


def _history(metadata: dict[str, str], epochs: int) -> list[dict[str, float]]:
    try:
        history = json.loads(metadata.get("history", ""))
    except (ValueError, RecursionError) as error:
        raise InputError(f"its history cannot be read as JSON ({one_line(error)})") from None
    if not isinstance(history, list) or len(history) != epochs or not all(map(_is_entry, history)):
        raise InputError(f"its history {shown(history)} does not list numbers of {epochs} epochs")
    return history


def _is_entry(entry: object) -> bool:
    """Whether something is what is known of an epoch: names and numbers."""
    return isinstance(entry, dict) and all(map(_is_number, entry.values()))


def _is_number(value: object) -> bool:
    """Whether something is a number that can be written as a fraction, which long integers cannot."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _COUNT.highest)
