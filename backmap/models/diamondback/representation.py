"""The 539 numbers of a residue: what is generated, and what it is generated from.

==============  ==========================================  =======
block           atoms                                       numbers
==============  ==========================================  =======
previous        CA, C, O of residue i - 1                         9
own             N, CA, C, O and ten side-chain slots             42
next            N, CA of residue i + 1                            6
environment     CA and ten side-chain slots of 14 residues      462
type            one of twenty                                    20
==============  ==========================================  =======

The first three blocks are the 19 *points* of a residue. Coordinates are in the residue's own frame. An atom
that is not there is zero, as published; masks say which are.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from backmap.chemistry import (
    ATOM_MASK,
    ATOM_SLOTS,
    RESIDUE_NAMES,
    SIDE_CHAIN,
    SLOT_C,
    SLOT_CA,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
)
from backmap.models.chain import Chain, shift
from backmap.ops import FrameRule, canonical_alignment

NEIGHBOURS = 14
POINT_OFFSETS = (-1,) * 3 + (0,) * SLOT_OXT + (1,) * 2
"""Residue of each point, counted from the residue itself."""
POINT_SLOTS = (SLOT_CA, SLOT_C, SLOT_O, *range(SLOT_OXT), SLOT_N, SLOT_CA)
"""Slot of each point."""
POINTS = len(POINT_SLOTS)
ENVIRONMENT_SLOTS = (SLOT_CA, *range(SIDE_CHAIN.start, SIDE_CHAIN.stop))
ENVIRONMENT = NEIGHBOURS * len(ENVIRONMENT_SLOTS) * 3
SIZE = 3 * POINTS + ENVIRONMENT + len(RESIDUE_NAMES)

_SIDE_NM, _APEX = 0.381, math.radians(106.0)
_END_TRIANGLE_NM = ((0.0, 0.0), (0.1429, 0.0529), (0.3805, 0.0))
"""CA, C and the next CA of a trans peptide: what the frames of chain ends are superposed on."""


class Pass(IntEnum):
    """Which atoms of a residue are generated.

    INTERIOR
        All of the residue but its CA, C and O of the one before, N of the one behind.
    FIRST
        N and side chain of a segment's first residue, whose C and O stand already.
    LAST
        C, O and side chain of a segment's last residue, whose N stands already.
    """

    INTERIOR = 0
    FIRST = 1
    LAST = 2


def generated_points(device: torch.device) -> Tensor:
    """(3, 19) bool: points that each pass generates, slots that the residue's type leaves empty too."""
    own_side_chain = [slot >= SIDE_CHAIN.start for slot in range(SLOT_OXT)]
    rows = {
        Pass.INTERIOR: [False, True, True, *(slot != SLOT_CA for slot in range(SLOT_OXT)), True, False],
        Pass.FIRST: [False] * 3
        + [slot == SLOT_N or side for slot, side in enumerate(own_side_chain)]
        + [False] * 2,
        Pass.LAST: [False] * 3
        + [slot in (SLOT_C, SLOT_O) or side for slot, side in enumerate(own_side_chain)]
        + [False] * 2,
    }
    return torch.tensor([rows[kind] for kind in Pass], device=device)


class Sites(NamedTuple):
    """Residues to build, each with its environment.

    Attributes
    ----------
    points : Tensor, (n, 19, 3)
        In the residue's frame, nm; zero where ``known`` is False.
    known : Tensor, (n, 19) bool
        Points that stand: in training all that the data hold, in building those that the pass is given.
    generated : Tensor, (n, 19) bool
        Points that the pass generates.
    environment : Tensor, (n, 14, 11, 3)
        Nearest residues, nearest first, in the same frame, nm; zero where there is no atom.
    environment_known : Tensor, (n, 14, 11) bool
        Atoms of the environment that stand.
    types : Tensor, (n,) int64
        Residue types.
    kind : Tensor, (n,) int64
        :class:`Pass` of each residue.
    """

    points: Tensor
    known: Tensor
    generated: Tensor
    environment: Tensor
    environment_known: Tensor
    types: Tensor
    kind: Tensor


def pass_kinds(chain: Chain) -> Tensor:
    """(residues,) int64: the :class:`Pass` of each residue, -1 in segments of fewer than three residues."""
    before, behind = shift(chain.linked, -1, False), chain.linked
    interior = before & behind
    first = behind & shift(interior, 1, False)
    last = before & shift(interior, -1, False)
    kind = torch.full_like(chain.types, -1)
    for where, value in ((first, Pass.FIRST), (last, Pass.LAST), (interior, Pass.INTERIOR)):
        kind = torch.where(where, value.value, kind)
    return kind


def visible_atoms(chain: Chain, residue: Tensor, kind: Tensor) -> Tensor:
    """Atoms that stand when a residue's turn comes.

    Of residues built before it all atoms, of ends C and O or N, which their interior neighbours place, of the
    others C-alphas.

    Parameters
    ----------
    chain : Chain
        The sequence.
    residue, kind : Tensor, (queries,) int64
        Residues and their :class:`Pass`.

    Returns
    -------
    Tensor, (queries, residues, 15) bool
    """
    number = torch.arange(chain.residues, device=residue.device)
    own = residue[:, None]
    last_turn = kind[:, None] != Pass.INTERIOR
    before, behind = shift(chain.linked, -1, False), chain.linked
    built = (last_turn | (number < own)) & before & behind
    # The first residue of a segment gets C and O in the pass of the next one, the last one N in that before.
    first = (last_turn | (number + 1 < own)) & ~before & behind
    last = (last_turn | (number < own)) & before & ~behind
    mask = torch.zeros(len(residue), chain.residues, ATOM_SLOTS, dtype=torch.bool, device=residue.device)
    exists = torch.from_numpy(ATOM_MASK).to(residue.device)[chain.types]
    mask |= built[..., None] & exists
    mask[..., SLOT_CA] = True
    mask[..., SLOT_C] |= first
    mask[..., SLOT_O] |= first
    mask[..., SLOT_N] |= last
    return mask


def describe(
    atoms: Tensor, present: Tensor, chain: Chain, residue: Tensor, kind: Tensor, *, target: bool = False
) -> tuple[Sites, Tensor]:
    """Describe residues whose turn it is.

    Parameters
    ----------
    atoms : Tensor, (n, residues, 15, 3)
        A structure for each residue to describe, nm.
    present : Tensor, (n or 1, residues, 15) bool
        Atoms of the structure that there are.
    chain : Chain
        The sequence, the same for all.
    residue, kind : Tensor, (n,) int64
        The residue of each structure that is described, and its :class:`Pass`.
    target : bool
        Give the points to be generated too, to learn from.

    Returns
    -------
    Sites
        Of n residues.
    Tensor, (n, 4, 3)
        Frames: three axes and the origin, nm.
    """
    triangle = _frame_triangle(atoms, residue, kind)
    rows = torch.arange(len(residue), device=residue.device)
    standing = visible_atoms(chain, residue, kind) & present
    local, index, frame = _environment(atoms, standing, residue, triangle)
    slots = list(ENVIRONMENT_SLOTS)
    found = (index >= 0)[..., None]
    environment_known = standing[rows[:, None], index.clamp_min(0)][..., slots] & found
    points, known = _points(atoms, present, chain, residue, frame)
    generated = generated_points(residue.device)[kind]
    known = known if target else known & ~generated
    sites = Sites(
        points.masked_fill(~known.unsqueeze(-1), 0.0),
        known,
        generated,
        local[:, :, slots],
        environment_known,
        chain.types[residue],
        kind,
    )
    return sites, frame


def _environment(
    atoms: Tensor, standing: Tensor, residue: Tensor, triangle: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest residues (n, 14, 15, 3) of each residue in its frame, their indices (n, 14), the frames."""
    rows = torch.arange(len(residue), device=residue.device)
    # The query leaves itself out by having no atom that can be selected.
    selectable = standing.clone()
    selectable[rows, residue] = False
    local, index, frame = canonical_alignment(
        atoms,
        atoms[rows, residue, SLOT_CA].unsqueeze(1),
        triangle.unsqueeze(1),
        neighbours=NEIGHBOURS,
        present=standing,
        selectable=selectable,
        frame_rule=FrameRule.ISOSCELES,
    )
    return local.squeeze(1), index.squeeze(1), frame.squeeze(1)


def _points(
    atoms: Tensor, present: Tensor, chain: Chain, residue: Tensor, frame: Tensor
) -> tuple[Tensor, Tensor]:
    """The 19 points (n, 19, 3) of each residue in its frame, and which (n, 19) the structure holds."""
    offset = torch.tensor(POINT_OFFSETS, device=residue.device)
    slot = torch.tensor(POINT_SLOTS, device=residue.device)
    row = torch.arange(len(residue), device=residue.device)[:, None]
    where = (residue[:, None] + offset).clamp(0, chain.residues - 1)
    axes, origin = frame[:, :3], frame[:, 3:]
    points = torch.matmul(atoms[row, where, slot] - origin, axes.transpose(1, 2))
    bonded = torch.stack([shift(chain.linked, -1, False), torch.ones_like(chain.linked), chain.linked], dim=1)
    held = present.expand(len(residue), -1, -1)[row, where, slot]
    return points, held & bonded[residue][:, offset + 1]


def _frame_triangle(atoms: Tensor, residue: Tensor, kind: Tensor) -> Tensor:
    """Three points (n, 3, 3) whose isosceles frame is that of each residue."""
    rows, last = torch.arange(len(residue), device=residue.device), atoms.shape[1] - 1
    before, behind = (residue - 1).clamp_min(0), (residue + 1).clamp_max(last)
    c_alpha = atoms[rows, :, SLOT_CA]
    interior = torch.stack([c_alpha[rows, before], c_alpha[rows, residue], c_alpha[rows, behind]], dim=1)
    if bool((kind == Pass.INTERIOR).all()):
        return interior
    start = torch.where(kind == Pass.FIRST, residue, before)
    peptide = torch.stack(
        [c_alpha[rows, start], atoms[rows, start, SLOT_C], c_alpha[rows, (start + 1).clamp_max(last)]], dim=1
    )
    return torch.where((kind == Pass.INTERIOR)[:, None, None], interior, _isosceles_of_end(peptide))


def _isosceles_of_end(peptide: Tensor) -> Tensor:
    """Place the isosceles triangle where superposing the mean peptide on CA, C, CA (n, 3, 3) puts it."""
    origin = peptide.mean(dim=1, keepdim=True)
    right = torch.nn.functional.normalize(peptide[:, 2] - peptide[:, 0], dim=-1)
    side = peptide[:, 1] - peptide[:, 0]
    up = torch.nn.functional.normalize(side - (side * right).sum(-1, keepdim=True) * right, dim=-1)
    plane = torch.stack([right, up], dim=1)
    x, y = torch.matmul(peptide - origin, plane.transpose(1, 2)).unbind(-1)
    template = peptide.new_tensor(_END_TRIANGLE_NM)
    u, v = (template - template.mean(dim=0)).unbind(-1)
    # The rotation in the plane that brings the template closest, in closed form.
    turn = torch.atan2((u * y - v * x).sum(-1), (u * x + v * y).sum(-1))
    cosine, sine = turn.cos()[:, None], turn.sin()[:, None]
    axes = torch.stack([cosine * right + sine * up, cosine * up - sine * right], dim=1)
    half, height = _SIDE_NM * math.sin(_APEX / 2), _SIDE_NM * math.cos(_APEX / 2)
    corners = peptide.new_tensor([[-half, -height / 3], [0.0, 2 * height / 3], [half, -height / 3]])
    return origin + torch.matmul(corners, axes)


def point_exists(types: Tensor) -> Tensor:
    """(n, 19) bool: points that residues of these types have inside a chain."""
    own = torch.from_numpy(ATOM_MASK).to(types.device)[types][:, list(POINT_SLOTS)]
    return own | (torch.tensor(POINT_OFFSETS, device=types.device) != 0)


def given_points(sites: Sites, scale: float) -> Tensor:
    """Scaled points (n, 57) that residues are built from; zero where they are generated or not there."""
    given = sites.known & ~sites.generated
    return (sites.points * (given / scale).unsqueeze(-1)).flatten(1)


def to_vector(sites: Sites, points: Tensor, scale: float) -> Tensor:
    """The 539 numbers (n, 539) of residues whose scaled points (n, 57) are given."""
    one_hot = torch.nn.functional.one_hot(sites.types, len(RESIDUE_NAMES)).to(points.dtype)
    return torch.cat([points, sites.environment.flatten(1) / scale, one_hot], dim=-1)
