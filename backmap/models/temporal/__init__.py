"""Temporally coherent backmapping: P(atoms at t | beads at t, atoms at t - 1) by an autoencoder."""
