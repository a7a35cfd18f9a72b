"""Coarse-grained force fields as self-contained modules."""

from typing import Any

import torch
from torch import Tensor, nn

from backmap.cg.model import CgForceField
from backmap.export.arguments import check_positions


class ExportedForceField(nn.Module):
    """The energy of beads, and the forces on them.

    Parameters
    ----------
    force_field : CgForceField
        Trained force field.

    Attributes
    ----------
    family, length_unit : str
        ``cgschnet``, and ``nm``.
    bead_names, residue_names : list of str
        Name and residue name of each bead.
    masses : list of float
        In daltons.
    temperature_kelvin : float
        Temperature at which the force field holds.
    """

    def __init__(self, force_field: CgForceField) -> None:
        super().__init__()
        self.force_field = force_field
        self.family, self.length_unit = "cgschnet", "nm"
        self.bead_names = list(force_field.beads.atom_names)
        self.residue_names = list(force_field.beads.residue_names)
        self.masses: list[float] = force_field.graph.masses.tolist()
        self.beads: int = force_field.beads.n_atoms
        self.temperature_kelvin: float = force_field.config.temperature_kelvin

    def forward(self, positions: Tensor) -> Tensor:
        """Return the energy () in kJ/mol of beads (beads, 3) in nm, with a gradient: what OpenMM-Torch calls.

        The dtype of the positions is that of the module, float32 unless it was converted.
        """
        return self.force_field(positions.to(self.force_field.scale.dtype).unsqueeze(0))[0]

    @torch.jit.export
    def energy_and_forces(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies (replicas,) in kJ/mol and forces (replicas, beads, 3) in kJ/mol/nm.

        Parameters
        ----------
        positions : Tensor, (replicas, beads, 3) float32 or float64
            In nm, on the device of the module.

        Raises
        ------
        ValueError
            If the argument is invalid; the message says why. In C++ this is a ``std::exception``.
        """
        check_positions("positions", positions, [-1, self.beads, 3], self.force_field.scale)
        energy, forces = self.force_field.energy_and_forces(positions.to(self.force_field.scale.dtype))
        return energy.to(positions.dtype), forces.to(positions.dtype)

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the entries of the file's metadata that describe the force field."""
        return {
            "bead_names": self.bead_names,
            "residue_names": self.residue_names,
            "masses": self.masses,
            "temperature_kelvin": self.temperature_kelvin,
        }
