"""Judge all-atom structures built by any tool. Definitions: docs/evaluation.md."""

from .scorecard import MEASURES, Estimate, Scorecard, combine, score

__all__ = ["MEASURES", "Estimate", "Scorecard", "combine", "score"]
