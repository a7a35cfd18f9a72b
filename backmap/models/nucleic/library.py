"""Windows of five nucleotides of known structures, from which atoms are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backmap.chemistry.nucleotides import (
    N_BACKBONE_SLOTS,
    NUCLEOTIDE_SLOTS,
    PURINES,
    SLOT_C1,
    base_frame,
    base_letter,
    is_deoxy,
    nucleotide_atoms,
)
from backmap.errors import InputError

from ..checkpoint import Checkpoint, misfit

KINDS = ("dna", "rna")
WINDOW = 5
"""Nucleotides of a window; the one in the middle is built."""

WINDOW_SLOTS = N_BACKBONE_SLOTS + 3
"""Phosphate and sugar, then the base's frame: its glycosidic nitrogen, and the two atoms bonded to it: C4 and
C8 of purines, C2 and C6 of pyrimidines."""

NM_PER_UNIT = 1e-4
"""Coordinates are stored as whole numbers."""


class NucleicLibrary(nn.Module):
    """Windows of DNA and RNA with how often each was seen.

    Parameters
    ----------
    n_dna, n_rna : int
        Numbers of windows.
    """

    def __init__(self, n_dna: int, n_rna: int) -> None:
        super().__init__()
        for kind, number in zip(KINDS, (n_dna, n_rna), strict=True):
            shape = number, WINDOW, WINDOW_SLOTS, 3
            self.register_buffer(f"{kind}_windows", torch.zeros(shape, dtype=torch.int16))
            self.register_buffer(f"{kind}_counts", torch.ones(number, dtype=torch.int32))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> NucleicLibrary:
        """Create the library of a model file. Raises InputError if the file does not hold one."""
        numbers = [_number(checkpoint.config, f"n_{kind}") for kind in KINDS]
        library = checkpoint.build(lambda: cls(*numbers))
        if problem := misfit(checkpoint.tensors, library.state_dict()):
            raise InputError(f"weights do not match the configuration: {problem}")
        library.load_state_dict(checkpoint.tensors)
        return library

    def windows(self, kind: str) -> tuple[Tensor, Tensor]:
        """Return windows (windows, 5, 15, 3) of ``dna`` or ``rna`` in nm, and log-frequencies (windows,)."""
        stored, counts = getattr(self, f"{kind}_windows"), getattr(self, f"{kind}_counts").float()
        return stored.float() * NM_PER_UNIT, (counts / counts.sum()).log()


def _number(config: dict[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"its {name} is {value!r}; it must be a number of windows")
    return value


def kind_of(name: str) -> str:
    """Return ``dna`` or ``rna`` for the standard name of a nucleotide."""
    return "dna" if is_deoxy(name) else "rna"


def frame_slots(name: str) -> list[int]:
    """Return the slots of a nucleotide that a window stores."""
    atoms = nucleotide_atoms(name)
    purine = base_letter(name) in PURINES
    frame = ("N9", "C4", "C8") if purine else ("N1", "C2", "C6")
    return [*range(N_BACKBONE_SLOTS), *(atoms.index(atom) for atom in frame)]


def with_base(window: Tensor, name: str) -> Tensor:
    """Return the atoms (..., 23, 3) of a nucleotide, given what windows (..., 15, 3) store of it.

    The ideal base is laid on the frame's plane and glycosidic bond.
    """
    slots = frame_slots(name)
    ideal = torch.from_numpy(base_frame(base_letter(name)).astype(np.float32)).to(window)
    kept = [0, *(slot - SLOT_C1 for slot in slots[N_BACKBONE_SLOTS:])]
    origin, axes = _axes(ideal[kept])
    local = (ideal - origin) @ axes.mT
    found_origin, found_axes = _axes(window[..., [SLOT_C1, *range(N_BACKBONE_SLOTS, WINDOW_SLOTS)], :])
    base = local @ found_axes + found_origin[..., None, :]
    atoms = window.new_zeros(*window.shape[:-2], NUCLEOTIDE_SLOTS, 3)
    atoms[..., :N_BACKBONE_SLOTS, :] = window[..., :N_BACKBONE_SLOTS, :]
    atoms[..., SLOT_C1 + 1 : SLOT_C1 + len(ideal), :] = base[..., 1:, :]
    return atoms


def _axes(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return origin and axes (rows) of C1', nitrogen and its two other neighbours, (..., 4, 3)."""
    carbon, nitrogen, first, second = points.unbind(dim=-2)
    x = nn.functional.normalize(nitrogen - carbon, dim=-1)
    across = nn.functional.normalize(first - nitrogen, dim=-1) - nn.functional.normalize(
        second - nitrogen, dim=-1
    )
    y = nn.functional.normalize(across - (across * x).sum(dim=-1, keepdim=True) * x, dim=-1)
    return nitrogen, torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], dim=-2)
