"""Beads of coarse-grained models as evidence of atoms: C-alphas estimated from them, and atoms fitted to them."""
