"""``backmap evaluate``: how good are built structures, by themselves and against a reference."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from backmap.errors import InputError

if TYPE_CHECKING:
    from backmap.evaluation import Scorecard
    from backmap.io import Source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "samples",
        nargs="+",
        metavar="SAMPLE",
        help="built structure or trajectory; several are samples of one input, for the diversity",
    )
    parser.add_argument(
        "--reference",
        metavar="REF",
        help="true atoms of the same residues and frames; or the C-alphas the samples were built from",
    )
    parser.add_argument("--top", metavar="TOPOLOGY", help="topology of files without residue names")
    parser.add_argument(
        "--reference-top", metavar="TOPOLOGY", help="the same for the reference, where it is another"
    )
    parser.add_argument("--json", metavar="OUT", help="write the scorecard, with more detail, to this file")
    parser.add_argument(
        "--skip-unknown", action="store_true", help="leave out residues backmap does not know"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing OUT")


def run(arguments: argparse.Namespace) -> int:
    """Score the files as the arguments ask."""
    from backmap.io import StagedFiles
    from backmap.scoring import score_sources

    inputs = [arguments.reference, arguments.top, arguments.reference_top, *arguments.samples]
    with StagedFiles(overwrite=arguments.overwrite, inputs=filter(None, inputs)) as files:
        output = None if arguments.json is None else files.add(arguments.json)
        samples = _open_samples(arguments)
        reference = _open_reference(arguments)
        title = Path(arguments.reference or arguments.samples[0]).name.split(".")[0]
        scorecard = score_sources(reference, samples, title=title)
        if output is not None:
            _write(output, scorecard, arguments)
    print(_heading(scorecard, arguments), scorecard.to_table(), sep="\n\n")
    return 0


def _open_samples(arguments: argparse.Namespace) -> dict[str, Source]:
    repeated = {name for name in arguments.samples if arguments.samples.count(name) > 1}
    if repeated:
        raise InputError(f"{min(repeated)}: is given twice; give every sample once")
    return {name: _open(name, arguments.top, arguments) for name in arguments.samples}


def _open_reference(arguments: argparse.Namespace) -> tuple[str, Source] | None:
    if arguments.reference is None:
        return None
    top = arguments.reference_top or arguments.top
    return arguments.reference, _open(arguments.reference, top, arguments)


def _open(name: str, top: str | None, arguments: argparse.Namespace) -> Source:
    """Open a file, with the topology only where it has no residue names itself."""
    from backmap.io import open_source
    from backmap.io.naming import TOPOLOGY_SUFFIXES, suffix_of

    needed = None if suffix_of(name) in TOPOLOGY_SUFFIXES else top
    return open_source(name, needed, skip_unknown=arguments.skip_unknown)


def _heading(scorecard: Scorecard, arguments: argparse.Namespace) -> str:
    frames = scorecard.parts[0].measurement.frames
    against = f"against {arguments.reference}" if arguments.reference else "without a reference"
    counts = {"residue": scorecard.residues, "frame": frames, "sample": scorecard.samples}
    counted = [f"{count} {noun}{'' if count == 1 else 's'}" for noun, count in counts.items()]
    return f"{', '.join(counted)}, {against}"


def _write(output: Path, scorecard: Scorecard, arguments: argparse.Namespace) -> None:
    from backmap.io import describe_file
    from backmap.io.manifest import versions
    from backmap.io.staging import explain_writing

    inputs = {
        "reference": describe_file(arguments.reference) if arguments.reference else None,
        "samples": [describe_file(name) for name in arguments.samples],
    }
    entries = {**scorecard.to_dict(), "inputs": inputs, "versions": versions()}
    text = json.dumps(entries, indent=1, allow_nan=False) + "\n"
    with explain_writing(Path(arguments.json)):
        output.write_text(text, encoding="utf-8")
