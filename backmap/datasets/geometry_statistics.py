"""Measure ideal bond lengths, angles, their spans and torsion offsets in a structure corpus.

``python -m backmap.datasets.geometry_statistics CORPUS`` writes ``backmap/chemistry/ideal_geometry.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from backmap.chemistry import (
    HEAVY_ATOMS,
    RESIDUE_INDEX,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CA,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
)
from backmap.chemistry.ideal_geometry import PLACEMENTS, RESOURCE, SLOT_PROLINE_CD, Placement
from backmap.chemistry.residues import ANGLE_ENDS, BONDS, CHI_ATOMS
from backmap.datasets.corpus import Corpus, load_corpus


def bond_length(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Distance between points (..., 3)."""
    return np.linalg.norm(second - first, axis=-1)


def bond_angle(first: np.ndarray, vertex: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Angle at ``vertex`` in radians."""
    a, b = first - vertex, last - vertex
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.arccos(np.clip(cosine, -1, 1))


def torsion(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """IUPAC torsion a-b-c-d in radians, (-pi, pi]."""
    axis = c - b
    before, after = np.cross(b - a, axis), np.cross(axis, d - c)
    sine = (np.cross(before, after) * axis).sum(-1) / np.linalg.norm(axis, axis=-1)
    return np.arctan2(sine, (before * after).sum(-1))


def circular_median(angles: np.ndarray) -> float:
    """Median of angles that gather around one value, in radians."""
    centre = np.angle(np.exp(1j * angles).mean())
    return float(np.angle(np.exp(1j * (centre + np.median(np.angle(np.exp(1j * (angles - centre))))))))


def _residue_geometry(name: str, atoms: np.ndarray) -> dict:
    slot = {atom: index for index, atom in enumerate(HEAVY_ATOMS[name])}
    at = {atom: atoms[:, index] for atom, index in slot.items()}
    chi = [torsion(*(at[atom] for atom in quadruple)) for quadruple in CHI_ATOMS[name]]
    geometry = {
        "bonds": _median_lengths(at, BONDS[name]),
        "angle spans": _median_lengths(at, ANGLE_ENDS[name]),
        "angle N-CA-C": round(float(np.median(bond_angle(at["N"], at["CA"], at["C"]))), 5),
        "placements": [_measure(placement, at, chi) for placement in PLACEMENTS[name]],
    }
    if name != "GLY":
        geometry["c_beta"] = _c_beta(at)
    return geometry


def _median_lengths(at: dict[str, np.ndarray], pairs: Iterable[tuple[str, str]]) -> dict[str, float]:
    return {f"{a}-{b}": round(float(np.median(bond_length(at[a], at[b]))), 5) for a, b in pairs}


def _measure(placement: Placement, at: dict[str, np.ndarray], chi: list[np.ndarray]) -> list:
    grand, parent_of_parent, parent = (at[name] for name in placement.parents)
    angle = torsion(grand, parent_of_parent, parent, at[placement.atom])
    if placement.chi is not None:
        angle = angle - chi[placement.chi]
    return [
        placement.atom,
        round(float(np.median(bond_length(parent, at[placement.atom]))), 5),
        round(float(np.median(bond_angle(parent_of_parent, parent, at[placement.atom]))), 5),
        round(circular_median(angle), 5),
    ]


def _c_beta(at: dict[str, np.ndarray]) -> list[float]:
    """Components of the unit vector CA-CB along the bisector of N and C and along their cross product."""
    n, c, beta = (at[name] - at["CA"] for name in ("N", "C", "CB"))
    n, c, beta = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (n, c, beta))
    bisector, normal = n + c, np.cross(n, c)
    along = [(beta * v).sum(-1) / np.linalg.norm(v, axis=-1) for v in (bisector, normal)]
    components = np.array([np.median(a) for a in along])
    return [round(float(x), 5) for x in components / np.linalg.norm(components)]


def measure_geometry(corpus: Corpus) -> dict:
    """Medians over the trusted residues of a corpus; lengths in nm, angles in radians."""
    residues = {}
    for name in RESIDUE_NAMES:
        of_type = corpus.trusted & (corpus.residue_types == RESIDUE_INDEX[name])
        residues[name] = _residue_geometry(name, corpus.coordinates[of_type])
    return {
        "data": corpus.data_hash,
        "residues": residues,
        "peptide": _peptide(corpus),
        "terminal": {**_terminal(corpus), **_end_torsions(corpus)},
    }


def _peptide(corpus: Corpus) -> dict:
    first = np.flatnonzero(corpus.linked[:-1] & corpus.trusted[:-1] & corpus.trusted[1:])
    atoms, after = corpus.coordinates[first], corpus.coordinates[first + 1]
    ca, c, o, n, next_ca = (
        atoms[:, SLOT_CA],
        atoms[:, SLOT_C],
        atoms[:, SLOT_O],
        after[:, SLOT_N],
        after[:, SLOT_CA],
    )
    trans = bond_length(ca, next_ca) > 0.34
    measured = {
        "CA-C": bond_length(ca, c),
        "C-O": bond_length(c, o),
        "C-N": bond_length(c, n),
        "N-CA": bond_length(n, next_ca),
        "angle CA-C-N": bond_angle(ca, c, n),
        "angle C-N-CA": bond_angle(c, n, next_ca),
        "angle CA-C-O": bond_angle(ca, c, o),
        "span CA-N": bond_length(ca, n),
        "span O-N": bond_length(o, n),
        "span C-CA": bond_length(c, next_ca),
        "span C-CD": _only_proline(
            bond_length(c, after[:, SLOT_PROLINE_CD]), corpus.residue_types[first + 1]
        ),
    }
    return {
        kind: {name: round(float(np.nanmedian(values[rows])), 5) for name, values in measured.items()}
        for kind, rows in (("trans", trans), ("cis", ~trans))
    }


def _only_proline(values: np.ndarray, residue_types: np.ndarray) -> np.ndarray:
    return np.where(residue_types == RESIDUE_INDEX["PRO"], values, np.nan)


def _terminal(corpus: Corpus) -> dict:
    atoms = corpus.coordinates[corpus.trusted & corpus.present[:, SLOT_OXT]]
    ca, c, o, oxt = (atoms[:, slot] for slot in (SLOT_CA, SLOT_C, SLOT_O, SLOT_OXT))
    return {
        "C-OXT": round(float(np.median(bond_length(c, oxt))), 5),
        "angle CA-C-OXT": round(float(np.median(bond_angle(ca, c, oxt))), 5),
        "span CA-OXT": round(float(np.median(bond_length(ca, oxt))), 5),
        "span O-OXT": round(float(np.median(bond_length(o, oxt))), 5),
    }


_TORSION_BINS = 36


def _end_torsions(corpus: Corpus) -> dict[str, list[float]]:
    """Cumulative histograms over [-180, 180): psi of chain starts, phi of chain ends, phi of proline."""
    atoms, trusted, linked = corpus.coordinates, corpus.trusted, corpus.linked
    n, ca, c = (atoms[:, slot] for slot in (SLOT_N, SLOT_CA, SLOT_C))
    joined = np.flatnonzero(linked[:-1] & trusted[:-1] & trusted[1:])
    psi = np.full(len(atoms), np.nan)
    phi = np.full(len(atoms), np.nan)
    psi[joined] = torsion(n[joined], ca[joined], c[joined], n[joined + 1])
    phi[joined + 1] = torsion(c[joined], n[joined + 1], ca[joined + 1], c[joined + 1])
    starts = np.append(True, ~linked[:-1])
    proline = corpus.residue_types == RESIDUE_INDEX["PRO"]
    return {
        "psi of starts": _cumulative(psi[starts]),
        "phi of ends": _cumulative(phi[~linked & ~proline]),
        "phi of proline": _cumulative(phi[proline]),
    }


def _cumulative(angles: np.ndarray) -> list[float]:
    counts, _ = np.histogram(angles[~np.isnan(angles)], _TORSION_BINS, (-np.pi, np.pi))
    return [round(float(x), 6) for x in np.cumsum(counts) / counts.sum()]


def main() -> None:
    """Write the resource that :mod:`backmap.chemistry.ideal_geometry` reads."""
    geometry = measure_geometry(load_corpus(sys.argv[1], "train"))
    Path(RESOURCE).write_text(json.dumps(geometry, indent=1) + "\n")


if __name__ == "__main__":
    main()
