"""Generative models of all-atom structure, based on chemistry and operators."""
