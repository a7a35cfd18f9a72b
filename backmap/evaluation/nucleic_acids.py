"""Measures of built nucleic acids: bonds, overlaps, hands, sugar puckers and torsions of bases."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from backmap.chemistry.near_pairs import near_pairs
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import (
    NUCLEOTIDE_SLOTS,
    PURINES,
    SLOT_C1,
    SLOT_C2,
    SLOT_C3,
    SLOT_C4,
    SLOT_C5,
    SLOT_GLYCOSIDIC,
    SLOT_O3,
    SLOT_O4,
    base_letter,
    nucleotide_atoms,
)
from backmap.chemistry.penalty_terms import angles_and_exclusions

_OFF = 0.10
_CLASH_NM = 0.25
"""Heavy atoms four bonds or more apart are farther from each other, hydrogen bonds included."""

_SAME_TORSION_DEGREES = 30.0
_RING = (SLOT_C4, SLOT_O4, SLOT_C1, SLOT_C2, SLOT_C3)
_HANDS = (
    (SLOT_C1, SLOT_O4, SLOT_C2, SLOT_GLYCOSIDIC),
    (SLOT_C3, SLOT_C2, SLOT_C4, SLOT_O3),
    (SLOT_C4, SLOT_C3, SLOT_O4, SLOT_C5),
)
"""Chiral carbons of the sugar with three of their neighbours."""


@dataclass(frozen=True)
class NucleicScore:
    """How good built nucleic acids are.

    Attributes
    ----------
    bonds_off : float
        Percentage of bonds whose length deviates by more than 10 % from the ideal.
    clashes : float
        Pairs of heavy atoms closer than 0.25 nm and at least four bonds apart, per 100 nucleotides.
    wrong_hands : float
        Percentage of C1', C3' and C4' whose hand differs from the reference.
    rmsd_nm, backbone_rmsd_nm, base_rmsd_nm : float
        Root mean square distance of heavy atoms from the reference, without superposition.
    same_pucker, same_chi : float
        Percentage of nucleotides whose sugar pucker is in the same half of the pseudorotation cycle (C2'-endo
        or C3'-endo), or whose torsion about the glycosidic bond is within 30 degrees.
    """

    bonds_off: float
    clashes: float
    wrong_hands: float
    rmsd_nm: float
    backbone_rmsd_nm: float
    base_rmsd_nm: float
    same_pucker: float
    same_chi: float

    def to_dict(self) -> dict[str, float]:
        """Return the measures by name."""
        return asdict(self)


def score_nucleic(built: np.ndarray, reference: np.ndarray, topology: NucleicTopology) -> NucleicScore:
    """Compare built nucleic acids with a reference.

    Parameters
    ----------
    built, reference : ndarray, (frames, nucleotides, 23, 3)
        In nm; atoms that the reference lacks are NaN and do not count.
    topology : NucleicTopology
        The nucleotides.
    """
    written = topology.written
    apart = np.linalg.norm(built - reference, axis=-1)
    known = written & np.isfinite(apart)
    base = np.arange(NUCLEOTIDE_SLOTS) > SLOT_C1
    same_pucker = is_south(built) == is_south(reference)
    chi = (glycosidic_torsion(built, topology) - glycosidic_torsion(reference, topology) + 180) % 360 - 180
    return NucleicScore(
        bonds_off=100 * _bonds_off(built, topology),
        clashes=100 * _clashes(built, topology) / (built.shape[0] * topology.n_nucleotides),
        wrong_hands=100 * float((_hands(built) != _hands(reference)).mean()),
        rmsd_nm=_rms(apart[known]),
        backbone_rmsd_nm=_rms(apart[known & ~base]),
        base_rmsd_nm=_rms(apart[known & base]),
        same_pucker=100 * float(same_pucker.mean()),
        same_chi=100 * float((np.abs(chi) < _SAME_TORSION_DEGREES).mean()),
    )


def is_south(atoms: np.ndarray) -> np.ndarray:
    """Return which sugars (...,) of atoms (..., 23, 3) have a pucker around C2'-endo rather than C3'-endo.

    Their phases of pseudorotation (Altona and Sundaralingam, J. Am. Chem. Soc. 1972, 94, 8205) are from 90 to
    270 degrees.
    """
    ring = atoms[..., _RING, :]
    torsions = []
    for start in range(5):
        first, second, third, fourth = (ring[..., (start + place) % 5, :] for place in range(4))
        torsions.append(_torsion(first, second, third, fourth))
    nu0, nu1, nu2, nu3, nu4 = torsions  # nu0 is that of C4', O4', C1' and C2'
    tangent = (nu4 + nu1) - (nu3 + nu0)
    phase = np.degrees(np.arctan2(tangent, 2 * nu2 * (np.sin(np.radians(36)) + np.sin(np.radians(72)))))
    return np.abs(phase) > 90


def glycosidic_torsion(atoms: np.ndarray, topology: NucleicTopology) -> np.ndarray:
    """Return chi (..., nucleotides) in degrees of atoms (..., nucleotides, 23, 3)."""
    last = []
    for nucleotide in range(topology.n_nucleotides):
        name = topology.name(nucleotide)
        last.append(nucleotide_atoms(name).index("C4" if base_letter(name) in PURINES else "C2", SLOT_C1))
    ends = atoms[..., np.arange(topology.n_nucleotides), last, :]
    oxygen, carbon, nitrogen = (atoms[..., slot, :] for slot in (SLOT_O4, SLOT_C1, SLOT_GLYCOSIDIC))
    return _torsion(oxygen, carbon, nitrogen, ends)


def _torsion(first: np.ndarray, second: np.ndarray, third: np.ndarray, fourth: np.ndarray) -> np.ndarray:
    """Return torsions in degrees."""
    before, axis, after = second - first, third - second, fourth - third
    one, other = np.cross(before, axis), np.cross(axis, after)
    axis = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    sine = (np.cross(one, other) * axis).sum(axis=-1)
    return np.degrees(np.arctan2(sine, (one * other).sum(axis=-1)))


def _bonds_off(atoms: np.ndarray, topology: NucleicTopology) -> float:
    bonds, lengths = topology.bonds()
    written = topology.written.ravel()
    kept = written[bonds].all(axis=1)
    ends = atoms.reshape(len(atoms), -1, 3)[:, bonds[kept]]
    found = np.linalg.norm(ends[:, :, 1] - ends[:, :, 0], axis=-1)
    return float((np.abs(found / lengths[kept] - 1) > _OFF).mean())


def _clashes(atoms: np.ndarray, topology: NucleicTopology) -> int:
    bonds, _ = topology.bonds()
    n_slots = topology.n_nucleotides * NUCLEOTIDE_SLOTS
    _, start, excluded = angles_and_exclusions(bonds, n_slots, topology.spans()[0])
    joined = set(zip(np.repeat(np.arange(n_slots), np.diff(start)).tolist(), excluded.tolist(), strict=True))
    written = np.flatnonzero(topology.written.ravel())
    number = 0
    for frame in atoms.reshape(len(atoms), -1, 3):
        one, other, _ = near_pairs(frame[written], frame[written], _CLASH_NM)
        pairs = zip(written[one].tolist(), written[other].tolist(), strict=True)
        number += sum(first < second and (first, second) not in joined for first, second in pairs)
    return number


def _hands(atoms: np.ndarray) -> np.ndarray:
    """Return the signs (..., 3) of the volumes at C1', C3' and C4'."""
    signs = []
    for centre, *others in _HANDS:
        arms = [atoms[..., slot, :] - atoms[..., centre, :] for slot in others]
        signs.append((np.cross(arms[0], arms[1]) * arms[2]).sum(axis=-1) > 0)
    return np.stack(signs, axis=-1)


def _rms(distances: np.ndarray) -> float:
    return float(np.sqrt(np.square(distances).mean())) if distances.size else 0.0
