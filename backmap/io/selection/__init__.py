"""What of a file is built: residues, beads, chains, whole molecules, and whether frames are sound."""
