"""Steps between building frames and writing them: modified residues, hydrogens and a minimisation."""

from .hydrogens import Hydrogens
from .minimisation import RestrainedMinimisation
from .modified_residues import ModifiedResidues

__all__ = ["Hydrogens", "ModifiedResidues", "RestrainedMinimisation"]
