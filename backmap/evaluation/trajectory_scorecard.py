"""All measures of a trajectory against a reference, as numbers, a table and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from .bond_angle_histograms import BondsAndAngles
from .coherence import Averages, Coherence, Memory, Ratio
from .distributions import SIDES
from .energy import Energies
from .free_energy_surface import Surfaces
from .kinetics import Kinetics
from .latent_codes import CodeDiversity, LatentCorrelation
from .markov_model import WIDEST_INTERVAL, Interval
from .scorecard import align_columns
from .side_chain_kinetics import SideChainKinetics
from .velocities import Velocities

SCHEMA = "backmap-trajectory-scorecard/2"
SIGNIFICANT_DIGITS = 7
SIDE_CHAINS_SHOWN = 5
VERDICTS = {True: "yes", False: "no", None: "too few data"}


@dataclass(frozen=True)
class System:
    """The systems that were compared, and the settings.

    Attributes
    ----------
    n_atoms : int
        Atoms that are compared.
    n_atoms_given : dict of str to int
        Atoms of the first trajectory of each side; others than the compared ones are left out.
    n_frames, n_trajectories : dict of str to int
        Numbers of frames and trajectories, by side.
    interval : float
        Time between frames, ps.
    temperature : float
        Temperature of free energies, K.
    coordinates : tuple of str
        The two coordinates of the free-energy surface, with units.
    tica_time_scales : ndarray, (2,), or None
        ps; None if the coordinates are torsions.
    same_c_alphas : bool
        Whether both sides have the same slow components of C-alpha distances in every frame, as structures
        built on the C-alphas of the reference have: free energies and Markov models then tell nothing.
    seed : int
    """

    n_atoms: int
    n_atoms_given: dict[str, int]
    n_frames: dict[str, int]
    n_trajectories: dict[str, int]
    interval: float
    temperature: float
    coordinates: tuple[str, str]
    tica_time_scales: np.ndarray | None
    same_c_alphas: bool
    seed: int


@dataclass(frozen=True)
class TrajectoryScorecard:
    """Scores of a sample against a reference. Definitions: docs/evaluation.md.

    Attributes
    ----------
    system : System
    geometry : BondsAndAngles
    surface : Surfaces
    velocities : Velocities
    coherence : Coherence, or None
        None without the atoms of proteins beside C-alphas.
    side_chains : SideChainKinetics, or None
        None without side chains that have wells.
    kinetics : Kinetics, or None
        None with too few data for Markov models.
    too_few_data : str, or None
        Why there are no Markov models.
    energies : Energies, or None
        None without an energy function.
    latent : LatentCorrelation, or None
        None without latent codes.
    code_diversity : CodeDiversity, or None
        None without several structures of one frame.
    """

    system: System
    geometry: BondsAndAngles
    surface: Surfaces
    velocities: Velocities
    coherence: Coherence | None
    side_chains: SideChainKinetics | None
    kinetics: Kinetics | None
    too_few_data: str | None = None
    energies: Energies | None = None
    latent: LatentCorrelation | None = None
    code_diversity: CodeDiversity | None = None

    def to_dict(self) -> dict:
        """Return everything as plain numbers, strings, lists and dictionaries; None for NaN and infinity."""
        return {"schema": SCHEMA, **_plain(self)}

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_table(self) -> str:
        """Return the main numbers as lines of text for a terminal."""
        tables = [] if self.coherence is None else [_coherence_rows(self.coherence)]
        if self.side_chains is not None:
            tables.append(_side_chain_rows(self.side_chains))
        tables.append(self._distribution_rows())
        if self._kinetics_shown is not None:
            tables.append(_process_rows(self._kinetics_shown))
        tables.append(self._other_rows())
        return "\n\n".join([*map(align_columns, tables), self._notes()])

    @property
    def _kinetics_shown(self) -> Kinetics | None:
        return None if self.system.same_c_alphas else self.kinetics

    def _notes(self) -> str:
        given = self.system.n_atoms_given
        notes = [
            "distributions: mean ± standard deviation; time scales: estimate (95 % interval)",
            "times: the sample's time scales with the reference's slowest process made equally slow",
            "agrees: the sample's time scale lies in the reference's interval; "
            f"too few data: an interval spans more than a factor of {WIDEST_INTERVAL:g}, and both overlap",
        ]
        if max(given.values()) > self.system.n_atoms:
            notes.append(
                f"atoms differ: compared are the {self.system.n_atoms} heavy atoms that both sides have "
                f"(reference {given['reference']} atoms, sample {given['sample']})"
            )
        if self.system.same_c_alphas:
            notes.append(
                "both sides have the same C-alphas in every frame, so free energies and Markov models of "
                "C-alpha distances are left out: they would agree whatever the other atoms do"
            )
        elif self.too_few_data is not None:
            notes.append(f"no time scales, too few data: {self.too_few_data}")
        return "\n".join(notes)

    def _distribution_rows(self) -> list[list[str]]:
        compared = {
            "RMS velocity, nm/ps": self.velocities.plain,
            "RMS velocity, scaled": self.velocities.scaled,
            **{f"bond {name}, nm": each for name, each in self.geometry.bonds.items()},
            **{f"angle {name}, degrees": each for name, each in self.geometry.angles.items()},
        }
        if self.energies is not None:
            compared = {"energy, kJ/mol": self.energies.distribution, **compared}
        surface, names = self.surface, " x ".join(name.split(",")[0] for name in self.system.coordinates)
        rows = []
        if not self.system.same_c_alphas:
            rows = [
                [f"{names}, reweighted", "", "", f"{surface.divergence:.3f}", f"{surface.floor:.3f}"],
                [names, "", "", f"{surface.plain_divergence:.3f}", f"{surface.plain_floor:.3f}"],
            ]
        rows += [
            [
                name,
                *(f"{each.mean[side]:.4g} ± {each.deviation[side]:.3g}" for side in SIDES),
                f"{each.divergence:.3f}",
                f"{each.floor:.3f}",
            ]
            for name, each in compared.items()
        ]
        return [["distribution", "reference", "sample", "divergence", "floor"], *rows]

    def _other_rows(self) -> list[list[str]]:
        both = {
            "bonds within 10 %, %": {side: f"{self.geometry.bond_score[side]:.3f}" for side in SIDES},
            "frames with all bonds within 10 %, %": {
                side: f"{self.geometry.whole_frames[side]:.3f}" for side in SIDES
            },
            **({} if self._kinetics_shown is None else _state_rows(self._kinetics_shown)),
        }
        rows = [[name, *values.values()] for name, values in both.items()]
        rows.append(["scale factor to the reference's velocities", "", f"{self.velocities.scale:.4f}"])
        if self.energies is not None:
            rows.append(["Wasserstein distance of energies, kJ/mol", "", f"{self.energies.wasserstein:.3g}"])
            rows.append(
                ["energies above the reference's 99.9th percentile, %", "0.1", f"{self.energies.beyond:.3g}"]
            )
        if self.latent is not None:
            rows.append(["correlation of latent codes with energy", "", f"{self.latent.correlation:.3f}"])
        if self.code_diversity is not None:
            rows.append(["RMSD between structures of one frame, nm", "", f"{self.code_diversity.rmsd:.4f}"])
            rows.append(["of these, with sound bonds, %", "", f"{self.code_diversity.valid:.2f}"])
        return [["measure", "reference", "sample"], *rows]


def _process_rows(kinetics: Kinetics) -> list[list[str]]:
    rows = [
        [
            f"{number}" if process.resolved else f"{number} (below the lag time)",
            *(_in_interval(process.time_scale[side]) for side in SIDES),
            f"{process.time_scale['sample'].value * kinetics.time_factor:.4g}",
            VERDICTS[process.agrees],
            f"{process.cosine_similarity:.3f}",
        ]
        for number, process in enumerate(kinetics.processes, 1)
    ]
    head = f"time scale at lag {kinetics.lag:g} ps, ps"
    known = np.isfinite(kinetics.time_factor)
    equal = f"times {kinetics.time_factor:.3g}" if known else "times unknown"
    return [[head, "reference", "sample", equal, "agrees", "cosine similarity"], *rows]


def _side_chain_rows(kinetics: SideChainKinetics) -> list[list[str]]:
    rows = [
        [each.label, *(_in_interval(each.time_scale[side]) for side in SIDES), VERDICTS[each.agrees]]
        for each in kinetics.torsions[:SIDE_CHAINS_SHOWN]
    ]
    judged = f"{kinetics.n_agreeing} of {kinetics.n_judged} with enough data"
    rows.append([f"of all {len(kinetics.torsions)} torsions", "", "", judged])
    return [[f"slowest torsions at lag {kinetics.lag:g} ps, ps", "reference", "sample", "agrees"], *rows]


def _state_rows(kinetics: Kinetics) -> dict[str, dict[str, str]]:
    return {
        "metastable states": {side: str(kinetics.n_metastable[side]) for side in SIDES},
        "populations of metastable states, %": {
            side: " ".join(f"{100 * share:.2f}" for share in kinetics.populations[side].value)
            for side in SIDES
        },
        "connected states": {
            side: f"{kinetics.connectivity[side].n_active} of {kinetics.n_states}" for side in SIDES
        },
        "frames in connected states, %": {
            side: f"{kinetics.connectivity[side].frame_share:.2f}" for side in SIDES
        },
        "largest Chapman-Kolmogorov error": {
            side: f"{kinetics.chapman_kolmogorov[side].largest_error:.3f}" for side in SIDES
        },
    }


def _coherence_rows(coherence: Coherence) -> list[list[str]]:
    """Return the rows of the table about how atoms move, the heading first."""
    rows = [
        _ratio_row(f"RMS displacement per frame, {name}, nm", each)
        for name, each in coherence.displacements.items()
    ]
    rows += [
        _ratio_row(f"{name} turned by more than 60 degrees per frame, %", each.percent)
        for name, each in coherence.turns.items()
    ]
    for name, memory in coherence.memory.items():
        rows += _memory_rows(name, memory)
    averages = {f"S2 of {kind}": each for kind, each in coherence.order_parameters.items()}
    if coherence.couplings is not None:
        averages["3J(HN-HA), Hz"] = coherence.couplings
    rows += [_averages_row(name, each) for name, each in averages.items()]
    return [["motion", "reference", "sample", "comparison"], *rows]


def _ratio_row(name: str, ratio: Ratio) -> list[str]:
    compared = f"ratio {ratio.ratio:.2f}" if np.isfinite(ratio.ratio) else ""
    return [name, f"{ratio.reference:.4g}", f"{ratio.sample:.4g}", compared]


def _memory_rows(name: str, memory: Memory) -> list[list[str]]:
    return [
        [
            f"autocorrelation of {name} after {time:g} ps",
            *(f"{memory.correlation[side][index]:.3f}" for side in SIDES),
            f"difference {memory.difference[index]:+.3f}",
        ]
        for index, time in enumerate(memory.times)
    ]


def _averages_row(name: str, averages: Averages) -> list[str]:
    correlation = f"correlation {averages.correlation:.2f}, " if np.isfinite(averages.correlation) else ""
    return [
        f"{name}, mean of {len(averages.labels)}",
        *(f"{averages.mean[side]:.3f}" for side in SIDES),
        f"{correlation}RMS difference {averages.rms_difference:.3f}",
    ]


def _in_interval(values: Interval) -> str:
    if not np.isfinite(values.value):
        return "unknown"
    return f"{values.value:.4g} ({values.low:.4g}-{values.high:.4g})"


def _plain(value: object) -> Any:
    """Convert dataclasses and arrays to types that JSON supports."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float | np.floating):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}") if np.isfinite(value) else None
    return value
