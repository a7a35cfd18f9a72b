"""A record of a run: how far C-alphas moved, or atoms are from beads, and which residues are unusual."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.bead_mapping import LEAST_BEAD_NOISE_NM
from backmap.errors import InputError
from backmap.inference.protein_job import BuiltAtoms

from .wording import counted

_RESIDUES_NAMED = 3
_STRANGE_DISTANCE = 1.9
"""Beads this many times as far from atoms as their noise explains are a sign of other mistakes."""

_LARGEST_NOISE_NM = 0.1
"""No simulation has so much noise."""

_ABSURD_SHARE = 0.4
"""Share of strained residues in the first frames of a file above which no molecule fits its beads."""


class StrainedFrame(NamedTuple):
    """The number of a frame, and how many residues are strained in any of its structures, with the first."""

    frame: int
    n_residues: int
    residues: tuple[int, ...]


def _first_strained(strained: np.ndarray, numbers: np.ndarray) -> StrainedFrame | None:
    """Return the first frame with a strained residue (samples, frames, residues); frames have numbers."""
    frames = np.flatnonzero(strained.any(axis=(0, 2)))
    if len(frames) == 0:
        return None
    residues = np.flatnonzero(strained[:, frames[0]].any(axis=0)).tolist()
    return StrainedFrame(int(numbers[frames[0]]), len(residues), tuple(residues[:_RESIDUES_NAMED]))


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
    n_noisy, noise_nm : int and float
        Number of structures on noisy beads, and the sum of the standard deviations of a coordinate.
    n_strained, n_strained_structures : int
        Number of residues with strained bonds or wrong hands, and of structures with any.
    first_strained : StrainedFrame, optional
        The first frame with strained residues.
    """

    n_structures: int = 0
    n_moved: int = 0
    squares: float = 0.0
    n_residues: int = 0
    largest_nm: float = 0.0
    cis: Counter[int] = field(default_factory=Counter)
    n_noisy: int = 0
    noise_nm: float = 0.0
    n_strained: int = 0
    n_strained_structures: int = 0
    first_strained: StrainedFrame | None = None

    @classmethod
    def of(cls, built: BuiltAtoms, numbers: np.ndarray) -> CAlphaRecord:
        """Record the given structures of frames with these numbers (frames,)."""
        displacement = built.displacement.astype(np.float64)
        moved = displacement.any(axis=-1)
        residues = np.flatnonzero(built.cis)
        n_samples, strained = len(displacement), built.strained
        return cls(
            n_structures=moved.size,
            n_moved=int(moved.sum()),
            squares=float(np.square(displacement).sum()),
            n_residues=int(moved.sum()) * displacement.shape[-1],
            largest_nm=float(displacement.max(initial=0.0)),
            cis=Counter(dict(zip(residues.tolist(), built.cis[residues].tolist(), strict=True))),
            n_noisy=n_samples * int((built.noise_nm > 0).sum()),
            noise_nm=n_samples * float(built.noise_nm.sum(dtype=np.float64)),
            n_strained=int(strained.sum()),
            n_strained_structures=int(strained.any(axis=2).sum()),
            first_strained=_first_strained(built.strained, numbers),
        )

    def __add__(self, other: CAlphaRecord) -> CAlphaRecord:
        return CAlphaRecord(
            self.n_structures + other.n_structures,
            self.n_moved + other.n_moved,
            self.squares + other.squares,
            self.n_residues + other.n_residues,
            max(self.largest_nm, other.largest_nm),
            self.cis + other.cis,
            self.n_noisy + other.n_noisy,
            self.noise_nm + other.noise_nm,
            self.n_strained + other.n_strained,
            self.n_strained_structures + other.n_strained_structures,
            self.first_strained or other.first_strained,
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
        first = notes.get("first_strained")
        strained = None if first is None else StrainedFrame(first[0], first[1], tuple(first[2]))
        return cls(**{**notes, "cis": cis, "first_strained": strained})

    def followed_by(self, other: CAlphaRecord, topology: Topology, file: str) -> CAlphaRecord:
        """Add the record of the next frames of a file.

        Raises
        ------
        InputError
            If these are its first frames, and no molecule fits their beads.
        """
        if not self.n_structures:
            other._require_sound(topology, file)
        return self + other

    def _require_sound(self, topology: Topology, file: str) -> None:
        """Refuse beads on which hardly a residue is sound."""
        if self.n_strained <= _ABSURD_SHARE * self.n_structures * topology.n_residues:
            return
        assert self.first_strained is not None
        frame, n_strained, _ = self.first_strained
        raise InputError(
            f"{file}: no molecule fits these beads: in frame {frame + 1}, {n_strained} of "
            f"{topology.n_residues} residues would have bonds more than 10 % off or the wrong hand; {_ADVICE}"
        )

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
                "structures_with_noisy_beads": self.n_noisy,
                "bead_noise_mean_nm": round(self.noise_nm / max(1, self.n_noisy), 5),
                "strained_residues": self._strain_summary(topology),
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

    def _strain_summary(self, topology: Topology) -> dict[str, Any]:
        """Return how many residues are strained, and those of the first frame that has any."""
        frame, n_residues, residues = self.first_strained or StrainedFrame(-1, 0, ())
        return {
            "number": self.n_strained,
            "structures": self.n_strained_structures,
            "first_frame": frame + 1,
            "number_in_first_frame": n_residues,
            "first_residues": [topology.describe(residue) for residue in residues],
        }


_ADVICE = "check the mapping (--beads), the unit of lengths, and whether the positions are a mirror image"


def describe_motion(summary: dict[str, Any]) -> str:
    """Describe how far C-alphas moved, or atoms are from beads, given :meth:`CAlphaRecord.summary`.

    The description is empty if C-alphas stayed in place.
    """
    if "bead_mapping" in summary:
        rms, largest = summary["bead_distance_rms_nm"], summary["bead_distance_largest_nm"]
        line = f"beads of {summary['bead_mapping']} met within {rms:.4f} nm rms, {largest:.3f} nm at most"
        n_noisy, n_structures = summary["structures_with_noisy_beads"], summary["structures_built"]
        if not n_noisy:
            return line
        where = "" if n_noisy == n_structures else f" in {n_noisy} of {n_structures} structures"
        return f"{line}, with noise of {summary['bead_noise_mean_nm']:.4f} nm{where}"
    n_moved, n_structures = summary["structures_with_moved_c_alphas"], summary["structures_built"]
    if not n_moved:
        return ""
    where = "" if n_moved == n_structures else f" in {n_moved} of {n_structures} structures"
    rms, largest = summary["c_alpha_displacement_rms_nm"], summary["c_alpha_displacement_largest_nm"]
    return f"C-alphas moved{where} by {rms:.4f} nm rms, {largest:.3f} nm at most"


def describe_strain(summary: dict[str, Any]) -> str:
    """List residues on beads with strained bonds or wrong chirality; empty if there are none."""
    strain = summary.get("strained_residues")
    if not strain or not strain["number"]:
        return ""
    residues = strain["first_residues"]
    n_further = strain["number_in_first_frame"] - len(residues)
    more = f"; and {n_further} more" if n_further else ""
    return (
        f"the atoms of {counted(strain['number'], 'residue')} in {strain['structures']} of "
        f"{counted(summary['structures_built'], 'structure')} are strained (bonds more than 10 % off, or "
        f"wrong chirality), first in frame {strain['first_frame']}: {'; '.join(residues)}{more}. Drawing "
        "them again did not help; another --seed, or more noise (--bead-noise, instead of --c-alphas keep), "
        "may. If they are many, "
        f"{_ADVICE}"
    )


def describe_noise(summary: dict[str, Any], given_nm: float | None) -> str:
    """Warn of beads that are farther from atoms than their noise explains; empty if there are none."""
    distance, noise = summary.get("bead_distance_rms_nm", 0.0), summary.get("bead_noise_mean_nm", 0.0)
    noise = max(noise if given_nm is None else given_nm, LEAST_BEAD_NOISE_NM)
    explained = _STRANGE_DISTANCE * math.sqrt(3) * noise
    if distance < explained and (given_nm is not None or noise < _LARGEST_NOISE_NM):
        return ""
    remedy = "give --bead-noise" if given_nm is None else "give more than this --bead-noise"
    return (
        f"the beads are {distance:.3f} nm rms from where those of a molecule can be, farther than their "
        f"noise explains; {_ADVICE}, or {remedy}"
    )


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
