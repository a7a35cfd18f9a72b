"""Molecules made whole after simulations in periodic boxes, which wrap each bead separately."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.chemistry.topology import MAX_LINKED_CA_DISTANCE_NM


@dataclass(frozen=True)
class ChainsOfAtoms:
    """Assignment of atoms to residues and chains.

    Parameters
    ----------
    residue_of : ndarray, (atoms,) int64
        Residue of each atom.
    c_alphas : ndarray, (residues,) int64
        Indices of the C-alphas among the atoms.
    chain_index : ndarray, (residues,) int64
        Chain of each residue.
    steps : ndarray, (residues - 1,) int64
        Steps between the residues' numbers.
    """

    residue_of: np.ndarray
    c_alphas: np.ndarray
    chain_index: np.ndarray
    steps: np.ndarray


def periodic_boxes(vectors: np.ndarray | None, frames: int) -> np.ndarray:
    """Return the boxes of frames, with a zero vector for every direction that is not periodic.

    Parameters
    ----------
    vectors : ndarray, (frames, 3, 3), optional
        Box vectors in nm as rows.
    frames : int
        Number of frames.

    Returns
    -------
    ndarray, (frames, 3, 3) float64
    """
    return np.zeros((frames, 3, 3)) if vectors is None else np.asarray(vectors, dtype=np.float64)


def narrowest_width(boxes: np.ndarray) -> np.ndarray:
    """Return the shortest distance (frames,) in nm between opposite sides of each box; inf without a box."""
    periodic = boxes.any(axis=2)
    reciprocal = np.linalg.norm(_reciprocal(boxes), axis=1)
    with np.errstate(divide="ignore"):
        width = np.where(periodic & (reciprocal > 0), 1 / reciprocal, np.inf)
    return np.where((periodic & (reciprocal == 0)).any(axis=1), 0.0, width.min(axis=1))


def nearest_image_steps(steps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Find the nearest image of each step.

    Parameters
    ----------
    steps : ndarray, (frames, ..., 3)
        Vectors from one atom to another in nm. The nearest image is found if it is shorter than half the
        narrowest width of the box, as bonds are.
    boxes : ndarray, (frames, 3, 3)
        From :func:`periodic_boxes`.

    Returns
    -------
    ndarray, (frames, ..., 3) float64
        Whole numbers of box vectors to subtract.
    """
    shape = steps.shape
    return np.rint(steps.reshape(shape[0], -1, 3) @ _reciprocal(boxes)).reshape(shape)


def neighbour_steps(
    c_alpha: np.ndarray, boxes: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the vector from each C-alpha to the next.

    Parameters
    ----------
    c_alpha : ndarray, (frames, residues, 3)
        Positions in nm.
    boxes : ndarray, (frames, 3, 3)
        From :func:`periodic_boxes`.
    steps : ndarray, (residues - 1,) int64
        Steps between the residues' numbers. A vector that this many bonds can span is kept, as otherwise
        parts of a crystal's chain would be moved.

    Returns
    -------
    ways : ndarray, (frames, residues - 1, 3) float64
        Vectors to the nearest image, in nm.
    images : ndarray, (frames, residues - 1, 3) float64
        Whole numbers of box vectors between the given image and the nearest.
    """
    ways = np.diff(c_alpha.astype(np.float64), axis=1)
    images = np.zeros_like(ways)
    if not boxes.any():
        return ways, images
    reach = MAX_LINKED_CA_DISTANCE_NM * np.maximum(steps, 1)
    frame, pair = np.nonzero(np.einsum("fpx,fpx->fp", ways, ways) > reach**2)
    far = ways[frame, pair]
    found = -np.rint(np.einsum("nx,nxk->nk", far, _reciprocal(boxes)[frame]))
    images[frame, pair] = found
    ways[frame, pair] = far + np.einsum("nk,nkx->nx", found, boxes[frame])
    return ways, images


def make_whole(positions: np.ndarray, boxes: np.ndarray, chains: ChainsOfAtoms) -> np.ndarray:
    """Join molecules split by periodic boundaries: every chain bond by bond, then the atoms of each residue.

    The C-alpha of each chain's first residue does not move.

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3) float
        In nm.
    boxes : ndarray, (frames, 3, 3)
        From :func:`periodic_boxes`.
    chains : ChainsOfAtoms
        Which atoms belong together.

    Returns
    -------
    ndarray, (frames, atoms, 3), dtype of ``positions``
        The given array itself if nothing was split.
    """
    if not boxes.any():
        return positions
    c_alpha = positions[:, chains.c_alphas]
    images = _chain_images(c_alpha, boxes, chains)
    if positions.shape[1] > c_alpha.shape[1]:
        from_c_alpha = positions.astype(np.float64) - c_alpha[:, chains.residue_of]
        images = images[:, chains.residue_of] - nearest_image_steps(from_c_alpha, boxes)
    frame, atom = np.nonzero(images.any(axis=-1))
    if not len(frame):
        return positions
    moved = positions.copy()
    moved[frame, atom] += np.einsum("nk,nkx->nx", images[frame, atom], boxes[frame])
    return moved


def near_atoms(positions: np.ndarray, atoms: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Move each position (frames, n, 3) to its image near an atom (frames, n, 3), in nm."""
    if not boxes.any():
        return positions
    steps = nearest_image_steps(positions.astype(np.float64) - atoms, boxes)
    moved = positions - np.einsum("fnk,fkx->fnx", steps, boxes)
    return moved.astype(positions.dtype)


def _chain_images(c_alpha: np.ndarray, boxes: np.ndarray, chains: ChainsOfAtoms) -> np.ndarray:
    """Sum the images (frames, residues, 3) along each chain, starting at zero."""
    _, images = neighbour_steps(c_alpha, boxes, chains.steps)
    total = np.zeros(c_alpha.shape)
    if not images.any():
        return total
    within = chains.chain_index[1:] == chains.chain_index[:-1]
    np.cumsum(np.where(within[:, None], images, 0.0), axis=1, out=total[:, 1:])
    starts = np.append(0, np.flatnonzero(~within) + 1)
    return total - total[:, starts[np.cumsum(np.append(False, ~within))]]


def _reciprocal(boxes: np.ndarray) -> np.ndarray:
    """Return the matrices (frames, 3, 3) that turn positions into fractions of the periodic box vectors."""
    if not np.isfinite(boxes).all():
        boxes = np.where(np.isfinite(boxes).all(axis=(1, 2))[:, None, None], boxes, 0.0)
    diagonal = np.einsum("fkk->fk", boxes)
    if (boxes == diagonal[:, :, None] * np.eye(3)).all():
        with np.errstate(divide="ignore"):
            return np.where(diagonal != 0, 1 / diagonal, 0.0)[:, :, None] * np.eye(3)
    return np.linalg.pinv(boxes)
