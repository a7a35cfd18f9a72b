"""Steps between building and writing: modified residues, hydrogens, a minimisation, names for programs."""

from .hydrogens import Hydrogens
from .modified_residues import ModifiedResidues
from .program_names import named_for

__all__ = ["Hydrogens", "ModifiedResidues", "named_for"]
