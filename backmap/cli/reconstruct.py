"""``backmap reconstruct``: a structure or trajectory in, one with all atoms out."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from backmap import api

if TYPE_CHECKING:
    import torch

    from backmap.io import Source
    from backmap.io.writer import Writer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("input", metavar="INPUT", help="structure or trajectory: PDB, mmCIF, XTC, DCD, HDF5 ...")
    add("--top", metavar="TOPOLOGY", help="topology of a trajectory that holds no residue names")
    add("-o", "--output", required=True, metavar="OUTPUT", help="file to write; its suffix gives the format")
    add("--model", default=api.DEFAULT_MODEL, metavar="NAME|FILE", help="shipped model or file (%(default)s)")
    add("--samples", type=_positive, default=1, metavar="G", help="structures per frame (%(default)s)")
    add("--seed", type=_seed, default=0, metavar="S", help="seed of the random numbers (%(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (%(default)s)")
    add("--threads", type=_positive, metavar="N", help="processor threads to use (all cores)")
    add("--stride", type=_positive, default=1, metavar="N", help="build every N-th frame (%(default)s)")
    add("--skip-unknown", action="store_true", help="leave out residues that cannot be built")
    add("--overwrite", action="store_true", help="replace existing output")
    add("--quiet", action="store_true", help="no progress bar and no closing line")


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct the input as the arguments ask."""
    from backmap.io import (
        AtomList,
        StagedFiles,
        create_writer,
        manifest_path,
        open_source,
        sample_paths,
        write_manifest,
    )
    from backmap.io.writer import finishing, require_output_format

    require_output_format(arguments.output)
    api.require_model(arguments.model)
    paths = sample_paths(arguments.output, arguments.samples)
    inputs = [path for path in (arguments.input, arguments.top) if path]
    device = api.select_device(arguments.device)
    source = open_source(
        arguments.input, arguments.top, skip_unknown=arguments.skip_unknown, stride=arguments.stride
    )
    with StagedFiles(overwrite=arguments.overwrite, inputs=inputs) as files:
        atoms = AtomList.of_protein(source.topology, source.topology.atom_mask)
        with finishing([create_writer(files, path, atoms) for path in paths]) as writers:
            record = files.add(manifest_path(arguments.output))
            seconds = _reconstruct(source, writers, device, arguments)
        write_manifest(record, _manifest(source, arguments))
    if not arguments.quiet:
        print(_closing_line(source, paths, seconds), file=sys.stderr)
    return 0


def _reconstruct(
    source: Source, writers: list[Writer], device: torch.device, arguments: argparse.Namespace
) -> float:
    """Build and write all frames, one writer a sample, and give the seconds it took."""
    from tqdm import tqdm

    from backmap.inference.frame_stream import build_frames, frames_per_chunk

    reconstructor = api.make_reconstructor(arguments.model, source.topology, source.linked, device)
    residues, samples = source.topology.residues, arguments.samples
    start = time.perf_counter()
    hidden = arguments.quiet or not sys.stderr.isatty()
    with tqdm(
        total=source.frames * residues * samples, unit=" residues", unit_scale=True, disable=hidden
    ) as bar:
        chunks = source.chunks(frames_per_chunk(residues, samples))
        workers = api.count_workers(device, arguments.threads)
        stream = build_frames(reconstructor, chunks, samples=samples, seed=arguments.seed, workers=workers)
        for built in stream:
            for writer, coordinates in zip(writers, built.coordinates, strict=True):
                writer.write(coordinates, built.time, built.unitcell_vectors)
            bar.update(built.coordinates[..., 0, 0].size)
    return time.perf_counter() - start


def _manifest(source: Source, arguments: argparse.Namespace) -> dict[str, object]:
    """Say how the output is made, so that it can be made again."""
    from backmap.io import describe_file

    return {
        "input": [describe_file(path) for path in source.files],
        "model": {"name": arguments.model, **describe_file(api.require_model(arguments.model))},
        "seed": arguments.seed,
        "samples": arguments.samples,
        "stride": arguments.stride,
        "skip_unknown": arguments.skip_unknown,
        "device": arguments.device,
    }


def _closing_line(source: Source, paths: list[Path], seconds: float) -> str:
    frames, residues, samples = source.frames, source.topology.residues, len(paths)
    speed = frames * residues * samples / seconds
    names = str(paths[0]) if samples == 1 else f"{paths[0]} ... {paths[-1].name}"
    size = f"{_counted(frames, 'frame')} x {_counted(residues, 'residue')} x {_counted(samples, 'sample')}"
    return f"reconstructed {size} in {seconds:.1f} s ({_rounded(speed)} residues/s) -> {names}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _rounded(number: float) -> str:
    """Write a speed with two digits that mean something: ``6 700``."""
    digits = max(0, len(str(int(number))) - 2)
    return f"{int(round(number, -digits)):,}".replace(",", " ")


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > api.MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {api.MAX_SEED}")
    return int(text)
