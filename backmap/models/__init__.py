"""Generative models of all-atom structure. They know chemistry and operators, but no files and no command line."""
