"""Nearest residues in local frames, and the inverse transformation."""

from enum import IntEnum

import torch
from torch import Tensor


class FrameRule(IntEnum):
    """Rule by which three points (p0, p1, p2) define a local frame.

    GRAM_SCHMIDT
        Origin p1; e1 along p2 - p1; e2 along the part of p0 - p1 orthogonal to e1; e3 = e1 x e2.
    ISOSCELES
        The frame of an isosceles triangle (equal sides 0.381 nm, apex angle 106 degrees at p1, centroid at
        the origin, in the xy plane, p1 on +y, p0 on the -x side) superposed on the points by least squares.
    """

    GRAM_SCHMIDT = 0
    ISOSCELES = 1


def canonical_alignment(
    atoms: Tensor,
    query: Tensor,
    triangle: Tensor,
    *,
    neighbours: int,
    present: Tensor | None = None,
    selectable: Tensor | None = None,
    exclude: Tensor | None = None,
    box: Tensor | None = None,
    frame_rule: FrameRule = FrameRule.ISOSCELES,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the coordinates of the residues nearest to each query in its local frame.

    A residue's distance is the distance of its nearest atom that is present and selectable; among equal
    distances the lower residue index comes first. Residues without such an atom, or whose distance is not
    finite, are never chosen. The result does not depend on the order of execution, except for the gradient of
    `atoms` on CUDA, which is summed in any order.

    Parameters
    ----------
    atoms : Tensor (*, residues, atoms, 3), float32 or float64
        Coordinates in nm; atoms that are not present are never read.
    query : Tensor (*, queries, 3), dtype of `atoms`
        Points, in nm, whose nearest residues are returned.
    triangle : Tensor (*, queries, 3, 3), dtype of `atoms`
        Three points that define the local frame of each query, in nm.
    neighbours : int
        Number of residues to choose for each query.
    present : Tensor (*, residues, atoms) or (residues, atoms), bool, optional
        Atoms that exist; all by default.
    selectable : Tensor (*, residues, atoms) or (residues, atoms), bool, optional
        Atoms whose distance counts; all by default. The C-alphas only give the C-alpha rule, all atoms built
        so far give the rule of DiAMoNDBack.
    exclude : Tensor (queries,), int64, optional
        Residue excluded for each query; -1 for none (the default).
    box : Tensor (3, 3) or (*, 3, 3), dtype of `atoms`, optional
        Box vectors in nm as rows, of a periodic box in reduced form: (ax, 0, 0), (bx, by, 0), (cx, cy, cz)
        with |bx| and |cx| at most ax / 2 and |cy| at most by / 2. Distances are then between nearest images,
        and `local` contains whole residues at the image of their nearest atom. No box by default; no
        gradient.
    frame_rule : FrameRule
        How `triangle` defines the frame.

    Returns
    -------
    local : Tensor (*, queries, neighbours, atoms, 3)
        Coordinates in the local frame in nm; zero for atoms that are not present and for padding.
    index : Tensor (*, queries, neighbours), int64
        Indices of the residues, nearest first, padded with -1.
    frame : Tensor (*, queries, 4, 3)
        Unit vectors e1, e2, e3 and the origin of each frame, as rows.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape, device or value.

    Notes
    -----
    Gradients flow to `atoms` and `triangle`, to first order only; `query` selects residues and has no
    gradient. For three collinear points, the undetermined direction of the frame follows the coordinate axis
    least parallel to their line (the first of equals); no gradient flows through that direction.

    On the CPU, neither the operator nor its backward pass allocates tensors other than its results; each
    thread holds a copy of the selectable atoms of one frame (about 20 bytes per atom and 100 per residue in
    float32), and in the backward pass the gradients of one frame (16 bytes per atom in float32). On CUDA,
    frames of more than 1024 residues take working memory of about 35 bytes per residue in float32.

    References
    ----------
    Jones, Shmilovich, Ferguson: DiAMoNDBack, J. Chem. Theory Comput. 2023.
    """
    slots = atoms.shape[-3:-1]
    if present is None:
        present = torch.ones(slots, dtype=torch.bool, device=atoms.device)
    if selectable is None:
        selectable = torch.ones(slots, dtype=torch.bool, device=atoms.device)
    if exclude is None:
        exclude = torch.full(query.shape[-2:-1], -1, dtype=torch.int64, device=atoms.device)
    return torch.ops.backmap.canonical_alignment(
        atoms, present, selectable, query, triangle, exclude, neighbours, int(frame_rule), box
    )


def canonical_placement(frame: Tensor, local: Tensor) -> Tensor:
    """Transform points from local frames to space: the inverse of `canonical_alignment`.

    Parameters
    ----------
    frame : Tensor (*, queries, 4, 3), float32 or float64
        Unit vectors e1, e2, e3 and the origin (nm) of each frame, as rows.
    local : Tensor (*, queries, atoms, 3), dtype of `frame`
        Local coordinates in nm.

    Returns
    -------
    Tensor (*, queries, atoms, 3)
        origin + x e1 + y e2 + z e3, in nm. Gradients flow to both arguments, to first order only.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If an argument has the wrong shape or device.

    Notes
    -----
    Neither the operator nor its backward pass allocates memory other than its results. See
    `overlapping_placement` where several residues place the same atom.
    """
    return torch.ops.backmap.canonical_placement(frame, local)
