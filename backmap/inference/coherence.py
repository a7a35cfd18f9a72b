"""How much of a frame the next one remembers, as a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.models.protein.coherence_statistics import REFERENCE_KELVIN

State = dict[str, np.ndarray]
"""What later frames depend on: ``c_alpha``, ``time``, ``elapsed`` and ``boxed``, and the fields of
:class:`backmap.models.protein.coherent_state.CoherentState`."""


@dataclass(frozen=True)
class Coherence:
    """How much of a frame the next one remembers.

    Parameters
    ----------
    temperature_kelvin : float
        Temperature of the simulation.
    time_scale : float
        Factor on the time between frames.
    statistics : dict, optional
        Rates, from :func:`backmap.models.protein.coherence_statistics.read_coherence`; the shipped ones by
        default.
    """

    temperature_kelvin: float = REFERENCE_KELVIN
    time_scale: float = 1.0
    statistics: dict | None = None
