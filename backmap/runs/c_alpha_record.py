"""What became of the C-alphas in a run: how far they moved, and which peptides are unusual."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from backmap.chemistry import Topology
from backmap.inference.protein_job import BuiltAtoms

_RESIDUES_NAMED = 3


@dataclass(frozen=True)
class CAlphaRecord:
    """Displacements of C-alphas and cis peptides, summed over structures.

    Parameters
    ----------
    n_structures, n_moved : int
        Structures that were built, and those whose C-alphas were moved.
    squares : float
        Sum of the squared displacements in nm^2 of all residues of the structures that moved.
    n_residues : int
        How many those are.
    largest_nm : float
        The largest displacement.
    cis : mapping of int to int
        In how many structures the peptide before a residue that is not proline is cis.
    """

    n_structures: int = 0
    n_moved: int = 0
    squares: float = 0.0
    n_residues: int = 0
    largest_nm: float = 0.0
    cis: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, built: BuiltAtoms) -> CAlphaRecord:
        """Record what was built."""
        displacement = built.displacement.astype(np.float64)
        moved = displacement.any(axis=-1)
        residues = np.flatnonzero(built.cis)
        return cls(
            n_structures=moved.size,
            n_moved=int(moved.sum()),
            squares=float(np.square(displacement).sum()),
            n_residues=int(moved.sum()) * displacement.shape[-1],
            largest_nm=float(displacement.max(initial=0.0)),
            cis=Counter(dict(zip(residues.tolist(), built.cis[residues].tolist(), strict=True))),
        )

    def __add__(self, other: CAlphaRecord) -> CAlphaRecord:
        return CAlphaRecord(
            self.n_structures + other.n_structures,
            self.n_moved + other.n_moved,
            self.squares + other.squares,
            self.n_residues + other.n_residues,
            max(self.largest_nm, other.largest_nm),
            self.cis + other.cis,
        )

    @property
    def rms_nm(self) -> float:
        """Root mean square displacement of the residues of structures that moved."""
        return math.sqrt(self.squares / self.n_residues) if self.n_residues else 0.0

    def to_notes(self) -> dict[str, Any]:
        """Give the record as JSON keeps it."""
        return {**vars(self), "cis": {str(residue): count for residue, count in self.cis.items()}}

    @classmethod
    def from_notes(cls, notes: dict[str, Any]) -> CAlphaRecord:
        """Read what :meth:`to_notes` gave."""
        cis = Counter({int(residue): count for residue, count in notes.get("cis", {}).items()})
        return cls(**{**notes, "cis": cis})

    def summary(self, topology: Topology) -> dict[str, Any]:
        """Give what the file beside the output says of it."""
        return {
            "structures_built": self.n_structures,
            "structures_with_moved_c_alphas": self.n_moved,
            "c_alpha_displacement_rms_nm": round(self.rms_nm, 5),
            "c_alpha_displacement_largest_nm": round(self.largest_nm, 5),
            "cis_peptides_before_other_than_proline": {
                topology.describe(residue): count for residue, count in sorted(self.cis.items())
            },
        }


def describe_motion(summary: dict[str, Any]) -> str:
    """Say how far C-alphas moved, or nothing if none did; of :meth:`CAlphaRecord.summary`."""
    n_moved, n_structures = summary["structures_with_moved_c_alphas"], summary["structures_built"]
    if not n_moved:
        return ""
    where = "" if n_moved == n_structures else f" in {n_moved} of {n_structures} structures"
    rms, largest = summary["c_alpha_displacement_rms_nm"], summary["c_alpha_displacement_largest_nm"]
    return f"C-alphas moved{where} by {rms:.4f} nm rms, {largest:.3f} nm at most"


def describe_cis(summary: dict[str, Any]) -> str:
    """Name residues other than proline behind a cis peptide, or say nothing if there are none."""
    cis, n_structures = summary["cis_peptides_before_other_than_proline"], summary["structures_built"]
    if not cis:
        return ""
    named = [
        residue if count == n_structures else f"{residue} (in {count} of {n_structures} structures)"
        for residue, count in list(cis.items())[:_RESIDUES_NAMED]
    ]
    more = f"; and {len(cis) - len(named)} more" if len(cis) > len(named) else ""
    peptides = "a cis peptide precedes" if len(cis) == 1 else "cis peptides precede"
    return f"{peptides} a residue other than proline: {'; '.join(named)}{more}"
