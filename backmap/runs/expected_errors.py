"""A record of a run: the expected error of each residue of best guesses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from backmap.io import AtomList

from .protein_frames import BuiltFrames, KeptAtoms

STEPS_PER_ANGSTROM = 100
"""Errors are summed in steps of 0.01 Angstrom, so that the sum does not depend on batches."""


@dataclass(frozen=True)
class ExpectedErrors:
    """Expected errors of residues, summed over frames.

    Parameters
    ----------
    n_frames : int
        Number of frames.
    steps : tuple of int
        Sum for each residue, in units of 0.01 Angstrom.
    """

    n_frames: int = 0
    steps: tuple[int, ...] = ()

    @classmethod
    def of(cls, built: BuiltFrames, kept: KeptAtoms) -> ExpectedErrors:
        """Take those of built frames."""
        if built.b_factors is None:
            return cls()
        values = built.b_factors[:, kept.first_atoms]
        steps = np.rint(values * STEPS_PER_ANGSTROM).astype(np.int64).sum(axis=0)
        return cls(len(values), tuple(steps.tolist()))

    def __add__(self, other: ExpectedErrors) -> ExpectedErrors:
        if not self.n_frames or not other.n_frames:
            return self if self.n_frames else other
        steps = tuple(one + more for one, more in zip(self.steps, other.steps, strict=True))
        return ExpectedErrors(self.n_frames + other.n_frames, steps)

    def to_notes(self) -> dict[str, Any]:
        """Convert to JSON."""
        return {"n_frames": self.n_frames, "steps": list(self.steps)}

    @classmethod
    def from_notes(cls, notes: dict[str, Any]) -> ExpectedErrors:
        """Convert from what :meth:`to_notes` returned."""
        return cls(notes["n_frames"], tuple(notes["steps"])) if notes else cls()

    def summary(self, atoms: AtomList, kept: KeptAtoms) -> list[dict[str, Any]]:
        """Name the residues, each with the mean over frames in Angstrom.

        Parameters
        ----------
        atoms : AtomList
            Atoms that are built.
        kept : KeptAtoms
            Says which of them belong to residues.
        """
        rows = np.repeat(
            np.arange(len(atoms.residues)), [len(residue.atom_names) for residue in atoms.residues]
        )
        listed = [atoms.residues[row] for row in rows[kept.first_atoms]] if self.n_frames else []
        return [
            {
                "chain": atoms.chain_ids[residue.chain].strip(),
                "number": residue.number,
                "insertion_code": residue.insertion_code.strip(),
                "name": residue.name,
                "expected_error_angstrom": round(steps / STEPS_PER_ANGSTROM / self.n_frames, 3),
            }
            for residue, steps in zip(listed, self.steps, strict=True)
        ]
