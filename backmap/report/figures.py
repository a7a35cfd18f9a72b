"""One function per figure; each uses only the JSON of a trajectory scorecard.

The colours of Okabe and Ito can be distinguished without colour vision; the reference is a filled area or a
solid line, the sample a dashed line or open markers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType, RcKeyType

REFERENCE, SAMPLE = "#0072B2", "#D55E00"
PROCESS_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7")
NEUTRAL = "#999999"
SINGLE, DOUBLE = 3.4, 7.0
"""Widths of figures that span one and two columns, inches."""

RASTER_RESOLUTION = 300
MOST_PANELS_IN_A_ROW = 5
DEEPEST = 25.0
"""Largest free energy that is drawn, kJ/mol."""

STYLE: dict[RcKeyType, Any] = {
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "pdf.fonttype": 42,
}


def energy_histogram(scores: dict) -> Figure:
    """Draw the distributions of potential energies."""
    energies = scores["energies"]
    figure, [[axes]] = _figure(SINGLE, 2.4)
    _distribution(axes, energies["distribution"])
    axes.axvline(energies["limit"], color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=0)
    axes.annotate(
        "reference's\n99.9 percentile",
        (energies["limit"], 0.98),
        xycoords=("data", "axes fraction"),
        xytext=(3, 0),
        textcoords="offset points",
        fontsize=6,
        color="#555555",
        va="top",
    )
    axes.set(xlabel="potential energy (kJ/mol)", ylabel="density (mol/kJ)")
    _legend_above(axes, f"distance {energies['distribution']['divergence']:.3f}")
    return figure


def bond_histograms(scores: dict) -> Figure:
    """Draw the distributions of bond lengths, one panel per type."""
    return _grid(scores["geometry"]["bonds"], "length (nm)", "density (1/nm)")


def angle_histograms(scores: dict) -> Figure:
    """Draw the distributions of bond angles, one panel per type."""
    return _grid(scores["geometry"]["angles"], "angle (degrees)", "density (1/degree)")


def free_energy_surfaces(scores: dict) -> Figure:
    """Draw the free-energy surfaces of the reference and the sample side by side."""
    surface = scores["surface"]
    figure, [panels] = _figure(DOUBLE, 3.1, columns=2, sharex=True, sharey=True)
    edges = [np.array(each) for each in surface["edges"]]
    values = {side: _array(surface["free_energy"][side]) for side in ("reference", "sample")}
    highest = min(DEEPEST, max(float(np.nanmax(each)) for each in values.values()))
    for axes, (side, value) in zip(panels, values.items(), strict=True):
        image = axes.pcolormesh(*edges, value.T, cmap="cividis", vmin=0.0, vmax=highest, rasterized=True)
        axes.set_title(side)
        axes.set_xlabel(_label(scores["system"]["coordinates"][0]))
        axes.set_box_aspect(1)
        axes.spines[["top", "right"]].set_visible(True)
        if edges[0][0] == -180.0 and edges[0][-1] == 180.0:
            axes.set(xticks=range(-180, 181, 90), yticks=range(-180, 181, 90))
    panels[0].set_ylabel(_label(scores["system"]["coordinates"][1]))
    bar = figure.colorbar(image, ax=panels, fraction=0.03, pad=0.02, extend="max")
    bar.set_label("free energy (kJ/mol)")
    return figure


def implied_time_scales(scores: dict) -> Figure:
    """Draw implied time scales against the lag time, with their Bayesian 95 % intervals."""
    kinetics = scores["kinetics"]
    lags = np.array(kinetics["lag_times"])
    figure, [[axes]] = _figure(SINGLE, 3.2)
    scales = {
        side: {name: _array(values) for name, values in each.items()}
        for side, each in kinetics["time_scales"].items()
    }
    drawn = _processes_drawn(scales["reference"]["value"], lags)
    for process in range(drawn):
        colour = PROCESS_COLOURS[process % len(PROCESS_COLOURS)]
        for side, style in (("reference", "-"), ("sample", "--")):
            value, low, high = (scales[side][name][:, process] for name in ("value", "low", "high"))
            filled = colour if side == "reference" else "white"
            axes.plot(
                lags, value, style, color=colour, marker="o", markersize=3.2, markerfacecolor=filled, zorder=3
            )
            if side == "reference":
                axes.fill_between(lags, low, high, color=colour, alpha=0.18, linewidth=0)
            else:
                axes.vlines(lags, low, high, color=colour, linewidth=0.8, alpha=0.8)
    _log_axes(axes, lags, kinetics["lag"])
    axes.set(xlabel="lag time (ps)", ylabel="implied time scale (ps)")
    _line_legend(axes, {"reference, 95 %": "-", "sample, 95 %": "--"})
    return figure


def chapman_kolmogorov(scores: dict) -> Figure:
    """Draw the Chapman-Kolmogorov test: predicted against estimated probabilities."""
    kinetics = scores["kinetics"]
    tests = kinetics["chapman_kolmogorov"]
    lags = np.concatenate([[0.0], kinetics["test_lag_times"]])
    sets = len(tests["reference"]["estimated"][0])
    size = min(1.6, DOUBLE / sets)
    figure, panels = _figure(
        max(size * sets, SINGLE), size * sets + 0.5, rows=sets, columns=sets, sharex=True, sharey=True
    )
    start = np.eye(sets)[None]
    for side, colour, style in (("reference", REFERENCE, "-"), ("sample", SAMPLE, "--")):
        predicted = {
            name: np.concatenate([start, _array(tests[side]["predicted"][name])])
            for name in ("value", "low", "high")
        }
        estimated = np.concatenate([start, _array(tests[side]["estimated"])])
        for row, column in np.ndindex(sets, sets):
            axes = panels[row][column]
            value, low, high = (predicted[name][:, row, column] for name in ("value", "low", "high"))
            axes.plot(lags, value, style, color=colour, label=f"{side}, predicted")
            axes.fill_between(lags, low, high, color=colour, alpha=0.18, linewidth=0)
            filled = colour if side == "reference" else "white"
            axes.plot(
                lags, estimated[:, row, column], "o", color=colour, markerfacecolor=filled, markersize=3.2,
                label=f"{side}, estimated",
            )  # fmt: skip
            axes.set_ylim(-0.05, 1.05)
            axes.set_title(f"set {row + 1} to {column + 1}")
    figure.supxlabel("lag time (ps)", fontsize=8)
    figure.supylabel("probability", fontsize=8)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def velocity_distributions(scores: dict) -> Figure:
    """Draw the distributions of root-mean-square velocities, unscaled and scaled."""
    velocities = scores["velocities"]
    figure, [panels] = _figure(DOUBLE, 2.5, columns=2, sharey=True)
    titles = {"plain": "as they are", "scaled": f"sample times {velocities['scale']:.4g}"}
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        _distribution(axes, velocities[name])
        axes.set(xlabel="root-mean-square velocity (nm/ps)")
        axes.set_title(f"{title}, distance {velocities[name]['divergence']:.3f}")
    panels[0].set_ylabel("density (ps/nm)")
    panels[1].legend(loc="upper right")
    return figure


def coherence(scores: dict) -> Figure:
    """Draw how far atoms move per frame, which torsions turn, and how long chi1 and chi2 remember."""
    measured = scores["coherence"]
    figure, [[displacements, turns, memory]] = _figure(DOUBLE, 2.6, columns=3)
    names = {"backbone N, C, O": "N, C, O", "CB": "CB", "side chain beyond CB": "beyond\nCB"}
    moved = measured["displacements"]
    _paired_bars(displacements, {names[name]: each for name, each in moved.items()})
    displacements.set_ylabel("RMS displacement per frame (nm)")
    symbols = {name: _symbol(name) for name in measured["turns"]}
    _paired_bars(turns, {symbols[name]: each["percent"] for name, each in measured["turns"].items()})
    turns.set_ylabel("turn by > 60 degrees per frame (%)")
    memory.set_visible(bool(measured["memory"]))
    for (name, each), colour in zip(measured["memory"].items(), PROCESS_COLOURS, strict=False):
        for side, style, filled in (("reference", "-", colour), ("sample", "--", "white")):
            memory.plot(
                each["times"], _array(each["correlation"][side]), style, color=colour, marker="o",
                markersize=3.2, markerfacecolor=filled, label=f"{_symbol(name)}, {side}",
            )  # fmt: skip
        memory.set_xscale("log")
        memory.set_xticks(each["times"], [f"{time:g}" for time in each["times"]])
        memory.minorticks_off()
    memory.set(xlabel="time (ps)", ylabel="autocorrelation", ylim=(-0.1, 1.0))
    handles, labels = displacements.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    if measured["memory"]:
        memory.legend(loc="upper right", fontsize=6)
    return figure


def latent_component(scores: dict) -> Figure:
    """Draw the leading principal component of the latent codes against the energy."""
    latent = scores["latent"]
    figure, [[axes]] = _figure(SINGLE, 2.8)
    axes.plot(
        latent["energy"],
        latent["component"],
        "o",
        color=SAMPLE,
        markersize=2,
        alpha=0.35,
        markeredgewidth=0,
        rasterized=True,
    )
    axes.set(xlabel="potential energy of the sample (kJ/mol)", ylabel="leading latent component")
    axes.set_title(f"Pearson correlation {latent['correlation']:.2f}")
    return figure


def code_diversity(scores: dict) -> Figure:
    """Draw how much structures of one coarse-grained frame differ, by atom and by pair."""
    diversity = scores["code_diversity"]
    figure, [[left, right]] = _figure(DOUBLE, 2.5, columns=2)
    spread = np.array(diversity["spread"])
    left.bar(np.arange(1, len(spread) + 1), spread, color=SAMPLE, width=0.8)
    left.set(xlabel="atom", ylabel="spread (nm)")
    left.set_title(f"{diversity['n_samples']} samples, {diversity['valid']:.1f} % sound")
    right.hist(diversity["rmsd_pairs"], bins=40, color=SAMPLE, alpha=0.8)
    right.set(xlabel="RMSD between two samples (nm)", ylabel="pairs of samples")
    right.locator_params(axis="x", nbins=5)
    right.set_title(f"mean {diversity['rmsd']:.4f} nm")
    return figure


FIGURES: dict[str, tuple[Callable[[dict], Figure], str]] = {
    "energy": (energy_histogram, "energies"),
    "bonds": (bond_histograms, "geometry"),
    "angles": (angle_histograms, "geometry"),
    "free_energy_surfaces": (free_energy_surfaces, "surface"),
    "implied_time_scales": (implied_time_scales, "kinetics"),
    "chapman_kolmogorov": (chapman_kolmogorov, "kinetics"),
    "velocities": (velocity_distributions, "velocities"),
    "coherence": (coherence, "coherence"),
    "latent_component": (latent_component, "latent"),
    "code_diversity": (code_diversity, "code_diversity"),
}
"""All figures by file name, with the part of the scorecard that each draws."""


def drawable(scores: dict) -> list[str]:
    """List the figures for which a scorecard contains data."""
    return [name for name, (_, part) in FIGURES.items() if scores.get(part) is not None]


def draw(name: str, scores: dict, *paths: Path) -> None:
    """Draw one figure and write it to files.

    Parameters
    ----------
    name : str
        A key of ``FIGURES``.
    scores : dict
        The JSON of a trajectory scorecard.
    *paths : Path
        Files to write; the suffix selects the format, ``.pdf`` or ``.png``.
    """
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure = FIGURES[name][0](scores)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is the same for all formats
        for path in paths:
            figure.savefig(path, dpi=RASTER_RESOLUTION)


def draw_all(scores: dict, folder: Path) -> list[Path]:
    """Draw every figure for which a scorecard contains data, as PDF and PNG.

    Returns
    -------
    list of Path
        The written files, ``<folder>/<name>.pdf`` and ``.png``.
    """
    written = []
    for name in drawable(scores):
        paths = [folder / f"{name}{suffix}" for suffix in (".pdf", ".png")]
        draw(name, scores, *paths)
        written += paths
    return written


def _figure(
    width: float,
    height: float,
    *,
    rows: int = 1,
    columns: int = 1,
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure without a display, and its panels row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    return figure, panels.tolist()


def _distribution(axes: Axes, comparison: dict) -> None:
    """Draw both histograms of a comparison as densities."""
    edges = np.array(comparison["edges"])
    for side, colour in (("reference", REFERENCE), ("sample", SAMPLE)):
        counts = np.array(comparison["counts"][side], dtype=float)
        density = counts / (counts.sum() * np.diff(edges))
        if side == "reference":
            axes.stairs(density, edges, fill=True, color=colour, alpha=0.35, label=side)
            axes.stairs(density, edges, color=colour, linewidth=0.8)
        else:
            axes.stairs(
                density, edges, color=colour, linestyle="--", linewidth=1.2, label=side, baseline=None
            )
    axes.set_ylim(bottom=0.0)


def _grid(comparisons: dict[str, dict], label: str, density: str) -> Figure:
    """Draw one panel per type of bond or angle."""
    columns = min(MOST_PANELS_IN_A_ROW, len(comparisons))
    rows = -(-len(comparisons) // columns)
    figure, panels = _figure(DOUBLE, 1.45 * rows + 0.5, rows=rows, columns=columns)
    flat = [axes for row in panels for axes in row]
    for axes, (name, comparison) in zip(flat, comparisons.items(), strict=False):
        _distribution(axes, comparison)
        axes.set_title(name)
        axes.locator_params(nbins=3)
        if len(comparison["edges"]) == 2:
            _show_as_spike(axes, *comparison["edges"])
    for axes in flat[len(comparisons) :]:
        axes.set_visible(False)
    handles, labels = flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    figure.supxlabel(label, fontsize=8)
    figure.supylabel(density, fontsize=8)
    return figure


def _show_as_spike(axes: Axes, low: float, high: float) -> None:
    """Leave space beside the single bin of a constrained length."""
    middle, width = (low + high) / 2, high - low
    axes.set_xlim(middle - 10 * width, middle + 10 * width)


def _processes_drawn(time_scales: np.ndarray, lags: np.ndarray) -> int:
    """Count the processes that exceed the lag time anywhere, at least one."""
    above = (np.nan_to_num(time_scales) > lags[:, None]).any(axis=0)
    return max(1, int(above.sum()))


def _log_axes(axes: Axes, lags: np.ndarray, main: float) -> None:
    """Use logarithmic axes, shade unresolved time scales, and mark the main lag time."""
    axes.set(xscale="log", yscale="log")
    left, right = lags[0] / 1.15, lags[-1] * 1.15
    bottom = lags[0] / 1.3
    shaded = np.array([left, right])
    axes.fill_between(shaded, bottom, shaded, color=NEUTRAL, alpha=0.3, linewidth=0, zorder=0)
    axes.axvline(main, color=NEUTRAL, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom=bottom)
    axes.set_xticks(lags, [f"{lag:g}" for lag in lags])
    axes.minorticks_off()


def _line_legend(axes: Axes, styles: dict[str, LineStyleType]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color="black", linestyle=style, marker="o", markersize=3.2, markerfacecolor=filled)
        for style, filled in zip(styles.values(), ("black", "white"), strict=True)
    ]
    axes.legend(handles, list(styles), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _paired_bars(axes: Axes, values: dict[str, dict]) -> None:
    """Draw one bar of each side for each name."""
    places = np.arange(len(values))
    for shift, side, colour in ((-0.2, "reference", REFERENCE), (0.2, "sample", SAMPLE)):
        heights = _array([each[side] for each in values.values()])
        axes.bar(places + shift, heights, width=0.38, color=colour, label=side, alpha=0.8)
    axes.set_xticks(places, list(values))


def _legend_above(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="right")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2, handlelength=1.4)


def _array(values: list) -> np.ndarray:
    """Return an array with NaN for null."""
    return np.array(values, dtype=np.float64)


def _label(coordinate: str) -> str:
    """Format a coordinate such as ``phi, degrees`` as an axis label."""
    name, _, unit = coordinate.partition(", ")
    symbol = _symbol(name) if name in ("phi", "psi") else f"time-lagged independent {name}"
    return f"{symbol} ({unit})" if unit else symbol


def _symbol(torsion: str) -> str:
    """Format the name of a torsion, such as ``chi1``, with its Greek letter."""
    letters = torsion.rstrip("0123456789")
    number = torsion[len(letters) :]
    return rf"$\{letters}_{number}$" if number else rf"$\{letters}$"
