"""Physical constants, in the units of the package."""

BOLTZMANN = 8.31446261815324e-3
"""kJ/mol/K."""
