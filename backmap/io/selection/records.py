"""The residues and atoms of a file, as read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AtomRecord:
    """One atom of a file. ``index`` is its position in the coordinates of a frame."""

    name: str
    index: int
    alternate: str = ""
    occupancy: float = 1.0


@dataclass(frozen=True, slots=True)
class ResidueRecord:
    """One residue of a file, of any kind.

    ``chain`` numbers the chains that the file distinguishes; ``labelled`` says whether the file names this
    one. ``ligand`` marks residues that do not belong to a chain according to the file, ``numbered`` those
    that it numbers.
    """

    chain: int
    chain_id: str
    number: int
    insertion_code: str
    name: str
    atoms: tuple[AtomRecord, ...]
    ligand: bool = False
    labelled: bool = True
    numbered: bool = True

    def describe(self) -> str:
        """Name the residue for a message: ``chain A residue 27B SEP``."""
        chain = f"chain {self.chain_id} " if self.chain_id else ""
        return f"{chain}residue {self.number}{self.insertion_code} {self.name}"
