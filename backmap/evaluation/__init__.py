"""Judge all-atom structures, whatever tool built them. Definitions: docs/evaluation.md."""

from .scorecard import MEASURES, Estimate, Scorecard, combine, score

__all__ = ["MEASURES", "Estimate", "Scorecard", "combine", "score"]
