"""Running trained models over trajectories."""
