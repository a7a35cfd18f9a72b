"""Atoms from angles: planar peptides between C-alphas and atoms on ideal bonds, in nm and radians."""

import functools
import math
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from backmap.chemistry.ideal_geometry import ideal_geometry

MAX_CIS_CA_DISTANCE_NM = 0.34
"""Largest C-alpha distance of cis peptides (cis 0.295 +- 0.01, trans 0.380 +- 0.005)."""

_SHORTEST_NM, _LONGEST_NM, _TABLE_STEP_NM = 0.20, 0.4302, 0.0002


def mean_backbone_angle() -> float:
    """Return the mean of the ideal angle N-CA-C over residue types."""
    residues = ideal_geometry()["residues"].values()
    return sum(residue["angle N-CA-C"] for residue in residues) / len(residues)


def classify_angle(angle: Tensor, classes: int) -> Tensor:
    """Return the bin of an angle in radians, for equal bins starting at -pi."""
    turn = torch.remainder(angle / (2 * math.pi) + 0.5, 1.0)
    return (turn * classes).long().clamp_max(classes - 1)


def angle_in_class(chosen: Tensor, place: Tensor, classes: int) -> Tensor:
    """Return the angle in radians, in [-pi, pi), of a bin and a position in it in [0, 1)."""
    return ((chosen + place) / classes - 0.5) * (2 * math.pi)


def normalise(vector: Tensor) -> Tensor:
    """Scale vectors (..., 3) to unit length; zero vectors stay zero."""
    return vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True).clamp_min(1e-9)


def place_atom(a: Tensor, b: Tensor, c: Tensor, length: Tensor, angle: Tensor, torsion: Tensor) -> Tensor:
    """Place an atom at a bond length from c, an angle b-c-atom and a torsion a-b-c-atom.

    Parameters
    ----------
    a, b, c : Tensor, (..., 3)
        Parents in nm.
    length : Tensor, (...)
        In nm; broadcasts against the parents.
    angle, torsion : Tensor, (...)
        In radians; broadcast likewise.

    Returns
    -------
    Tensor, (..., 3)
    """
    axis = normalise(c - b)
    normal = normalise(torch.linalg.cross(b - a, axis, dim=-1))
    inward = torch.linalg.cross(normal, axis, dim=-1)
    radius = length * torch.sin(angle)
    return (
        c
        - (length * torch.cos(angle)).unsqueeze(-1) * axis
        + (radius * torch.cos(torsion)).unsqueeze(-1) * inward
        + (radius * torch.sin(torsion)).unsqueeze(-1) * normal
    )


def torsion_angle(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Return the IUPAC torsion a-b-c-d of points (..., 3) in radians."""
    axis = c - b
    before, after = torch.linalg.cross(b - a, axis, dim=-1), torch.linalg.cross(axis, d - c, dim=-1)
    length = torch.linalg.vector_norm(axis, dim=-1).clamp_min(1e-9)
    sine = (torch.linalg.cross(before, after, dim=-1) * axis).sum(-1) / length
    return torch.atan2(sine, (before * after).sum(-1))


def place_c_beta(n: Tensor, c_alpha: Tensor, c: Tensor, direction: Tensor, length: Tensor) -> Tensor:
    """Place CB of an L-amino acid symmetrically between N and C.

    Parameters
    ----------
    n, c_alpha, c : Tensor, (..., 3)
        Backbone atoms in nm.
    direction : Tensor, (..., 2)
        Components of the unit vector CA-CB along the bisector of N and C and along their cross product.
    length : Tensor, (...)
        CA-CB in nm.
    """
    to_n, to_c = normalise(n - c_alpha), normalise(c - c_alpha)
    bisector = normalise(to_n + to_c)
    normal = normalise(torch.linalg.cross(to_n, to_c, dim=-1))
    unit = direction[..., :1] * bisector + direction[..., 1:] * normal
    return c_alpha + length.unsqueeze(-1) * unit


@functools.cache
def peptide_table() -> np.ndarray:
    """Return in-plane positions of C, O, N for each C-alpha distance, with exact bonds, near-ideal angles.

    Returns
    -------
    ndarray, (distances, 3, 2) float32
        Positions along the axis from the first C-alpha (for N: from the second, so that bonds keep their
        length within a step of the table) and across it towards O, in nm.
    """
    distances = np.arange(_SHORTEST_NM, _LONGEST_NM, _TABLE_STEP_NM)
    table = np.empty((len(distances), 3, 2))
    cis = distances < MAX_CIS_CA_DISTANCE_NM
    ideal = ideal_geometry()["peptide"]
    for chosen, kind in ((cis, "cis"), (~cis, "trans")):
        table[chosen] = _peptides_in_plane(distances[chosen], ideal[kind], kind == "cis")
    table[:, 2, 0] -= distances
    return table.astype(np.float32)


_OPENINGS = np.radians(np.linspace(-5.0, 100.0, 1051))
"""Angles between the bond CA-C and the axis that are scanned."""

_COARSE = 25
"""Steps of a first scan, around whose best angle all are scanned: misfits have a single minimum."""


def _peptides_in_plane(distances: np.ndarray, ideal: dict[str, float], is_cis: bool) -> np.ndarray:
    """Solve planar linkages CA-C-N-CA: scan the angle at CA and keep the best exact solutions.

    Returns
    -------
    ndarray, (distances, 3, 2)
        C, O and N.
    """
    last = len(_OPENINGS) - 1
    coarse = np.broadcast_to(np.arange(0, last + 1, _COARSE), (len(distances), last // _COARSE + 1))
    best = _best_linkage(distances, coarse, ideal, is_cis)
    fine = np.clip(best[:, None] + np.arange(-_COARSE, _COARSE + 1), 0, last)
    best = _best_linkage(distances, fine, ideal, is_cis)
    linkage = _linkages(distances, best[:, None], ideal, is_cis)
    c, n, angle_c = linkage.c[:, 0], linkage.n[:, 0], linkage.angle_c[:, 0]
    return np.stack([c, _oxygen(c, n, angle_c, ideal), n], axis=1)


class _Linkages(NamedTuple):
    """Planar linkages CA-C-N-CA with exact bonds.

    Attributes
    ----------
    c, n : ndarray, (distances, openings, 2)
        Positions in nm.
    angle_c : ndarray, (distances, openings)
        Angles CA-C-N in radians.
    misfit : ndarray, (distances, openings)
        Sum of the squared deviations of both angles; infinite where the bonds cannot close.
    """

    c: np.ndarray
    n: np.ndarray
    angle_c: np.ndarray
    misfit: np.ndarray


def _best_linkage(
    distances: np.ndarray, openings: np.ndarray, ideal: dict[str, float], is_cis: bool
) -> np.ndarray:
    """Return which of the scanned angles (distances, openings), indices into ``_OPENINGS``, fits best."""
    best = _linkages(distances, openings, ideal, is_cis).misfit.argmin(axis=1)
    return np.take_along_axis(openings, best[:, None], axis=1)[:, 0]


def _linkages(
    distances: np.ndarray, openings: np.ndarray, ideal: dict[str, float], is_cis: bool
) -> _Linkages:
    """Close linkages of given C-alpha distances (distances,) for angles (distances, openings) at CA."""
    opening = _OPENINGS[openings]
    end = np.stack([distances, np.zeros_like(distances)], axis=1)[:, None]
    c = ideal["CA-C"] * np.stack([np.cos(opening), np.sin(opening)], axis=-1)
    to_end = end - c
    reach = np.linalg.norm(to_end, axis=-1)
    along = (reach**2 + ideal["C-N"] ** 2 - ideal["N-CA"] ** 2) / (2 * reach)
    square = ideal["C-N"] ** 2 - along**2
    height = np.sqrt(np.maximum(square, 0)) * (1 if is_cis else -1)
    unit = to_end / reach[..., None]
    across = np.stack([-unit[..., 1], unit[..., 0]], axis=-1)
    n = c + along[..., None] * unit + height[..., None] * across
    angle_c, angle_n = _angle(-c, n - c), _angle(c - n, end - n)
    misfit = (angle_c - ideal["angle CA-C-N"]) ** 2 + (angle_n - ideal["angle C-N-CA"]) ** 2
    return _Linkages(c, n, angle_c, np.where(square >= 0, misfit, np.inf))


def _oxygen(c: np.ndarray, n: np.ndarray, angle_c: np.ndarray, ideal: dict[str, float]) -> np.ndarray:
    """Divide the rest of the full angle at C (distances, 2) in the ideal proportion."""
    share = ideal["angle CA-C-O"] / (2 * math.pi - ideal["angle CA-C-N"])
    turn = share * (2 * math.pi - angle_c)
    back = -c / np.linalg.norm(c, axis=-1, keepdims=True)
    side = back[:, 0] * (n - c)[:, 1] - back[:, 1] * (n - c)[:, 0]
    cosine, sine = np.cos(turn), np.where(side < 0, -1.0, 1.0) * np.sin(turn)
    direction = np.stack(
        [cosine * back[:, 0] + sine * back[:, 1], cosine * back[:, 1] - sine * back[:, 0]], axis=-1
    )
    return c + ideal["C-O"] * direction


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.arccos(np.clip(cosine, -1, 1))


class PeptideTemplate(nn.Module):
    """Positions of C, O and N of a peptide in the plane through its C-alpha axis.

    ``forward(distance (...)) -> (..., 3, 2)`` returns positions along and across the axis in nm; the position
    of N along the axis is relative to the second C-alpha. Positions are interpolated, and thus continuous in
    the distance except between cis and trans.
    """

    table: Tensor
    rise: Tensor
    shortest_nm: Final = _SHORTEST_NM
    step_nm: Final = _TABLE_STEP_NM

    def __init__(self) -> None:
        super().__init__()
        table = peptide_table()
        rise = np.diff(table, axis=0, append=table[-1:])
        last_cis = math.ceil((MAX_CIS_CA_DISTANCE_NM - _SHORTEST_NM) / _TABLE_STEP_NM - 1e-6) - 1
        rise[last_cis] = 0
        self.register_buffer("table", torch.from_numpy(table), persistent=False)
        self.register_buffer("rise", torch.from_numpy(rise), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        last = self.table.shape[0] - 1
        place = ((distance - self.shortest_nm) / self.step_nm).clamp(0, last)
        row = place.long().clamp(0, last)
        beyond = (place - row)[..., None, None]
        return self.table[row].to(distance.dtype) + beyond * self.rise[row].to(distance.dtype)
