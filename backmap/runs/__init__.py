"""Runs from a stream of frames to a stream of atoms, and on into files that survive a kill."""
