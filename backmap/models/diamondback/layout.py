"""Constants of the representation of a residue: see :mod:`backmap.models.diamondback.representation`.

They are in a separate module because TorchScript reads constants through the module that defines them.
"""

from __future__ import annotations

import math
from enum import IntEnum

from backmap.chemistry import (
    HEAVY_ATOMS,
    RESIDUE_NAMES,
    SIDE_CHAIN,
    SLOT_C,
    SLOT_CA,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
)
from backmap.chemistry.ideal_geometry import ideal_geometry

NEIGHBOURS = 14
POINT_OFFSETS = (-1,) * 3 + (0,) * SLOT_OXT + (1,) * 2
"""Residue of each point, relative to the residue itself."""
POINT_SLOTS = (SLOT_CA, SLOT_C, SLOT_O, *range(SLOT_OXT), SLOT_N, SLOT_CA)
"""Slot of each point."""
POINTS = len(POINT_SLOTS)
ENVIRONMENT_SLOTS = (SLOT_CA, *range(SIDE_CHAIN.start, SIDE_CHAIN.stop))
ENVIRONMENT = NEIGHBOURS * len(ENVIRONMENT_SLOTS) * 3
SIZE = 3 * POINTS + ENVIRONMENT + len(RESIDUE_NAMES)

ATOM_COUNTS = tuple(len(HEAVY_ATOMS[name]) for name in RESIDUE_NAMES)
"""Number of heavy atoms of each residue type; they fill the first slots."""

_REACH_NM = {
    "ALA": 0.25, "ARG": 0.75, "ASN": 0.39, "ASP": 0.39, "CYS": 0.30, "GLN": 0.52, "GLU": 0.52, "GLY": 0.25,
    "HIS": 0.48, "ILE": 0.41, "LEU": 0.41, "LYS": 0.66, "MET": 0.56, "PHE": 0.53, "PRO": 0.26, "SER": 0.26,
    "THR": 0.27, "TRP": 0.70, "TYR": 0.67, "VAL": 0.27,
}  # fmt: skip
_MARGIN_NM = 0.15
REACH_NM = tuple(_REACH_NM[name] + _MARGIN_NM for name in RESIDUE_NAMES)
"""Maximum distance of atoms from the C-alpha for each residue type, with a margin."""
CONTACT_NM = 0.2
"""Residues whose reaches are closer than this could touch."""

SIDE_NM, APEX = 0.381, math.radians(106.0)
"""The isosceles triangle of consecutive C-alphas."""
END_TRIANGLE_NM = (0.0, 0.0, 0.1429, 0.0529, 0.3805, 0.0)
"""CA, C and the next CA of a trans peptide, on which the frames of chain ends are superposed."""
OXT_LENGTH_NM: float = ideal_geometry()["terminal"]["C-OXT"]
OXT_ANGLE: float = ideal_geometry()["terminal"]["angle CA-C-OXT"]


class Pass(IntEnum):
    """Atoms of a residue that are generated.

    INTERIOR
        All atoms of the residue except CA, C and O of the previous residue, N of the next.
    FIRST
        N and side chain of a segment's first residue, whose C and O are already built.
    LAST
        C, O and side chain of a segment's last residue, whose N is already built.
    """

    INTERIOR = 0
    FIRST = 1
    LAST = 2


PASSES = len(Pass)


def _generated() -> tuple[bool, ...]:
    own = range(SLOT_OXT)
    rows = {
        Pass.INTERIOR: [False, True, True, *(slot != SLOT_CA for slot in own), True, False],
        Pass.FIRST: [False] * 3 + [slot == SLOT_N or slot >= SIDE_CHAIN.start for slot in own] + [False] * 2,
        Pass.LAST: [False] * 3
        + [slot in (SLOT_C, SLOT_O) or slot >= SIDE_CHAIN.start for slot in own]
        + [False] * 2,
    }
    return tuple(point for kind in Pass for point in rows[kind])


GENERATED = _generated()
"""Points that each :class:`Pass` generates, including slots that are empty for the residue type."""
