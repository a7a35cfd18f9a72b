"""How movements of trajectories are compared, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from backmap.limits import Real, Several, Whole
from backmap.options import check_options, option

DEFAULT_STATES = 100

_PICOSECONDS = Real(1e-9, 1e12)


@dataclass(frozen=True, kw_only=True)
class KineticsOptions:
    """How trajectories are compared; times in ps."""

    frame_interval: float | None = option(
        None,
        _PICOSECONDS,
        "time between frames, in ps",
        unset="from the times of the reference",
        metavar="PS",
    )
    lag: float | None = option(
        None, _PICOSECONDS, "lag time of the Markov models, in ps", unset="five frames", metavar="PS"
    )
    lag_times: tuple[float, ...] | None = option(
        None,
        Several(_PICOSECONDS),
        "lag times of the implied time scales, in ps",
        unset="1, 2, 5, 10 and 20 frames",
        metavar="PS",
    )
    states: int = option(DEFAULT_STATES, Whole(2, 5_000), "number of k-means states", metavar="N")
    metastable: int | None = option(
        None,
        Whole(2, 100),
        "number of metastable states",
        unset="one more than the reference's time scales above the lag time",
        metavar="N",
    )
    temperature: float = option(300.0, Real(1.0, 10_000.0), "temperature of free energies, in K", metavar="K")
    seed: int = option(0, Whole(0, 2**63 - 1), "seed of clustering and posterior samples", metavar="S")

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def names_a_model(self) -> bool:
        """Whether the Markov models were asked for in detail, so that they are not left out."""
        asked = (self.lag, self.lag_times, self.metastable)
        return self.states != DEFAULT_STATES or any(value is not None for value in asked)
