"""How long torsions of proteins remember, as measured in simulations."""

from __future__ import annotations

import functools
import json
from pathlib import Path

RESOURCE = Path(__file__).with_name("coherence.json")

REFERENCE_KELVIN = 300.0
"""Temperature of the simulations."""


@functools.cache
def coherence_statistics() -> dict:
    """Read the result of ``backmap train coherence``; rates in 1/ps, times in ps, energies in kJ/mol."""
    return json.loads(RESOURCE.read_text())
