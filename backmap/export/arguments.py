"""Checks of the arguments of exported models, compiled by TorchScript with the models."""

import torch
from torch import Tensor

from backmap.chemistry import topology


def check_positions(name: str, values: Tensor, shape: list[int], like: Tensor) -> None:
    """Check positions: their shape (-1: any length except 0), dtype, values, and the device of `like`.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    fits = values.dim() == len(shape) and values.numel() > 0
    if fits:
        for found, wanted in zip(values.shape, shape):  # noqa: B905  # TorchScript knows no strict
            fits = fits and (wanted == -1 or found == wanted)
    if not fits:
        raise ValueError(f"{name} has shape {list(values.shape)}; it must be {shape}, where -1 is any length")
    if values.dtype != torch.float32 and values.dtype != torch.float64:
        raise ValueError(f"{name} has dtype {values.dtype}; it must be float32 or float64")
    if values.device != like.device:
        raise ValueError(f"{name} is on {values.device}, but the model is on {like.device}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{name} contains a coordinate that is not finite")


def check_box(box: Tensor, frames: int, like: Tensor) -> None:
    """Check the vectors (frames, 3, 3) of periodic boxes in reduced form.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    check_positions("box", box, [frames, 3, 3], like)
    widths = torch.stack([box[:, 0, 0], box[:, 1, 1], box[:, 2, 2]], dim=1)
    upper = torch.stack([box[:, 0, 1], box[:, 0, 2], box[:, 1, 2]], dim=1)
    skew = torch.stack([box[:, 1, 0], box[:, 2, 0], box[:, 2, 1]], dim=1).abs()
    most = 0.5001 * torch.stack([box[:, 0, 0], box[:, 0, 0], box[:, 1, 1]], dim=1)
    if bool((upper != 0).any()) or bool((skew > most).any()) or bool((widths < 1.0).any()):
        raise ValueError(
            "box must have rows (ax, 0, 0), (bx, by, 0), (cx, cy, cz) with ax, by, cz of 1 nm or more, "
            "|bx| and |cx| at most ax / 2 and |cy| at most by / 2"
        )


def check_bonds(c_alpha: Tensor, linked: Tensor) -> None:
    """Check that no bond in frames (frames, residues, 3) is torn, as by the walls of a periodic box.

    Raises
    ------
    ValueError
        Naming the first torn bond.
    """
    apart = torch.linalg.vector_norm(c_alpha[:, 1:] - c_alpha[:, :-1], dim=-1) * linked[:-1]
    torn = (apart > topology.TORN_BOND_NM).nonzero()
    if len(torn) > 0:
        frame, residue = int(torn[0, 0]), int(torn[0, 1])
        raise ValueError(
            f"c_alpha: residues {residue} and {residue + 1} of frame {frame} (counted from 0) are bonded but "
            f"{float(apart[frame, residue])} nm apart; make molecules whole"
        )


def check_vector(name: str, values: Tensor, dtype: torch.dtype, length: int, like: Tensor) -> None:
    """Check a vector: its length, dtype, and the device of `like`.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    if values.dim() != 1 or values.shape[0] != length:
        raise ValueError(f"{name} has shape {list(values.shape)}; it must be [{length}]")
    if values.dtype != dtype:
        raise ValueError(f"{name} has dtype {values.dtype}; it must be {dtype}")
    if values.device != like.device:
        raise ValueError(f"{name} is on {values.device}, but other arguments are on {like.device}")
