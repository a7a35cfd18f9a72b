"""Ideal covalent geometry: medians over crystal structures, and how side-chain atoms are placed."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backmap.chemistry.residues import (
    ATOM_SLOTS,
    BONDS,
    CHI_ATOMS,
    HEAVY_ATOMS,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CA,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
)
from backmap.chemistry.topology import Topology

SLOT_PROLINE_CD = HEAVY_ATOMS["PRO"].index("CD")

RESOURCE = Path(__file__).with_name("ideal_geometry.json")


@dataclass(frozen=True)
class Placement:
    """How one side-chain atom beyond CB is placed from three atoms that are already there.

    Attributes
    ----------
    atom : str
        The atom to place.
    parents : tuple of str
        Three atoms a, b, c: the bond is c-atom, the angle b-c-atom, the torsion a-b-c-atom.
    chi : int or None
        The torsion is this chi (from 0) plus a constant; with None, only the constant.
    """

    atom: str
    parents: tuple[str, str, str]
    chi: int | None


def _placements(name: str) -> tuple[Placement, ...]:
    atoms = HEAVY_ATOMS[name]
    parent = {"CA": "N", "CB": "CA"}
    placements = []
    for atom in atoms[5:]:
        bonded = [other for bond in BONDS[name] if atom in bond for other in bond if other != atom]
        parent[atom] = min((other for other in bonded if other != "N"), key=atoms.index)
        axis = (parent[parent[parent[atom]]], parent[parent[atom]], parent[atom])
        chi = next((i for i, quadruple in enumerate(CHI_ATOMS[name]) if quadruple[:3] == axis), None)
        placements.append(Placement(atom, axis, chi))
    return tuple(placements)


PLACEMENTS: dict[str, tuple[Placement, ...]] = {name: _placements(name) for name in RESIDUE_NAMES}
"""Side-chain atoms after CB in the order of their placement. (Proline's CD closes the ring instead.)"""


@functools.cache
def ideal_geometry() -> dict:
    """Read the measured medians; lengths in nm, angles in radians."""
    return json.loads(RESOURCE.read_text())


def _length_table(kind: str) -> np.ndarray:
    """Return (20, 15, 15) lengths in nm between slots of one residue; NaN where nothing was measured."""
    table = np.full((len(RESIDUE_NAMES), ATOM_SLOTS, ATOM_SLOTS), np.nan)
    for index, name in enumerate(RESIDUE_NAMES):
        for pair, length in ideal_geometry()["residues"][name][kind].items():
            first, second = (HEAVY_ATOMS[name].index(atom) for atom in pair.split("-"))
            table[index, first, second] = table[index, second, first] = length
    return table


@functools.cache
def bond_table() -> np.ndarray:
    """Return (20, 15, 15) bond lengths in nm between slots of a residue; NaN for unbonded atoms."""
    table = _length_table("bonds")
    table[:, SLOT_C, SLOT_OXT] = ideal_geometry()["terminal"]["C-OXT"]
    return table


@functools.cache
def span_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return the distances in nm between the outer atoms of bond angles; NaN for all other pairs.

    Returns
    -------
    ndarray, (20, 15, 15)
        Between slots of a residue, by residue type.
    ndarray, (15, 15)
        From a slot of a residue to a slot of its bonded successor; all peptides are taken as trans.
    """
    within, terminal, peptide = (
        _length_table("angle spans"),
        ideal_geometry()["terminal"],
        ideal_geometry()["peptide"],
    )
    within[:, SLOT_CA, SLOT_OXT] = terminal["span CA-OXT"]
    within[:, SLOT_O, SLOT_OXT] = terminal["span O-OXT"]
    across = np.full((ATOM_SLOTS, ATOM_SLOTS), np.nan)
    across[SLOT_CA, SLOT_N] = peptide["trans"]["span CA-N"]
    across[SLOT_O, SLOT_N] = peptide["trans"]["span O-N"]
    across[SLOT_C, SLOT_CA] = peptide["trans"]["span C-CA"]
    across[SLOT_C, SLOT_PROLINE_CD] = peptide["trans"]["span C-CD"]
    return within, across


def ideal_bond_lengths(topology: Topology, bonds: np.ndarray) -> np.ndarray:
    """Look up the ideal length of every bond of ``topology.bonds()``.

    Parameters
    ----------
    topology : Topology
        The protein.
    bonds : ndarray, (bonds, 2) int64
        Flat atom indices ``residue * 15 + slot``.

    Returns
    -------
    ndarray, (bonds,) float64
        Lengths in nm.
    """
    residue, slot = np.divmod(bonds, ATOM_SLOTS)
    lengths = bond_table()[topology.residue_types[residue[:, 0]], slot[:, 0], slot[:, 1]]
    peptide = (residue[:, 0] != residue[:, 1]) & (slot[:, 0] == SLOT_C) & (slot[:, 1] == SLOT_N)
    lengths[peptide] = ideal_geometry()["peptide"]["trans"]["C-N"]
    return lengths


def ideal_angle_spans(topology: Topology, ends: np.ndarray) -> np.ndarray:
    """Look up the ideal distance between the outer atoms of bond angles.

    Parameters
    ----------
    topology : Topology
        The protein.
    ends : ndarray, (angles, 2) int64
        Flat atom indices ``residue * 15 + slot``, ascending in each row. All peptides are taken as trans.

    Returns
    -------
    ndarray, (angles,) float64
        Distances in nm; NaN for atoms that are not the ends of an angle.
    """
    residue, slot = np.divmod(ends, ATOM_SLOTS)
    within, across = span_tables()
    spans = within[topology.residue_types[residue[:, 0]], slot[:, 0], slot[:, 1]]
    # Across the bond that closes a ring, the successor has the lower index.
    forward, backward = across[slot[:, 0], slot[:, 1]], across[slot[:, 1], slot[:, 0]]
    between = np.where(np.isnan(forward), backward, forward)
    return np.where(residue[:, 0] == residue[:, 1], spans, between)
