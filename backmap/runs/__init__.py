"""Runs from a stream of frames to a stream of atoms, written to files that survive a kill."""
