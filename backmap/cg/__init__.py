"""Coarse-grained force fields: a network and a prior over the beads of a molecule, and their dynamics."""
