"""Peptides with chosen torsions on ideal geometry, built atom by atom."""

from __future__ import annotations

import numpy as np

from backmap.chemistry import ATOM_SLOTS, SLOT_C, SLOT_CA, SLOT_CB, SLOT_N, SLOT_O, Topology
from backmap.chemistry.ideal_geometry import PLACEMENTS, ideal_geometry
from backmap.chemistry.residues import HEAVY_ATOMS


def place(first, second, third, length: float, angle: float, torsion: float) -> np.ndarray:
    """Place an atom from three others; angle and torsion in radians."""
    axis = (third - second) / np.linalg.norm(third - second)
    normal = np.cross(second - first, axis)
    normal /= np.linalg.norm(normal)
    local = length * np.array(
        [-np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)]
    )
    return third + local @ np.stack([axis, np.cross(normal, axis), normal])


def build(
    sequence: str,
    phi: float = -120.0,
    psi: float = 140.0,
    omega: dict[int, float] | None = None,
    chi: float = -63.0,
) -> tuple[Topology, np.ndarray]:
    """Build an extended L-peptide, torsions in degrees; ``omega`` by residue, 180 by default.

    Returns the topology and atoms (residues, 15, 3) in nm, NaN where a residue has no such atom (and OXT).
    """
    topology = Topology.from_sequences(sequence)
    atoms = np.full((topology.n_residues, ATOM_SLOTS, 3), np.nan)
    peptide = ideal_geometry()["peptide"]["trans"]
    for residue, own in enumerate(atoms):
        if residue == 0:
            own[SLOT_N], own[SLOT_CA] = (0.0, 0.0, 0.0), (peptide["N-CA"], 0.0, 0.0)
            own[SLOT_C] = own[SLOT_CA] + peptide["CA-C"] * np.array([np.cos(1.23), np.sin(1.23), 0.0])
        else:
            before = atoms[residue - 1]
            turn = np.radians((omega or {}).get(residue, 180.0))
            trace = [before[SLOT_N], before[SLOT_CA], before[SLOT_C]]
            trace.append(place(*trace[-3:], peptide["C-N"], peptide["angle CA-C-N"], np.radians(psi)))
            trace.append(place(*trace[-3:], peptide["N-CA"], peptide["angle C-N-CA"], turn))
            trace.append(place(*trace[-3:], peptide["CA-C"], 1.935, np.radians(phi)))
            own[[SLOT_N, SLOT_CA, SLOT_C]] = trace[-3:]
        backbone = own[[SLOT_N, SLOT_CA, SLOT_C]]
        own[SLOT_O] = place(*backbone, peptide["C-O"], peptide["angle CA-C-O"], np.radians(psi + 180.0))
        _add_side_chain(own, topology.residue_name(residue), np.radians(chi))
    return topology, atoms


def _add_side_chain(own: np.ndarray, name: str, chi: float) -> None:
    if name == "GLY":
        return
    length = ideal_geometry()["residues"][name]["bonds"]["CA-CB"]
    own[SLOT_CB] = place(own[SLOT_C], own[SLOT_N], own[SLOT_CA], length, 1.93, np.radians(-122.5))
    names = HEAVY_ATOMS[name]
    placed = zip(PLACEMENTS[name], ideal_geometry()["residues"][name]["placements"], strict=True)
    for placement, (atom, length, angle, torsion) in placed:
        parents = (own[names.index(parent)] for parent in placement.parents)
        turn = torsion + (0.0 if placement.chi is None else chi)
        own[names.index(atom)] = place(*parents, length, angle, turn)
