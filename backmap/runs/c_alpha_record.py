"""A record of a run: how far C-alphas moved, or atoms are from beads, and which peptide bonds are unusual."""

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
        Numbers of structures that were built, and of those whose C-alphas were moved.
    squares : float
        Sum of the squared displacements, in nm^2, of all residues of structures whose C-alphas moved.
    n_residues : int
        Number of these residues.
    largest_nm : float
        Largest displacement.
    cis : mapping of int to int
        Number of structures with a cis peptide bond before each residue that is not proline.
    """

    n_structures: int = 0
    n_moved: int = 0
    squares: float = 0.0
    n_residues: int = 0
    largest_nm: float = 0.0
    cis: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, built: BuiltAtoms) -> CAlphaRecord:
        """Record the given structures."""
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
        """Root-mean-square displacement over the residues of structures whose C-alphas moved."""
        return math.sqrt(self.squares / self.n_residues) if self.n_residues else 0.0

    def to_notes(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {**vars(self), "cis": {str(residue): count for residue, count in self.cis.items()}}

    @classmethod
    def from_notes(cls, notes: dict[str, Any]) -> CAlphaRecord:
        """Restore a record from :meth:`to_notes`."""
        cis = Counter({int(residue): count for residue, count in notes.get("cis", {}).items()})
        return cls(**{**notes, "cis": cis})

    def summary(self, topology: Topology, mapping: str | None) -> dict[str, Any]:
        """Return the entries for the record file beside the output.

        Parameters
        ----------
        topology : Topology
            The residues.
        mapping : str, optional
            Name of the mapping, if the input are beads and not C-alphas.
        """
        rms_nm, largest_nm = round(self.rms_nm, 5), round(self.largest_nm, 5)
        distances: dict[str, Any]
        if mapping is not None:
            distances = {
                "bead_mapping": mapping,
                "bead_distance_rms_nm": rms_nm,
                "bead_distance_largest_nm": largest_nm,
            }
        else:
            distances = {
                "structures_with_moved_c_alphas": self.n_moved,
                "c_alpha_displacement_rms_nm": rms_nm,
                "c_alpha_displacement_largest_nm": largest_nm,
            }
        return {
            "structures_built": self.n_structures,
            **distances,
            "cis_peptides_before_other_than_proline": {
                topology.describe(residue): count for residue, count in sorted(self.cis.items())
            },
        }


def describe_motion(summary: dict[str, Any]) -> str:
    """Describe how far C-alphas moved, or atoms are from beads, given :meth:`CAlphaRecord.summary`.

    The description is empty if C-alphas stayed in place.
    """
    if "bead_mapping" in summary:
        rms, largest = summary["bead_distance_rms_nm"], summary["bead_distance_largest_nm"]
        return f"beads of {summary['bead_mapping']} met within {rms:.4f} nm rms, {largest:.3f} nm at most"
    n_moved, n_structures = summary["structures_with_moved_c_alphas"], summary["structures_built"]
    if not n_moved:
        return ""
    where = "" if n_moved == n_structures else f" in {n_moved} of {n_structures} structures"
    rms, largest = summary["c_alpha_displacement_rms_nm"], summary["c_alpha_displacement_largest_nm"]
    return f"C-alphas moved{where} by {rms:.4f} nm rms, {largest:.3f} nm at most"


def describe_cis(summary: dict[str, Any]) -> str:
    """List residues other than proline that follow a cis peptide bond; empty if there are none."""
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
