"""Energies of molecules as differentiable functions of their atoms' positions."""

from backmap.physics.potential import Potential

__all__ = ["Potential"]
