"""The device to compute on, and the number of pieces of work to do at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backmap.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


def select_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device of this machine.

    Raises
    ------
    InputError
        If there is no such device.
    """
    if name not in DEVICES:
        raise InputError(f"device {name}: unknown; use one of {', '.join(DEVICES)}")
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda: PyTorch finds no CUDA device on this machine; use cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def count_workers(device: torch.device, threads: int | None = None) -> int:
    """Return the number of batches to build at once: one per processor core, or one on a GPU."""
    import torch

    return 1 if device.type != "cpu" else threads or torch.get_num_threads()
