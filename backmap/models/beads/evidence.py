"""The beads of frames as evidence of the atoms of which they are weighted means. For TorchScript, too."""

from typing import NamedTuple

import torch
from torch import Tensor

from backmap import chemistry
from backmap.chemistry.bead_mapping import BeadLayout


class BeadTable(NamedTuple):
    """The beads of a protein, the same in all frames.

    Attributes
    ----------
    residues : Tensor, (beads,) int64
        Residue of each bead, ascending.
    columns : Tensor, (beads,) int64
        Index of each bead among those of its residue; 0 is the main bead.
    weights : Tensor, (beads, 15) float32
        Weight of each atom of its residue.
    """

    residues: Tensor
    columns: Tensor
    weights: Tensor


class BeadEvidence(NamedTuple):
    """The beads of frames.

    Attributes
    ----------
    table : BeadTable
        The beads of every frame.
    positions : Tensor, (frames, beads, 3) float32
        In nm, relative to the same origin as the C-alphas.
    noise_nm : Tensor, (frames,) float32
        Standard deviation of a coordinate of a bead; 0 if beads are exact.
    """

    table: BeadTable
    positions: Tensor
    noise_nm: Tensor


def bead_table(layout: BeadLayout, device: torch.device | str = "cpu") -> BeadTable:
    """Return the beads of a protein as tensors."""
    residues, main = torch.from_numpy(layout.residues), torch.from_numpy(layout.main)
    places = torch.arange(len(residues))
    columns = places - torch.searchsorted(residues, residues) + (places < main[residues])
    columns[main] = 0
    table = residues, columns, torch.from_numpy(layout.weights).float()
    return BeadTable(*(part.to(device) for part in table))


def image(atoms: Tensor, table: BeadTable) -> Tensor:
    """Return the beads (..., beads, 3) of atoms (..., residues, 15, 3)."""
    return weighted_sum(table.weights, atoms.index_select(-3, table.residues))


def weighted_sum(weights: Tensor, atoms: Tensor) -> Tensor:
    """Return sums (..., 3) of atoms (..., slots, 3) with weights (..., slots).

    They are added slot by slot, because matrix products round differently with the number of frames.
    """
    total = weights[..., :1] * atoms[..., 0, :]
    for slot in range(1, atoms.shape[-2]):
        total = torch.addcmul(total, weights[..., slot, None], atoms[..., slot, :])
    return total


def by_residue(positions: Tensor, table: BeadTable, n_residues: int, n_columns: int) -> Tensor:
    """Arrange beads (frames, beads, 3) by residue, (frames, residues, columns, 3), with zeros in between."""
    arranged = positions.new_zeros(positions.shape[0], n_residues, n_columns, 3)
    arranged[:, table.residues, table.columns] = positions
    return arranged


def columns_present(table: BeadTable, n_residues: int, n_columns: int) -> Tensor:
    """Return which columns (residues, columns) bool hold a bead."""
    present = torch.zeros(n_residues, n_columns, dtype=torch.bool, device=table.residues.device)
    present[table.residues, table.columns] = True
    return present


def c_alpha_is_main(table: BeadTable, n_residues: int) -> Tensor:
    """Return which residues (residues,) bool have their C-alpha as main bead."""
    main = table.columns == 0
    exact = torch.zeros(n_residues, dtype=torch.bool, device=table.residues.device)
    exact[table.residues[main]] = table.weights[main, chemistry.SLOT_CA] == 1.0
    return exact


def of_samples(evidence: BeadEvidence, samples: int) -> BeadEvidence:
    """Repeat the frames for each sample: samples x frames, samples first."""
    positions, noise = evidence.positions.repeat(samples, 1, 1), evidence.noise_nm.repeat(samples)
    return BeadEvidence(evidence.table, positions, noise)
