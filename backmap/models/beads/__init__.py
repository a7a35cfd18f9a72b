"""Beads of coarse-grained models as evidence of atoms: C-alphas estimated, and atoms fitted to the beads."""
