"""Two distributions of one quantity: their histograms, their distance, and how small it could be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.errors import InputError

from .dihedrals import jensen_shannon_distance

SIDES = ("reference", "sample")
"""Keys of everything that a comparison holds for both sides."""

BINS = 60
MARGIN = 0.25
TAIL_PERCENT = 0.1


@dataclass(frozen=True)
class Comparison:
    """Histograms of one quantity on both sides.

    Attributes
    ----------
    edges : ndarray, (bins + 1,)
        Edges of the bins; bins at either end that are empty on both sides are dropped. Values outside the
        original bins are counted in the outermost bins.
    counts : dict of str to ndarray, (bins,)
        Counts by side.
    mean, deviation : dict of str to float
        Mean and standard deviation of the values themselves, by side.
    divergence : float
        Jensen-Shannon distance (square root of the divergence, base 2) of the histograms, 0 to 1.
    floor : float
        The same distance between the first and the second half of the reference.
    """

    edges: np.ndarray
    counts: dict[str, np.ndarray]
    mean: dict[str, float]
    deviation: dict[str, float]
    divergence: float
    floor: float


def compare(reference: np.ndarray, sample: np.ndarray, edges: np.ndarray | None = None) -> Comparison:
    """Compare the distributions of a quantity.

    Parameters
    ----------
    reference, sample : ndarray, (frames, ...)
        Values in order of time; further dimensions (for example the bonds of one type) are pooled.
    edges : ndarray, (bins + 1,), optional
        Edges of the bins; by default from :func:`reference_edges`.

    Returns
    -------
    Comparison
    """
    edges = reference_edges(reference) if edges is None else edges
    middle = len(reference) // 2
    first, second = histogram(reference[:middle], edges), histogram(reference[middle:], edges)
    counts = {"reference": first + second, "sample": histogram(sample, edges)}
    values = dict(zip(SIDES, (reference, sample), strict=True))
    used = np.flatnonzero(counts["reference"] + counts["sample"])
    start, end = used[0], used[-1] + 1
    return Comparison(
        edges=edges[start : end + 1],
        counts={side: counted[start:end] for side, counted in counts.items()},
        mean={side: float(np.mean(values[side], dtype=np.float64)) for side in SIDES},
        deviation={side: float(np.std(values[side], dtype=np.float64)) for side in SIDES},
        divergence=float(jensen_shannon_distance(counts["reference"], counts["sample"])),
        floor=float(jensen_shannon_distance(first, second)),
    )


def reference_edges(reference: np.ndarray) -> np.ndarray:
    """Return equal bins over the bulk of the reference's values, with a margin on both sides.

    Returns
    -------
    ndarray, (61,)
        Edges from the 0.1th to the 99.9th percentile, widened by a quarter of that span on each side.
    """
    low, high = np.percentile(reference, [TAIL_PERCENT, 100.0 - TAIL_PERCENT])
    margin = MARGIN * (high - low) or max(abs(float(low)), 1.0) * 1e-3
    return np.linspace(low - margin, high + margin, BINS + 1)


def histogram(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Count values per bin; values outside are counted in the first or last bin."""
    return np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]


def require_finite(values: np.ndarray, name: str) -> None:
    """Refuse NaN and infinity, and name the first frame that contains one.

    Raises
    ------
    InputError
    """
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
        raise InputError(
            f"{name}: frame {int(np.argmin(finite))} contains NaN or infinity; remove or recompute the frame"
        )
