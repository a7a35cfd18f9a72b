"""Checks of the arguments of exported models, compiled by TorchScript with the models."""

from typing import Optional

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


def check_bonds(name: str, points: Tensor, following: Tensor, reach_nm: float = 0.0) -> None:
    """Check that no bond in frames (frames, residues, 3) is torn, as by the walls of a periodic box.

    ``following`` (residues,) is the residue at C of each, -1 without. Points may be ``reach_nm`` farther
    apart than C-alphas.

    Raises
    ------
    ValueError
        Naming the first torn bond.
    """
    apart = torch.linalg.vector_norm(points[:, following.clamp_min(0)] - points, dim=-1) * (following >= 0)
    torn = (apart > topology.TORN_BOND_NM + reach_nm).nonzero()
    if len(torn) > 0:
        frame, residue = int(torn[0, 0]), int(torn[0, 1])
        raise ValueError(
            f"{name}: residues {residue} and {int(following[residue])} of frame {frame} (counted from 0) are "
            f"bonded but {float(apart[frame, residue])} nm apart; make molecules whole"
        )


def check_frames(
    numbers: Tensor,
    linked: Tensor,
    box: Optional[Tensor],  # noqa: UP045  # TorchScript
    frames: int,
    residues: int,
    like: Tensor,
) -> None:
    """Check numbers and boxes of frames, and which residues are bonded to their successor.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    check_vector("numbers", numbers, torch.int64, frames, like)
    check_vector("linked", linked, torch.bool, residues, like)
    if box is not None:
        check_box(box, frames, like)


def check_rings(linked: Tensor, chain_offsets: Tensor, builds_rings: bool) -> None:
    """Check that chains whose last residue is bonded (``linked``) can be rings.

    Raises
    ------
    ValueError
        Naming the first chain that cannot.
    """
    for chain in torch.nonzero(linked[chain_offsets[1:] - 1]).flatten():
        if not builds_rings:
            raise ValueError(
                "linked must be False for the last residue of each chain: this model builds open chains only"
            )
        first, end = int(chain_offsets[chain]), int(chain_offsets[chain + 1])
        if end - first < topology.SHORTEST_RING or not bool(linked[first:end].all()):
            raise ValueError(
                f"linked is True for the last residue of chain {int(chain)} (counted from 0), so this is "
                f"a ring, but rings have at least {topology.SHORTEST_RING} residues and no breaks"
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


def check_sequence(residue_types: Tensor, chain_offsets: Tensor, n_types: int, like: Tensor) -> None:
    """Check residue types (residues,), and the first residue of each chain with their number at the end.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    if residue_types.dim() != 1 or residue_types.shape[0] == 0:
        raise ValueError(f"residue_types has shape {list(residue_types.shape)}; it must be [residues]")
    check_vector("residue_types", residue_types, torch.int64, residue_types.shape[0], like)
    if bool((residue_types < 0).any()) or bool((residue_types >= n_types).any()):
        raise ValueError(f"residue_types must be between 0 and {n_types - 1}")
    check_offsets(chain_offsets, residue_types.shape[0], like)


def check_offsets(chain_offsets: Tensor, residues: int, like: Tensor) -> None:
    """Check the first residue of each chain, with the number of residues at the end.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    if chain_offsets.dim() != 1 or chain_offsets.dtype != torch.int64 or len(chain_offsets) < 2:
        raise ValueError("chain_offsets must be int64 of shape (chains + 1,) with at least one chain")
    if chain_offsets.device != like.device:
        raise ValueError(
            f"chain_offsets is on {chain_offsets.device}, but the positions are on {like.device}"
        )
    if int(chain_offsets[0]) != 0 or int(chain_offsets[-1]) != residues:
        raise ValueError(f"chain_offsets must start at 0 and end at the number of residues, {residues}")
    if bool((chain_offsets[1:] <= chain_offsets[:-1]).any()):
        raise ValueError("chain_offsets must be strictly ascending: every chain has at least one residue")


def chain_index(chain_offsets: Tensor) -> Tensor:
    """Return the chain index of each residue, (residues,) int64."""
    lengths = chain_offsets[1:] - chain_offsets[:-1]
    return torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)


def check_draw(samples: int, bead_noise: float, most_noise_nm: float, kept: str) -> None:
    """Check the number of samples and the noise of beads; ``kept`` says what -1 keeps.

    Raises
    ------
    ValueError
        Saying what is wrong.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}; it must be at least 1")
    if not (bead_noise == -1.0 or 0.0 <= bead_noise <= most_noise_nm):
        raise ValueError(
            f"bead_noise is {bead_noise}: give a standard deviation of at most 0.3 nm, 0 to estimate "
            f"it, or -1 to keep all {kept}"
        )
