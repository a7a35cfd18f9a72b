"""All measures of a structure, a trajectory or a set of structures, as numbers, a table and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from backmap.chemistry import RESIDUE_NAMES, SLOT_CA, Topology

from .all_atoms import Contacts, with_hydrogens
from .backbone_angles import TOLERANCE_DEGREES, angle_measures
from .dihedrals import TORSIONS, divergence_by_type, jensen_shannon_distance
from .diversity import diversity, jackknife_error, leave_one_out
from .measurement import Extras, Measurement, measure
from .regions import REGIONS
from .strain import ITERATIONS, strain_of

SCHEMA = "backmap-scorecard/3"
BLOCKS = 5


@dataclass(frozen=True)
class Kind:
    """Name of a measure, and which of its values are good.

    Attributes
    ----------
    title, unit : str
    better : str
        ``higher``, ``lower``, ``zero`` (small magnitude) or ``reference`` (close to the reference's value).
    digits : int
        Number of decimals in tables.
    """

    title: str
    unit: str
    better: str
    digits: int = 2


def _angle_kinds(angle: str) -> dict[str, Kind]:
    """Describe the measures of a backbone angle."""
    average, spread, off = angle_measures(angle)
    return {
        average: Kind(f"{angle}, mean", "degrees", "reference"),
        spread: Kind(f"{angle}, standard deviation", "degrees", "reference"),
        off: Kind(f"{angle} more than {TOLERANCE_DEGREES:.0f} degrees off", "%", "lower"),
    }


MEASURES: dict[str, Kind] = {
    "bond": Kind("bonds within 10 %", "%", "higher", 3),
    "clash": Kind("residues that clash", "%", "lower", 3),
    "clashscore": Kind("clash score, all atoms", "per 1000 atoms", "lower"),
    "diversity": Kind("diversity", "", "zero", 3),
    "spread": Kind("spread of samples", "A", "reference"),
    "chirality": Kind("correct chirality at CA", "%", "higher"),
    "chirality_beta": Kind("correct chirality at CB (Ile, Thr)", "%", "higher"),
    "cis": Kind("cis peptides, not before Pro", "%", "reference", 3),
    "cis_proline": Kind("cis peptides before Pro", "%", "reference"),
    "twisted": Kind("twisted peptides", "%", "lower", 3),
    "rings": Kind("pierced rings", "per 1000 residues", "lower"),
    "ramachandran_favoured": Kind("Ramachandran favoured", "%", "higher"),
    "ramachandran_outliers": Kind("Ramachandran outliers", "%", "lower"),
    "ramachandran_percentile": Kind("Ramachandran percentile, mean", "%", "reference", 1),
    "rotamer_favoured": Kind("rotamers favoured", "%", "higher"),
    "rotamer_outliers": Kind("rotamer outliers", "%", "lower"),
    "rotamer_percentile": Kind("rotamer percentile, mean", "%", "reference", 1),
    "molprobity": Kind("MolProbity score", "A", "lower"),
    **_angle_kinds("CA-C-N"),
    **_angle_kinds("C-N-CA"),
    **_angle_kinds("N-CA-C"),
    "c_beta_deviation": Kind("CB deviation, mean", "A", "lower", 3),
    "c_beta_outliers": Kind("CB deviation of 0.25 A or more", "%", "lower"),
    **{
        f"strain_{n}": Kind(f"strain after {n} iterations", "kJ/mol per residue", "lower", 1)
        for n in ITERATIONS
    },
    "chi1_recovery": Kind("chi1 within 40 degrees", "%", "higher"),
    **{f"{name}_divergence": Kind(f"{name} divergence", "", "lower", 3) for name in TORSIONS},
    "chi1_divergence_one": Kind("chi1 divergence, one sample at a time", "", "lower", 3),
    "rmsd": Kind("RMSD, all atoms", "A", "lower"),
    "rmsd_backbone": Kind("RMSD, backbone", "A", "lower"),
    "rmsd_side_chain": Kind("RMSD, side chains", "A", "lower"),
    "consistency": Kind("displacement of C-alphas", "A", "lower", 4),
    "completeness": Kind("atoms built", "%", "higher"),
}
"""All measures, in the order of the table. Definitions: docs/evaluation.md."""


@dataclass(frozen=True)
class Estimate:
    """One measure in one region.

    Attributes
    ----------
    value : float
        NaN if the region contains nothing to measure; null in JSON.
    error : float or None
        Standard error from five blocks; for the diversity, from the jackknife over samples.
    reference : float or None
        The same measure of the reference itself; for divergences the floor, which is the distance between
        two resamples of the reference.
    best, worst : tuple of (str, float), or None
        Structure and value, if there are several structures.
    """

    value: float
    error: float | None = None
    reference: float | None = None
    best: tuple[str, float] | None = None
    worst: tuple[str, float] | None = None


@dataclass(frozen=True)
class Part:
    """Measurement of one structure or trajectory, with its name."""

    name: str
    measurement: Measurement

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Mean over samples and frames, (2,), of every measure that a single structure has."""
        means = {name: _mean(values, (1, 2)) for name, values in self.measurement.values.items()}
        if "rmsd" in means and self.measurement.n_samples > 1:
            distance = self.measurement.values["rmsd"]
            means["diversity"] = _mean(diversity(distance, self.measurement.between), -1)
        return means

    def reference_value(self, name: str) -> np.ndarray:
        """Return the mean over frames, (2,), of a measure of the reference itself; NaN if there is none."""
        values = self.measurement.reference_values.get(name)
        return np.full(len(REGIONS), np.nan) if values is None else _mean(values, -1)


@dataclass(frozen=True)
class Scorecard:
    """Measures of one or several structures.

    Measures are averaged over structures; torsions are pooled.
    """

    parts: tuple[Part, ...]

    @property
    def n_residues(self) -> int:
        """Total number of residues of all structures."""
        return sum(part.measurement.n_residues for part in self.parts)

    @property
    def n_samples(self) -> int:
        """Smallest number of samples of any structure."""
        return min(part.measurement.n_samples for part in self.parts)

    @cached_property
    def measures(self) -> dict[str, dict[str, Estimate]]:
        """All measures that have a value, by name and region (``interior``, ``all``)."""
        estimates = {**self._averages(), **self._divergences()}
        return {
            name: {region: estimates[name][index] for index, region in enumerate(REGIONS)}
            for name in MEASURES
            if name in estimates and any(np.isfinite(estimate.value) for estimate in estimates[name])
        }

    @cached_property
    def residue_types(self) -> list[dict]:
        """Chi1 by residue type and region: count, percentage within 40 degrees, divergence and floor."""
        compared, recovered = self._total("compared"), self._total("recovered")
        distance, floor = (values[:, TORSIONS.index("chi1")] for values in self._by_type)
        return [
            {
                "residue": name,
                **{
                    region: {
                        "count": int(compared[index, kind]),
                        "recovery": _number(100.0 * recovered[index, kind] / compared[index, kind]),
                        "divergence": _number(distance[index, kind]),
                        "floor": _number(floor[index, kind]),
                    }
                    for index, region in enumerate(REGIONS)
                    if compared[index, kind]
                },
            }
            for kind, name in enumerate(RESIDUE_NAMES)
            if compared[-1, kind]
        ]

    @cached_property
    def residues(self) -> list[dict]:
        """Measures of every residue, means over samples and frames, beside those of the reference."""
        return [
            {
                "structure": part.name,
                "residue": part.measurement.topology.describe(residue),
                "interior": bool(part.measurement.topology.interior[residue]),
                "sample": _residue_entries(part.measurement.residues, residue),
                "reference": _residue_entries(part.measurement.reference_residues, residue),
            }
            for part in self.parts
            for residue in range(part.measurement.n_residues)
        ]

    @cached_property
    def by_residue_type(self) -> list[dict]:
        """The same measures by residue type and region: mean and standard error over residues, and count."""
        types = np.concatenate([part.measurement.topology.residue_types for part in self.parts])
        sample, reference = (self._joined_residues(name) for name in ("residues", "reference_residues"))
        return [
            {
                "residue": name,
                **{
                    region: {
                        measure: _over_residues(
                            values[index, types == kind], reference.get(measure), (index, types == kind)
                        )
                        for measure, values in sample.items()
                        if np.isfinite(values[index, types == kind]).any()
                    }
                    for index, region in enumerate(REGIONS)
                },
            }
            for kind, name in enumerate(RESIDUE_NAMES)
            if (types == kind).any()
        ]

    def _joined_residues(self, name: str) -> dict[str, np.ndarray]:
        """Join the measures (2, residues) of all structures; NaN where a structure lacks one."""
        each = [(getattr(part.measurement, name), part.measurement.n_residues) for part in self.parts]
        return {
            measure: np.concatenate(
                [values.get(measure, np.full((len(REGIONS), count), np.nan)) for values, count in each],
                axis=-1,
            )
            for measure in MEASURES
            if any(measure in values for values, _ in each)
        }

    def to_dict(self) -> dict:
        """Return everything as plain numbers, strings, lists and dictionaries, ready for JSON."""
        return {
            "schema": SCHEMA,
            "n_structures": len(self.parts),
            "n_residues": self.n_residues,
            "n_samples": self.n_samples,
            "n_frames": sum(part.measurement.n_frames for part in self.parts),
            "measures": {
                name: {
                    **asdict(MEASURES[name]),
                    **{
                        region: {**asdict(estimate), "value": _number(estimate.value)}
                        for region, estimate in regions.items()
                    },
                }
                for name, regions in self.measures.items()
            },
            "chi1_by_residue_type": self.residue_types,
            "by_residue_type": self.by_residue_type,
            "residues": self.residues,
            "torsion_histograms": self._histograms(),
            "each": [
                {
                    "name": part.name,
                    "n_residues": part.measurement.n_residues,
                    **{
                        region: {name: _number(value[index]) for name, value in part.values.items()}
                        for index, region in enumerate(REGIONS)
                    },
                }
                for part in self.parts
            ],
        }

    def to_json(self) -> str:
        """Return :meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n"

    def to_table(self) -> str:
        """Return the measures as lines of text for a terminal."""
        heads = ["measure", "interior", "all residues", "reference or floor"]
        heads += ["best", "worst"] if len(self.parts) > 1 else []
        rows = [
            [
                format_title(name),
                *(format_estimate(name, regions[region]) for region in REGIONS),
                format_value(name, regions["interior"].reference),
                *(_format_named(name, getattr(regions["interior"], end)) for end in heads[4:]),
            ]
            for name, regions in self.measures.items()
        ]
        return f"{align_columns([heads, *rows])}{self._explanation_of_errors()}"

    def _explanation_of_errors(self) -> str:
        """Return a note on the errors in the table, empty for a table without errors."""
        estimates = [estimate for regions in self.measures.values() for estimate in regions.values()]
        if all(estimate.error is None for estimate in estimates):
            return ""
        return "\n\n± standard error: from five blocks of frames, samples or structures; diversity: jackknife"

    def _averages(self) -> dict[str, list[Estimate]]:
        names = [name for name in MEASURES if any(name in part.values for part in self.parts)]
        return {name: [self._average(name, region) for region in range(len(REGIONS))] for name in names}

    def _average(self, name: str, region: int) -> Estimate:
        each = np.array([part.values[name][region] if name in part.values else np.nan for part in self.parts])
        own = np.array([part.reference_value(name)[region] for part in self.parts])
        jackknife = name == "diversity"
        error = self._diversity_error(region) if jackknife else self._block_error(name, region, each)
        best, worst = self._extremes(name, each, own)
        return Estimate(float(_mean(each)), _number(error), _number(_mean(own)), best, worst)

    def _extremes(
        self, name: str, each: np.ndarray, own: np.ndarray
    ) -> tuple[tuple[str, float] | None, tuple[str, float] | None]:
        """Return the best and the worst structure."""
        badness = {"zero": np.abs(each), "reference": np.abs(each - own), "lower": each, "higher": -each}[
            MEASURES[name].better
        ]
        known = np.flatnonzero(np.isfinite(badness))
        if len(self.parts) < 2 or not len(known):
            return None, None
        order = known[np.argsort(badness[known], kind="stable")]
        best, worst = ((self.parts[index].name, float(each[index])) for index in order[[0, -1]])
        return best, worst

    def _block_error(self, name: str, region: int, each: np.ndarray) -> float:
        """Return the standard error from five blocks of structures, or of frames or samples of one."""
        if len(self.parts) > 1:
            return block_error(each)
        values = self.parts[0].measurement.values[name][region]
        return block_error(_mean(values, 0) if values.shape[1] >= BLOCKS else _mean(values, 1))

    def _diversity_error(self, region: int) -> float:
        measured = [part.measurement for part in self.parts if "diversity" in part.values]
        counts = {measurement.n_samples for measurement in measured}
        if len(counts) != 1 or min(counts) < 3:
            return float("nan")
        each = [
            leave_one_out(measurement.values["rmsd"][region], measurement.between[region])
            for measurement in measured
        ]
        return float(jackknife_error(_mean(np.array(each), 0)))

    def _total(self, name: str) -> np.ndarray:
        return np.sum([getattr(part.measurement, name) for part in self.parts], axis=0)

    @cached_property
    def _sample_counts(self) -> np.ndarray:
        """Torsion histograms (samples, 2, 5, 20, 36) of each sample over all structures."""
        kept = [part.measurement.counts[:, :, : self.n_samples] for part in self.parts]
        return np.moveaxis(np.sum(kept, axis=0), 2, 0)

    @cached_property
    def _reference_counts(self) -> np.ndarray:
        """Torsion histograms (2, 5, 20, 36) of the references."""
        return self._total("reference_counts")

    @cached_property
    def _by_type(self) -> tuple[np.ndarray, np.ndarray]:
        """Divergence of the pooled samples and its floor, each (regions, torsions, types) = (2, 5, 20)."""
        return divergence_by_type(self._reference_counts, self._sample_counts.sum(axis=0))

    def _divergences(self) -> dict[str, list[Estimate]]:
        distance, floor = (_mean(values, -1) for values in self._by_type)
        single = [jensen_shannon_distance(self._reference_counts, counts) for counts in self._sample_counts]
        one = _mean(_mean(np.stack(single), -1), 0)

        def estimates(values: np.ndarray, torsion: int) -> list[Estimate]:
            return [
                Estimate(float(values[region, torsion]), reference=_number(floor[region, torsion]))
                for region in range(len(REGIONS))
            ]

        pooled = {f"{name}_divergence": estimates(distance, index) for index, name in enumerate(TORSIONS)}
        return {**pooled, "chi1_divergence_one": estimates(one, TORSIONS.index("chi1"))}

    def _histograms(self) -> dict:
        """Return the counts of every torsion by residue type over all residues, for figures."""
        sample = self._sample_counts.sum(axis=0)[-1]
        return {
            torsion: {
                name: {
                    "reference": self._reference_counts[-1, index, kind].tolist(),
                    "sample": sample[index, kind].tolist(),
                }
                for kind, name in enumerate(RESIDUE_NAMES)
                if sample[index, kind].any()
            }
            for index, torsion in enumerate(TORSIONS)
        }


def score(
    topology: Topology,
    reference: np.ndarray | None,
    samples: np.ndarray,
    reference_present: np.ndarray | None = None,
    sample_present: np.ndarray | None = None,
    *,
    linked: np.ndarray | None = None,
    given_c_alpha: np.ndarray | None = None,
    all_atoms: bool = False,
    energies: bool = False,
    name: str = "structure",
) -> Scorecard:
    """Score samples of one structure or trajectory.

    Parameters
    ----------
    topology : Topology
    reference : ndarray, (frames, residues, 15, 3), or None
        nm. With only C-alphas, it is used only for the consistency of the C-alphas.
    samples : ndarray, (samples, frames, residues, 15, 3)
        nm.
    reference_present, sample_present : ndarray, (residues, 15) bool, optional
        Atoms with known coordinates; by default all atoms of the topology.
    linked : ndarray, (residues,) bool, optional
        Residues with a peptide bond to their successor; by default inferred from C-alpha distances.
    given_c_alpha : ndarray, (frames, residues, 3), optional
        C-alphas that the samples were built from, nm, for how far the C-alphas moved; by default those of the
        reference.
    all_atoms : bool
        Place hydrogens, which needs OpenMM, and compute the clash score and the MolProbity score.
    energies : bool
        Measure the strain of residues, which needs OpenMM.
    name : str
        Name of the structure in tables.

    Returns
    -------
    Scorecard
    """
    sample_extras: Extras | None = None
    reference_extras: Extras | None = None
    if all_atoms or energies:
        known = [topology.atom_mask if each is None else each for each in (sample_present, reference_present)]
        found = _Extras(topology, linked, name, all_atoms=all_atoms, energies=energies)
        true = reference if np.delete(known[1], SLOT_CA, axis=1).any() else None
        sample_extras, reference_extras = found.of_both(samples, true, *known)
    measurement = measure(
        topology,
        reference,
        samples,
        reference_present,
        sample_present,
        linked,
        given_c_alpha,
        reference_extras=reference_extras,
        sample_extras=sample_extras,
    )
    return Scorecard((Part(name, measurement),))


@dataclass(frozen=True)
class _Extras:
    """Finds in samples of a structure what needs hydrogens, and places these."""

    topology: Topology
    linked: np.ndarray | None
    name: str
    all_atoms: bool
    energies: bool

    def of_both(
        self,
        samples: np.ndarray,
        reference: np.ndarray | None,
        sample_present: np.ndarray,
        reference_present: np.ndarray,
    ) -> tuple[Extras, Extras | None]:
        """Measure samples and reference; contacts are those between atoms that both sides have."""
        if reference is None:
            return self.of(samples, sample_present, sample_present), None
        common = sample_present & reference_present
        return (
            self.of(samples, sample_present, common),
            self.of(reference[None], reference_present, common),
        )

    def of(self, samples: np.ndarray, present: np.ndarray, common: np.ndarray) -> Extras:
        """Measure samples (samples, frames, residues, 15, 3) in nm."""
        return Extras(
            self._contacts(samples, common) if self.all_atoms else None,
            self._strain(samples, present) if self.energies else None,
        )

    def _contacts(self, samples: np.ndarray, present: np.ndarray) -> Contacts | None:
        linked = self.topology.linked(samples[..., SLOT_CA, :]) if self.linked is None else self.linked
        protein = with_hydrogens(self.topology, present, linked, samples[0, 0], name=self.name)
        if protein is None:
            return None
        counts = np.stack([protein.contacts(sample) for sample in samples])
        return Contacts(counts, np.repeat(protein.counter.n_atoms[None], len(samples), axis=0))

    def _strain(self, samples: np.ndarray, present: np.ndarray) -> np.ndarray | None:
        strain = strain_of(self.topology, present, samples[0, 0], self.name)
        return None if strain is None else np.stack([strain(sample) for sample in samples], axis=1)


def combine(scorecards: Iterable[Scorecard]) -> Scorecard:
    """Combine the scorecards of several structures into one."""
    return Scorecard(tuple(part for scorecard in scorecards for part in scorecard.parts))


def block_error(values: np.ndarray) -> float:
    """Return the standard error of a mean from five successive blocks; NaN with fewer than five values."""
    values = values[np.isfinite(values)]
    if len(values) < BLOCKS:
        return float("nan")
    means = [block.mean() for block in np.array_split(values, BLOCKS)]
    return float(np.std(means, ddof=1) / np.sqrt(BLOCKS))


def format_value(name: str, value: float | None) -> str:
    """Format one value of a measure with its number of decimals; ``-`` if there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{MEASURES[name].digits}f}"


def format_estimate(name: str, estimate: Estimate) -> str:
    """Format a value with its error."""
    error = "" if estimate.error is None else f" ± {format_value(name, estimate.error)}"
    return format_value(name, estimate.value) + error


def format_title(name: str) -> str:
    """Format the title of a measure with its unit."""
    kind = MEASURES[name]
    return f"{kind.title}, {kind.unit}" if kind.unit else kind.title


def _format_named(name: str, named: tuple[str, float] | None) -> str:
    return "-" if named is None else f"{format_value(name, named[1])} ({named[0]})"


def align_columns(rows: list[list[str]]) -> str:
    """Lay out rows of cells as aligned text; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def _mean(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Average over values that are not NaN; NaN if there are none."""
    known = np.isfinite(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)


def _residue_entries(values: dict[str, np.ndarray], residue: int) -> dict[str, float | None]:
    """Return the measures of one residue that have a value."""
    return {name: _rounded(own[-1, residue]) for name, own in values.items() if np.isfinite(own[-1, residue])}


def _over_residues(
    values: np.ndarray, reference: np.ndarray | None, chosen: tuple[int, np.ndarray]
) -> dict[str, float | int | None]:
    """Average over residues, with the standard error, beside the reference."""
    known = values[np.isfinite(values)]
    error = known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else np.nan
    own = np.nan if reference is None else _mean(reference[chosen])
    return {
        "value": _rounded(known.mean()),
        "error": _rounded(error),
        "reference": _rounded(own),
        "count": len(known),
    }


def _rounded(value: float | np.ndarray) -> float | None:
    """Round to six digits, which do not depend on the order in which frames are summed; None for NaN."""
    return float(f"{float(value):.6g}") if np.isfinite(value) else None


def _number(value: float | np.ndarray) -> float | None:
    """Return a plain number, or None for NaN."""
    return float(value) if np.isfinite(value) else None
