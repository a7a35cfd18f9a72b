"""Radii of atoms and hydrogens, and what may overlap, as Probe has them.

Those of Word and others, J. Mol. Biol. 285, 1711, 1999, for hydrogens at the positions of their nuclei
(``-nuclear``).
"""

OVERLAP_NM = 0.04
"""Two atoms clash if the spheres of their van der Waals radii overlap by at least this much."""

RADII_NM = {"C": 0.170, "N": 0.155, "O": 0.140, "S": 0.180, "Se": 0.190, "H": 0.117}
CARBONYL_CARBON_NM, AROMATIC_CARBON_NM = 0.165, 0.175
SMALL_HYDROGEN_NM = 0.100
"""Radius of hydrogens on N, O, S and aromatic rings."""

HYDROGEN_BOND_NM, SALT_BRIDGE_NM = 0.06, 0.08
"""Overlap that hydrogen bonds allow, and those between opposite charges."""

EXCLUDED_BONDS, EXCLUDED_BONDS_OF_HYDROGENS = 3, 4
"""Atoms at most this many bonds apart do not clash; the second number holds if one of them is a hydrogen."""

NEGATIVE_OXYGENS = {"ASP": ("OD1", "OD2"), "GLU": ("OE1", "OE2")}
