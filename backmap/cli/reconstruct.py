"""``backmap reconstruct``: a coarse-grained structure or trajectory in, one with all atoms out."""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap import api
from backmap.errors import InputError, InputWarning

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

    from backmap.inference.along_time import AlongTime, Tally
    from backmap.io import BeadSource, Journal, Source
    from backmap.io.writer import Writer
    from backmap.models.temporal.model import TemporalModel
    from backmap.rollout import Outputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("input", nargs="+", metavar="INPUT", help="structure or trajectory: PDB, mmCIF, XTC, DCD, HDF5 ...")
    add("--top", metavar="TOPOLOGY", help="topology of trajectories that hold no residue names")
    add(
        "-o",
        "--output",
        required=True,
        metavar="OUTPUT",
        help="file to write; its suffix gives the format. A folder where there are several inputs",
    )
    add("--model", default=api.DEFAULT_MODEL, metavar="NAME|FILE", help="shipped model or file (%(default)s)")
    add("--samples", type=_positive, default=1, metavar="G", help="structures per frame (%(default)s)")
    add("--seed", type=_seed, default=0, metavar="S", help="seed of the random numbers (%(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (%(default)s)")
    add("--threads", type=_positive, metavar="N", help="processor threads to use (all cores)")
    add("--stride", type=_positive, default=1, metavar="N", help="build every N-th frame (%(default)s)")
    add("--skip-unknown", action="store_true", help="proteins: leave out residues that cannot be built")
    add("--ddim-steps", type=_positive, default=0, metavar="N", help="diamondback: a faster sampler, N steps")
    add(
        "--redraws",
        type=_count,
        metavar="N",
        help="diamondback: draw overlaps again; 0 as published",
    )
    add("--seed-from", metavar="TRAJECTORY", help="temporal models: start from frames of this one, all atoms")
    add(
        "--refine",
        type=_positive,
        default=0,
        metavar="STEPS",
        help="temporal models: simulate each frame so long",
    )
    add("--temperature", type=_kelvin, metavar="K", help="of --refine (that of the training data)")
    add("--resume", action="store_true", help="temporal models: go on with a run that was stopped")
    add("--overwrite", action="store_true", help="replace existing output")
    add("--quiet", action="store_true", help="no progress bar and no closing line")


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct the input as the arguments ask."""
    family = api.model_family(arguments.model)
    return _run_temporal(arguments) if family == "temporal" else _run_protein(arguments, family)


def _run_protein(arguments: argparse.Namespace, family: str) -> int:
    """Build every frame of one input on its own."""
    from backmap.io import (
        AtomList,
        FrameRange,
        StagedFiles,
        create_writer,
        manifest_path,
        open_source,
        sample_paths,
        write_manifest,
    )
    from backmap.io.writer import finishing, require_output_format

    options = {
        name: f"--{name.replace('_', '-')}" for name in ("seed_from", "refine", "temperature", "resume")
    }
    _refuse_options(arguments, family, **options)
    if len(arguments.input) > 1:
        raise InputError(f"{arguments.input[1]}: {family} models take one input; run once for each")
    (given,) = arguments.input
    require_output_format(arguments.output)
    paths = sample_paths(arguments.output, arguments.samples)
    inputs = [path for path in (given, arguments.top) if path]
    device = api.select_device(arguments.device)
    frames = FrameRange(stride=arguments.stride)
    source = open_source(given, arguments.top, skip_unknown=arguments.skip_unknown, frames=frames)
    with StagedFiles(overwrite=arguments.overwrite, inputs=inputs) as files:
        atoms = AtomList.of_protein(source.topology, source.topology.atom_mask)
        with finishing([create_writer(files, path, atoms) for path in paths]) as writers:
            record = files.add(manifest_path(arguments.output))
            seconds = _reconstruct(source, writers, device, arguments)
        write_manifest(record, _manifest(source.files, arguments))
    if not arguments.quiet:
        print(_closing_line(source, paths, seconds), file=sys.stderr)
    return 0


def _reconstruct(
    source: Source, writers: list[Writer], device: torch.device, arguments: argparse.Namespace
) -> float:
    """Build and write all frames, one writer a sample, and give the seconds it took."""
    from backmap.inference.frame_stream import build_frames, frames_per_chunk

    sampling = arguments.ddim_steps, arguments.redraws
    reconstructor = api.make_reconstructor(arguments.model, source, device, *sampling)
    residues, samples = source.topology.residues, arguments.samples
    start = time.perf_counter()
    with _progress_bar(source.frames * residues * samples, "residues", arguments) as bar:
        chunks = source.chunks(frames_per_chunk(residues, samples))
        workers = api.count_workers(device, arguments.threads)
        stream = build_frames(reconstructor, chunks, samples=samples, seed=arguments.seed, workers=workers)
        for built in stream:
            for writer, coordinates in zip(writers, built.coordinates, strict=True):
                writer.write(coordinates, built.time, built.unitcell_vectors)
            bar.update(built.coordinates[..., 0, 0].size)
    return time.perf_counter() - start


def _closing_line(source: Source, paths: list[Path], seconds: float) -> str:
    frames, residues, samples = source.frames, source.topology.residues, len(paths)
    speed = frames * residues * samples / seconds
    size = f"{_counted(frames, 'frame')} x {_counted(residues, 'residue')} x {_counted(samples, 'sample')}"
    return f"reconstructed {size} in {seconds:.1f} s ({_rounded(speed)} residues/s) -> {_named(paths)}"


def _run_temporal(arguments: argparse.Namespace) -> int:
    """Roll a model along all inputs side by side."""
    from backmap import rollout
    from backmap.inference.along_time import AlongTime
    from backmap.io import AtomList, Journal, StagedFiles, write_manifest

    options = {name: f"--{name.replace('_', '-')}" for name in ("skip_unknown", "ddim_steps", "redraws")}
    _refuse_options(arguments, "temporal", **options)
    outputs = rollout.Outputs.plan(arguments.output, arguments.input, arguments.samples)
    device = api.select_device(arguments.device)
    model, sources = _open_temporal(arguments, device)
    samples, seed, numbers = arguments.samples, arguments.seed, range(len(sources))
    refinement = rollout.make_refinement(model, arguments.model, arguments.refine, arguments.temperature)
    roller = AlongTime(
        model, samples=samples, seed=seed, trajectories=numbers, refinement=refinement, device=device
    )
    atoms = AtomList.of_molecule(model.molecule)
    inputs = list(dict.fromkeys(path for source in sources for path in source.files))
    manifest = _manifest(inputs, arguments)
    request = _request(manifest, device.type)
    resume, overwrite = arguments.resume, arguments.overwrite
    with Journal(outputs.unfinished, request, resume=resume, overwrite=overwrite) as journal:
        overwrite = overwrite or journal.is_publishing
        with StagedFiles(overwrite=overwrite, inputs=inputs, folder=journal.folder) as files:
            for path in outputs.all_files(atoms):
                files.require_free(path)
            built, seconds = _roll_out(roller, sources, journal, arguments)
            rollout.write_from_journal(journal, files, atoms, outputs.paths)
            manifest["rollout"] = rollout.describe_tally(roller.tally, arguments.input)
            write_manifest(files.add(outputs.record), manifest)
            journal.publish()
        journal.remove()
    _warn_of_unphysical(roller.tally, arguments.input, outputs.record)
    if not arguments.quiet:
        print(_rollout_line(roller.tally, sources, outputs, built, seconds), file=sys.stderr)
    return 0


def _open_temporal(
    arguments: argparse.Namespace, device: torch.device
) -> tuple[TemporalModel, list[BeadSource]]:
    """Load the model and open the inputs, having looked at the first frames of each."""
    import torch

    from backmap import rollout
    from backmap.io import FrameRange, open_beads

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    model = api.load_model(arguments.model, device)
    if arguments.seed_from:
        rollout.use_seeds(model, arguments.seed_from)
    rollout.allow_open_files(len(arguments.input))
    frames = FrameRange(stride=arguments.stride)
    sources = [
        open_beads(given, model.molecule, model.mapping, arguments.top, frames=frames)
        for given in arguments.input
    ]
    for source in sources:
        rollout.check_source(source, model)
    return model, sources


def _roll_out(
    roller: AlongTime, sources: list[BeadSource], journal: Journal, arguments: argparse.Namespace
) -> tuple[int, float]:
    """Build the frames that are not in the journal yet; give their number and the seconds it took."""
    from backmap.rollout import roll_into_journal

    def number(frames: int) -> int:
        return roller.samples * sum(min(frames, source.frames) for source in sources)

    longest = max(source.frames for source in sources)
    before, total = number(journal.frames_done), number(longest)
    start = time.perf_counter()
    try:
        with _progress_bar(total, "frames", arguments, before) as bar:
            roll_into_journal(roller, sources, journal, bar.update)
    except BaseException:
        if journal.frames_done:
            kept = f"{journal.frames_done} of {_counted(longest, 'frame')}"
            print(f"backmap: {journal.folder} keeps {kept}; go on with --resume", file=sys.stderr)
        raise
    return total - before, time.perf_counter() - start


def _rollout_line(
    tally: Tally, sources: list[BeadSource], outputs: Outputs, built: int, seconds: float
) -> str:
    """Say what was built, how fast, and what the monitor saw."""
    frames = sum(source.frames for source in sources)
    sizes = [_counted(frames, "frame"), _counted(len(outputs.paths[0]), "sample")]
    if len(sources) > 1:
        sizes = [f"{_counted(len(sources), 'trajectory', 'trajectories')} of together {sizes[0]}", sizes[1]]
    speed = f"{_rounded(built / seconds)} frames/s" if built else "all built before"
    counts = [(tally.redraws, "re-draw"), (tally.reseeds, "re-seed"), (tally.unphysical, "unphysical frame")]
    watched = ", ".join(_counted(int(number.sum()), noun) for number, noun in counts)
    mean = tally.residual_sum.sum() / tally.frames.sum()
    return (
        f"rolled out {' x '.join(sizes)} in {seconds:.1f} s ({speed}); {watched}; "
        f"coarse-grained residual {mean:.2g} nm, at most {tally.largest_residual.max():.2g} nm "
        f"-> {_named(sum(outputs.paths, []))}"
    )


def _warn_of_unphysical(tally: Tally, inputs: Sequence[str], record: Path) -> None:
    for index in tally.unphysical.nonzero()[0]:
        warnings.warn(
            f"{inputs[index]}: {_counted(int(tally.unphysical[index]), 'frame')} stayed unphysical after all "
            f"re-draws (counted in {record.name}); are its beads like those of the training data?",
            InputWarning,
            stacklevel=2,
        )


def _request(manifest: dict[str, Any], device: str) -> dict[str, object]:
    """All that decides the frames of a rollout, by the names that messages use."""
    from backmap.io.manifest import versions

    return {
        "input": [entry["sha256"] for entry in manifest["input"]],
        "model": manifest["model"]["sha256"],
        "trajectory to start from": manifest["seed_from"] and manifest["seed_from"]["sha256"],
        **{name: manifest[name] for name in ("seed", "samples", "stride", "refine", "temperature")},
        "device": device,
        **{f"version of {package}": version for package, version in versions().items()},
    }


def _manifest(inputs: Sequence[Path], arguments: argparse.Namespace) -> dict[str, Any]:
    """Say how the output is made, so that it can be made again."""
    from backmap.io import describe_file

    return {
        "input": [describe_file(path) for path in inputs],
        "model": {"name": arguments.model, **describe_file(api.require_model(arguments.model))},
        "seed": arguments.seed,
        "samples": arguments.samples,
        "stride": arguments.stride,
        "seed_from": describe_file(arguments.seed_from) if arguments.seed_from else None,
        "refine": arguments.refine,
        "temperature": arguments.temperature,
        "skip_unknown": arguments.skip_unknown,
        "ddim_steps": arguments.ddim_steps,
        "redraws": arguments.redraws,
        "device": arguments.device,
    }


def _refuse_options(arguments: argparse.Namespace, family: str, **options: str) -> None:
    """Refuse options that have no meaning for a family of models."""
    for name, option in options.items():
        if getattr(arguments, name):
            raise InputError(f"{option}: has no meaning for a {family} model such as {arguments.model}")


def _progress_bar(total: int, unit: str, arguments: argparse.Namespace, initial: int = 0) -> tqdm:
    from tqdm import tqdm

    hidden = arguments.quiet or not sys.stderr.isatty()
    return tqdm(total=total, initial=initial, unit=f" {unit}", unit_scale=True, disable=hidden)


def _named(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} ... {paths[-1].name}"


def _counted(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _rounded(number: float) -> str:
    """Write a speed with two digits that mean something: ``6 700``."""
    digits = max(0, len(str(int(number))) - 2)
    return f"{int(round(number, -digits)):,}".replace(",", " ")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def _kelvin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a temperature in kelvin")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > api.MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {api.MAX_SEED}")
    return int(text)
