"""Figures from scorecards, drawn from their JSON alone."""

from .figures import FIGURES, draw, draw_all

__all__ = ["FIGURES", "draw", "draw_all"]
