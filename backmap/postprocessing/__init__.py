"""What may be done to built frames before they are written: hydrogens and a minimisation, with OpenMM."""

from .hydrogens import Hydrogens
from .minimisation import RestrainedMinimisation

__all__ = ["Hydrogens", "RestrainedMinimisation"]
