"""Figures of scorecards, drawn only from their JSON."""

from .figures import FIGURES, draw, draw_all

__all__ = ["FIGURES", "draw", "draw_all"]
