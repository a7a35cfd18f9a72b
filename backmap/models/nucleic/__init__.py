"""Nucleic acids from beads: windows of known structures, drawn along the chain and fitted to the beads."""
