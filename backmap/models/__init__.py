"""Generative models of all-atom structure, which know chemistry and operators."""
