"""Physical constants, in the units of the package."""

BOLTZMANN = 8.31446261815324e-3
"""kJ/mol/K."""

MASSES = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "F": 18.998, "NA": 22.990, "MG": 24.305,
    "P": 30.974, "S": 32.06, "CL": 35.45, "K": 39.098, "CA": 40.078, "ZN": 65.38, "SE": 78.971,
    "BR": 79.904, "I": 126.904,
}  # fmt: skip
"""Standard atomic weights by symbol in capitals, in daltons (IUPAC 2021, abridged)."""
