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

import math
from typing import NamedTuple

import torch
from torch import Tensor

from backmap import chemistry
from backmap.models.chain import Chain, shift
from backmap.models.diamondback import layout
from backmap.models.diamondback.layout import Pass
from backmap.ops import FrameRule


def generated_points(device: torch.device) -> Tensor:
    """(3, 19) bool: points that each pass generates, slots that the residue's type leaves empty too."""
    return torch.tensor(layout.GENERATED, device=device).view(layout.PASSES, layout.POINTS)


def atoms_of(types: Tensor) -> Tensor:
    """(n, 15) bool: slots that residues of types (n,) fill inside a chain."""
    counts = torch.tensor(layout.ATOM_COUNTS, device=types.device)[types]
    return torch.arange(chemistry.ATOM_SLOTS, device=types.device) < counts.unsqueeze(-1)


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


def take_sites(sites: Sites, rows: Tensor) -> Sites:
    """Some rows."""
    return Sites(
        sites.points[rows],
        sites.known[rows],
        sites.generated[rows],
        sites.environment[rows],
        sites.environment_known[rows],
        sites.types[rows],
        sites.kind[rows],
    )


def cut_sites(sites: Sites, first: int, last: int) -> Sites:
    """The rows from ``first`` up to ``last``, without a copy."""
    return Sites(
        sites.points[first:last],
        sites.known[first:last],
        sites.generated[first:last],
        sites.environment[first:last],
        sites.environment_known[first:last],
        sites.types[first:last],
        sites.kind[first:last],
    )


def join_sites(parts: list[Sites]) -> Sites:
    """All rows of several."""
    return Sites(
        torch.cat([part.points for part in parts]),
        torch.cat([part.known for part in parts]),
        torch.cat([part.generated for part in parts]),
        torch.cat([part.environment for part in parts]),
        torch.cat([part.environment_known for part in parts]),
        torch.cat([part.types for part in parts]),
        torch.cat([part.kind for part in parts]),
    )


def pass_kinds(chain: Chain) -> Tensor:
    """(residues,) int64: the :class:`Pass` of each residue, -1 in segments of fewer than three residues."""
    before, behind = shift(chain.linked, -1, 0.0), chain.linked
    interior = before & behind
    kind = torch.full_like(chain.types, -1)
    kind = torch.where(behind & shift(interior, 1, 0.0), Pass.FIRST.value, kind)
    kind = torch.where(before & shift(interior, -1, 0.0), Pass.LAST.value, kind)
    return torch.where(interior, Pass.INTERIOR.value, kind)


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
    last_turn = kind[:, None] != Pass.INTERIOR.value
    before, behind = shift(chain.linked, -1, 0.0), chain.linked
    built = (last_turn | (number < own)) & before & behind
    # The first residue of a segment gets C and O in the pass of the next one, the last one N in that before.
    first = (last_turn | (number + 1 < own)) & ~before & behind
    last = (last_turn | (number < own)) & before & ~behind
    mask = built.unsqueeze(-1) & atoms_of(chain.types)
    mask[:, :, chemistry.SLOT_CA] = True
    # Not |=, which TorchScript passes over.
    mask[:, :, chemistry.SLOT_C] = mask[:, :, chemistry.SLOT_C] | first
    mask[:, :, chemistry.SLOT_O] = mask[:, :, chemistry.SLOT_O] | first
    mask[:, :, chemistry.SLOT_N] = mask[:, :, chemistry.SLOT_N] | last
    return mask


def describe(
    atoms: Tensor, present: Tensor, chain: Chain, residue: Tensor, kind: Tensor, target: bool = False
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
    slots = torch.tensor(layout.ENVIRONMENT_SLOTS, device=residue.device)
    near = standing[rows[:, None], index.clamp_min(0)]
    environment_known = near[:, :, slots] & (index >= 0).unsqueeze(-1)
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
    query = atoms[rows, residue, chemistry.SLOT_CA].unsqueeze(1)
    none = torch.full([1], -1, device=residue.device)
    # The operator itself: TorchScript cannot call a function with optional keywords.
    local, index, frame = torch.ops.backmap.canonical_alignment(
        atoms,
        standing,
        selectable,
        query,
        triangle.unsqueeze(1),
        none,
        layout.NEIGHBOURS,
        FrameRule.ISOSCELES.value,
    )
    return local.squeeze(1), index.squeeze(1), frame.squeeze(1)


def _points(
    atoms: Tensor, present: Tensor, chain: Chain, residue: Tensor, frame: Tensor
) -> tuple[Tensor, Tensor]:
    """The 19 points (n, 19, 3) of each residue in its frame, and which (n, 19) the structure holds."""
    offset = torch.tensor(layout.POINT_OFFSETS, device=residue.device)
    slot = torch.tensor(layout.POINT_SLOTS, device=residue.device)
    row = torch.arange(len(residue), device=residue.device)[:, None]
    where = (residue[:, None] + offset).clamp(0, chain.residues - 1)
    axes, origin = frame[:, :3], frame[:, 3:]
    points = torch.matmul(atoms[row, where, slot] - origin, axes.transpose(1, 2))
    before = shift(chain.linked, -1, 0.0)
    bonded = torch.stack([before, torch.ones_like(before), chain.linked], dim=1)
    held = present.expand(len(residue), -1, -1)[row, where, slot]
    return points, held & bonded[residue][:, offset + 1]


def _frame_triangle(atoms: Tensor, residue: Tensor, kind: Tensor) -> Tensor:
    """Three points (n, 3, 3) whose isosceles frame is that of each residue."""
    rows, last = torch.arange(len(residue), device=residue.device), atoms.shape[1] - 1
    before, behind = (residue - 1).clamp_min(0), (residue + 1).clamp_max(last)
    c_alpha = atoms[rows, :, chemistry.SLOT_CA]
    interior = torch.stack([c_alpha[rows, before], c_alpha[rows, residue], c_alpha[rows, behind]], dim=1)
    if bool((kind == Pass.INTERIOR.value).all()):
        return interior
    start = torch.where(kind == Pass.FIRST.value, residue, before)
    carbon, following = atoms[rows, start, chemistry.SLOT_C], c_alpha[rows, (start + 1).clamp_max(last)]
    peptide = torch.stack([c_alpha[rows, start], carbon, following], dim=1)
    return torch.where((kind == Pass.INTERIOR.value)[:, None, None], interior, _isosceles_of_end(peptide))


def _isosceles_of_end(peptide: Tensor) -> Tensor:
    """Place the isosceles triangle where superposing the mean peptide on CA, C, CA (n, 3, 3) puts it."""
    origin = peptide.mean(dim=1, keepdim=True)
    right = torch.nn.functional.normalize(peptide[:, 2] - peptide[:, 0], dim=-1)
    side = peptide[:, 1] - peptide[:, 0]
    up = torch.nn.functional.normalize(side - (side * right).sum(-1, keepdim=True) * right, dim=-1)
    plane = torch.stack([right, up], dim=1)
    x, y = torch.matmul(peptide - origin, plane.transpose(1, 2)).unbind(-1)
    template = torch.tensor(layout.END_TRIANGLE_NM, dtype=peptide.dtype, device=peptide.device).view(3, 2)
    u, v = (template - template.mean(dim=0)).unbind(-1)
    # The rotation in the plane that brings the template closest, in closed form.
    turn = torch.atan2((u * y - v * x).sum(-1), (u * x + v * y).sum(-1))
    cosine, sine = turn.cos()[:, None], turn.sin()[:, None]
    axes = torch.stack([cosine * right + sine * up, cosine * up - sine * right], dim=1)
    half, height = layout.SIDE_NM * math.sin(layout.APEX / 2), layout.SIDE_NM * math.cos(layout.APEX / 2)
    triangle = [[-half, -height / 3], [0.0, 2 * height / 3], [half, -height / 3]]
    corners = torch.tensor(triangle, dtype=peptide.dtype, device=peptide.device)
    return origin + torch.matmul(corners, axes)


def point_exists(types: Tensor) -> Tensor:
    """(n, 19) bool: points that residues of these types have inside a chain."""
    slots = torch.tensor(layout.POINT_SLOTS, device=types.device)
    return atoms_of(types)[:, slots] | (torch.tensor(layout.POINT_OFFSETS, device=types.device) != 0)


def given_points(sites: Sites, scale: float) -> Tensor:
    """Scaled points (n, 57) that residues are built from; zero where they are generated or not there."""
    given = sites.known & ~sites.generated
    return (sites.points * (given / scale).unsqueeze(-1)).flatten(1)


def to_vector(sites: Sites, points: Tensor, scale: float) -> Tensor:
    """The 539 numbers (n, 539) of residues whose scaled points (n, 57) are given."""
    one_hot = torch.nn.functional.one_hot(sites.types, len(chemistry.RESIDUE_NAMES)).to(points.dtype)
    return torch.cat([points, sites.environment.flatten(1) / scale, one_hot], dim=-1)
