"""Energies of molecules as differentiable functions of their atoms' positions."""

from backmap.physics.force_field_files import force_field_from_files, potential_from_files
from backmap.physics.potential import Potential

__all__ = ["Potential", "force_field_from_files", "potential_from_files"]
