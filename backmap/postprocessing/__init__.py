"""Optional steps between building frames and writing them, with OpenMM: hydrogens and a minimisation."""

from .hydrogens import Hydrogens
from .minimisation import RestrainedMinimisation

__all__ = ["Hydrogens", "RestrainedMinimisation"]
