"""Writing that survives: outputs that appear whole or not at all, grow, and can be cut back after a kill."""
