"""The request for a simulation, as a value: every option with its limits and its help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backmap.limits import Name, Real, Whole
from backmap.options import check_options, option, options_of, same_option

from .request import Request


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What to simulate, and how."""

    force_field: str = option(
        ...,
        Name("the name of a shipped force field, or of a file"),
        "shipped force field, or a file from `backmap train cgschnet`",
        metavar="FORCE_FIELD",
        group="files",
        decides=False,  # its content decides
    )
    output: str = option(
        ...,
        Name(),
        "trajectory of beads; each of several replicas gets a file with its number",
        metavar="FILE",
        group="files",
        decides=False,
    )
    start: str | None = option(
        None,
        Name(),
        "frames to start from: beads, or all atoms",
        unset="frames that the force field was trained on",
        metavar="FILE",
        group="files",
        decides=False,  # its content decides
    )
    top: str | None = option(
        None, Name(), "topology of the frames to start from", metavar="FILE", group="files", decides=False
    )
    overwrite: bool = same_option(Request, "overwrite")
    replicas: int = option(
        1, Whole(1, 100_000), "independent simulations, all at once", metavar="N", group="simulation"
    )
    frames: int = option(
        1_000,
        Whole(1, 10**9),
        "frames to write",
        metavar="N",
        group="simulation",
        decides=False,  # a run that was stopped may be resumed to more frames
    )
    steps: int = option(100, Whole(1, 10**9), "time steps per frame", metavar="N", group="simulation")
    time_step: float = option(
        0.004, Real(1e-6, 1.0), "time step of the integrator, in ps", metavar="PS", group="simulation"
    )
    friction: float = option(
        1.0,
        Real(0.0, 1e6),
        "friction of the Langevin thermostat, in 1/ps",
        metavar="RATE",
        group="simulation",
    )
    time_scale: float = option(
        1.0,
        Real(1e-6, 1e6),
        "factor on the times in the files: coarse-grained dynamics are faster than those of the atoms",
        metavar="FACTOR",
        group="simulation",
    )
    seed: int = same_option(Request, "seed", group="simulation")
    device: str = same_option(Request, "device")
    threads: int | None = same_option(Request, "threads")
    resume: bool = same_option(Request, "resume")
    log: str | None = same_option(Request, "log")
    quiet: bool = same_option(Request, "quiet")

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def frame_interval_ps(self) -> float:
        """Time between frames in the files."""
        return self.steps * self.time_step * self.time_scale

    @property
    def deciding(self) -> dict[str, Any]:
        """Options that the written frames depend on, by name."""
        return {name: getattr(self, name) for name, known in options_of(Simulation).items() if known.decides}
