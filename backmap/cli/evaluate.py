"""``backmap evaluate``: score built structures, and compare how trajectories move with a reference."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from backmap.errors import InputError
from backmap.evaluation.kinetics_options import KineticsOptions
from backmap.options import options_of

from .console import show
from .options import add_options

if TYPE_CHECKING:
    import mdtraj
    import numpy as np

    from backmap.evaluation import Scorecard
    from backmap.evaluation.trajectory_scorecard import TrajectoryScorecard
    from backmap.io import Source, StagedFiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "samples",
        nargs="+",
        metavar="SAMPLE",
        help="built structure or trajectory; several files are samples of one input, for the diversity",
    )
    parser.add_argument(
        "--reference",
        metavar="REF",
        help="true atoms of the same residues and frames, or of one frame for all; or the C-alphas that the "
        "samples were built from",
    )
    parser.add_argument("--top", metavar="TOPOLOGY", help="topology for files without residue names")
    parser.add_argument(
        "--reference-top", metavar="TOPOLOGY", help="topology for the reference, if it differs"
    )
    parser.add_argument(
        "--energies",
        action="store_true",
        help="measure the strain of residues in a force field, as built and after 50 and 200 iterations of a "
        "minimisation, with OpenMM",
    )
    parser.add_argument("--json", metavar="OUT", help="write the scorecard, in more detail, to this file")
    parser.add_argument("--skip-unknown", action="store_true", help="leave out unknown residues")
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    _add_kinetics_arguments(parser)


def _add_kinetics_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "comparing how molecules move",
        "With --kinetics, all atoms of any peptide are compared, including caps and hydrogens; if the atoms "
        "differ, the heavy atoms that both sides have. Numbers of frames may differ; several SAMPLEs are "
        "pooled.",
    )
    group.add_argument(
        "--kinetics",
        action="store_true",
        help="compare distributions, free energies, time scales, velocities, and how torsions turn, with the "
        "reference's",
    )
    add_options(group, KineticsOptions)
    group.add_argument(
        "--force-field", nargs="+", metavar="XML", help="OpenMM force-field files, for energies"
    )
    group.add_argument("--codes", metavar="NPY", help="latent codes of the samples, one row per frame")
    group.add_argument("--one-frame", metavar="FILE", help="many structures of one coarse-grained frame")
    group.add_argument("--figures", metavar="FOLDER", help="write figures as PDF and PNG to this folder")


def run(arguments: argparse.Namespace) -> int:
    """Score the files as requested by the arguments."""
    return _run_kinetics(arguments) if arguments.kinetics else _run_structures(arguments)


def _run_structures(arguments: argparse.Namespace) -> int:
    from backmap.io import StagedFiles

    needing_kinetics = {"--figures": arguments.figures, "--force-field": arguments.force_field}
    for option, value in needing_kinetics.items():
        if value is not None:
            raise InputError(f"{option} applies only with --kinetics; give --kinetics as well")
    with StagedFiles(overwrite=arguments.overwrite, inputs=_inputs(arguments)) as files:
        output = None if arguments.json is None else files.add(arguments.json)
        samples = _open_samples(arguments)
        reference = _open_reference(arguments)
        title = Path(arguments.reference or arguments.samples[0]).name.split(".")[0]
        from backmap.evaluation.scoring import score_sources

        scorecard = score_sources(reference, samples, energies=arguments.energies, title=title)
        if output is not None:
            _write(output, scorecard, arguments)
    show(_heading(scorecard, arguments), scorecard.to_table())
    return 0


def _run_kinetics(arguments: argparse.Namespace) -> int:
    from backmap.io import StagedFiles

    if arguments.energies:
        raise InputError("--energies measures single structures; with --kinetics, give --force-field instead")
    if arguments.reference is None:
        raise InputError("--kinetics needs a reference; give one with --reference")
    with (
        _folder_of_figures(arguments.figures),
        StagedFiles(overwrite=arguments.overwrite, inputs=_inputs(arguments)) as files,
    ):
        output = None if arguments.json is None else files.add(arguments.json)
        figures = _reserve_figures(arguments, files)
        scorecard = _score_kinetics(arguments)
        _draw_figures(figures, scorecard, files, arguments.figures)
        if output is not None:
            _write(output, scorecard, arguments)
    system = scorecard.system
    heading = (
        f"{system.n_atoms} atoms, {system.n_frames['sample']} frames of {system.interval:g} ps, "
        f"against {system.n_frames['reference']} of {arguments.reference}"
    )
    show(heading, scorecard.to_table())
    return 0


def _score_kinetics(arguments: argparse.Namespace) -> TrajectoryScorecard:
    _require_once(arguments.samples)
    reference = _load(arguments.reference, arguments.reference_top or arguments.top)
    from backmap.evaluation.trajectory_scoring import energy_function, evaluate_trajectory

    energy = (
        None if arguments.force_field is None else energy_function(reference.topology, arguments.force_field)
    )
    options = {name: getattr(arguments, name) for name in options_of(KineticsOptions)}
    options["frame_interval"] = _frame_interval(arguments)
    return evaluate_trajectory(
        reference,
        [_load(name, arguments.top) for name in arguments.samples],
        energy=energy,
        codes=None if arguments.codes is None else _load_codes(Path(arguments.codes)),
        one_frame=None if arguments.one_frame is None else _load(arguments.one_frame, arguments.top),
        **options,
    )


def _load(name: str, top: str | None) -> mdtraj.Trajectory:
    from backmap.io import load_trajectory

    return load_trajectory(name, top)


def _load_codes(path: Path) -> np.ndarray:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as a NumPy array ({error}); give a file written by numpy.save"
        ) from error


def _frame_interval(arguments: argparse.Namespace) -> float | None:
    """Return the given time between frames, or None if all files contain times."""
    from backmap.io import holds_times

    if arguments.frame_interval is None:
        for name in (arguments.reference, *arguments.samples):
            if not holds_times(name):
                raise InputError(
                    f"{name}: does not contain the time between frames; give it with --frame-interval, in ps"
                )
    return arguments.frame_interval


@contextmanager
def _folder_of_figures(name: str | None) -> Iterator[None]:
    """Create the folder for figures, and remove it on failure if it is empty."""
    from backmap.io.durable.staging import explain_writing

    if name is None or Path(name).is_dir():
        yield
        return
    with explain_writing(Path(name)):
        Path(name).mkdir()
    try:
        yield
    except BaseException:
        with suppress(OSError):
            Path(name).rmdir()
        raise


def _reserve_figures(arguments: argparse.Namespace, files: StagedFiles) -> dict[str, list[Path]]:
    """Reserve the files of the figures to draw, before any slow computation."""
    if arguments.figures is None:
        return {}
    from backmap.report.figures import FIGURES

    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError("figures need matplotlib; install it with `pip install matplotlib`") from error
    folder = Path(arguments.figures)
    needed = {
        "energies": arguments.force_field,
        "latent": arguments.codes,
        "code_diversity": arguments.one_frame,
    }
    return {
        name: [files.add(folder / f"{name}{suffix}") for suffix in (".pdf", ".png")]
        for name, (_, part) in FIGURES.items()
        if needed.get(part, "measured always") is not None
    }


def _draw_figures(
    figures: dict[str, list[Path]], scorecard: TrajectoryScorecard, files: StagedFiles, folder: str
) -> None:
    """Draw the reserved figures for which there are data, and give up the others."""
    if not figures:
        return
    from backmap.io.durable.staging import explain_writing
    from backmap.report.figures import draw, drawable

    scores = scorecard.to_dict()
    with explain_writing(Path(folder)):
        for name, paths in figures.items():
            if name in drawable(scores):
                draw(name, scores, *paths)
            else:
                for path in paths:
                    files.drop(path)


def _inputs(arguments: argparse.Namespace) -> list[str]:
    optional = [
        arguments.reference,
        arguments.top,
        arguments.reference_top,
        arguments.codes,
        arguments.one_frame,
    ]
    return [name for name in (*optional, *arguments.samples) if name is not None]


def _require_once(names: list[str]) -> None:
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InputError(f"{min(repeated)}: is given more than once; give every sample once")


def _open_samples(arguments: argparse.Namespace) -> dict[str, Source]:
    _require_once(arguments.samples)
    return {name: _open(name, arguments.top, arguments) for name in arguments.samples}


def _open_reference(arguments: argparse.Namespace) -> tuple[str, Source] | None:
    if arguments.reference is None:
        return None
    top = arguments.reference_top or arguments.top
    return arguments.reference, _open(arguments.reference, top, arguments)


def _open(name: str, top: str | None, arguments: argparse.Namespace) -> Source:
    """Open a file, with the topology only if the file has no residue names."""
    from backmap.io import open_source
    from backmap.io.naming import TOPOLOGY_SUFFIXES, suffix_of

    needed = None if suffix_of(name) in TOPOLOGY_SUFFIXES else top
    return open_source(name, needed, skip_unknown=arguments.skip_unknown, hydrogens=True)


def _heading(scorecard: Scorecard, arguments: argparse.Namespace) -> str:
    frames = scorecard.parts[0].measurement.n_frames
    against = f"against {arguments.reference}" if arguments.reference else "without a reference"
    counts = {"residue": scorecard.n_residues, "frame": frames, "sample": scorecard.n_samples}
    counted = [f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items()]
    return f"{', '.join(counted)}, {against}"


def _write(output: Path, scorecard: Scorecard | TrajectoryScorecard, arguments: argparse.Namespace) -> None:
    from backmap.io import describe_file
    from backmap.io.durable.manifest import versions
    from backmap.io.durable.staging import explain_writing

    inputs = {
        "reference": describe_file(arguments.reference) if arguments.reference else None,
        "samples": [describe_file(name) for name in arguments.samples],
    }
    entries = {**scorecard.to_dict(), "inputs": inputs, "versions": versions()}
    text = json.dumps(entries, indent=1, allow_nan=False) + "\n"
    with explain_writing(Path(arguments.json)):
        output.write_text(text, encoding="utf-8")
