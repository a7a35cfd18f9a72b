"""``backmap reconstruct``: coarse-grained structures and trajectories in, all atoms out."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap import api
from backmap.errors import InputError

if TYPE_CHECKING:
    import torch

    from backmap.cluster import Job, Workers
    from backmap.io import FrameRange, FrameSource, Journal
    from backmap.models.checkpoint import ModelFile

_OPTIONS_OF_OTHERS = {
    "protein": ("seed_from", "refine", "temperature", "segments", "burn_in"),
    "diamondback": ("seed_from", "refine", "temperature", "segments", "burn_in"),
    "temporal": ("skip_unknown", "keep_given", "ddim_steps", "redraws", "hydrogens", "minimise"),
}
"""Options that have no meaning for a family of models."""

_FRAMES_NAMED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    _add_files(parser)
    _add_building(parser)
    _add_finishing(parser)
    _add_frames(parser)
    _add_running(parser)


def _add_files(parser: argparse.ArgumentParser) -> None:
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
    add("--atoms", metavar="SELECTION", help="write these alone, in mdtraj's language: backbone, name CA CB")
    add("--one-file", action="store_true", help="all samples of a frame one after another, in one file")
    add("--overwrite", action="store_true", help="replace existing output")


def _add_building(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", default=api.DEFAULT_MODEL, metavar="NAME|FILE", help="shipped model or file (%(default)s)")
    add("--samples", type=_positive, default=1, metavar="G", help="structures per frame (%(default)s)")
    add("--seed", type=_seed, default=0, metavar="S", help="seed of the random numbers (%(default)s)")
    add("--skip-unknown", action="store_true", help="proteins: leave out residues that cannot be built")
    add("--keep-given", action="store_true", help="protein: keep all given atoms, build what is missing")
    add("--ddim-steps", type=_positive, default=0, metavar="N", help="diamondback: a faster sampler, N steps")
    add("--redraws", type=_count, metavar="N", help="diamondback: draw overlaps again; 0 as published")
    add("--seed-from", metavar="TRAJECTORY", help="temporal models: start from frames of this one, all atoms")
    add(
        "--refine",
        type=_positive,
        default=0,
        metavar="STEPS",
        help="temporal models: simulate each frame so long",
    )
    add("--temperature", type=_kelvin, metavar="K", help="of --refine (that of the training data)")


def _add_finishing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--hydrogens", action="store_true", help="proteins: add hydrogens, chosen by OpenMM")
    add("--ph", type=_ph, default=7.0, metavar="PH", help="of --hydrogens (%(default)s)")
    add(
        "--minimise",
        type=_positive,
        default=0,
        metavar="ITERATIONS",
        help="proteins with hydrogens: relax each frame in implicit solvent while the C-alphas stay",
    )


def _add_frames(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--begin", type=_positive, default=1, metavar="N", help="first frame to build, from 1 (%(default)s)")
    add("--end", type=_positive, metavar="N", help="last frame to build (the last there is)")
    add("--stride", type=_positive, default=1, metavar="N", help="build every N-th frame (%(default)s)")
    add(
        "--on-bad-frame",
        choices=("stop", "skip"),
        default="stop",
        help="what to do at frames whose coordinates are damaged (%(default)s)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (%(default)s)")
    add("--threads", type=_positive, metavar="N", help="processor threads of this process (all cores)")
    add("--workers", type=_positive, metavar="N", help="build in N processes, each with a GPU of its own")
    add("--scheduler", metavar="tcp://HOST:PORT|FILE", help="build on the workers of a Dask cluster")
    add("--batch", type=_positive, metavar="FRAMES", help="frames built at once by a worker (by free memory)")
    add("--chunk", type=_positive, metavar="FRAMES", help="frames a kill can lose (those of a second or so)")
    add(
        "--segments",
        type=_positive,
        default=1,
        metavar="N",
        help="temporal models: cut a trajectory into N parts that are built side by side (%(default)s)",
    )
    add(
        "--burn-in",
        type=_count,
        default=0,
        metavar="FRAMES",
        help="temporal models: begin each part so much earlier, to forget its start",
    )
    add("--resume", action="store_true", help="go on with a run that was stopped")
    add("--log", type=Path, metavar="FILE", help="add what happens to a file of JSON lines")
    add("--quiet", action="store_true", help="no progress bar and no closing line")


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct the input as the arguments ask."""
    from backmap.cli import reconstruct_protein, reconstruct_temporal

    model = api.read_model(arguments.model)
    _refuse_options(arguments, model.family)
    if arguments.scheduler and arguments.workers:
        raise InputError("--workers: starts workers on this machine; leave it out where --scheduler has some")
    if arguments.burn_in and arguments.segments == 1:
        raise InputError("--burn-in: has a meaning for several --segments alone")
    kind = reconstruct_temporal if model.family == "temporal" else reconstruct_protein
    return kind.run(arguments, model)


def _refuse_options(arguments: argparse.Namespace, family: str) -> None:
    """Refuse options that have no meaning for a family of models."""
    nothing = {"segments": 1}
    for name in _OPTIONS_OF_OTHERS.get(family, ()):
        if getattr(arguments, name) not in (nothing.get(name, 0), None, False):
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option}: has no meaning for a {family} model such as {arguments.model}")


def frame_range(arguments: argparse.Namespace) -> FrameRange:
    """Give the frames that were asked for."""
    from backmap.io import FrameRange

    return FrameRange(arguments.begin - 1, arguments.end, arguments.stride)


@dataclass(frozen=True)
class Pool:
    """Where a run computes.

    Parameters
    ----------
    device : torch.device
        Kind of device.
    client : distributed.Client, optional
        Of the cluster, where there is one.
    threads : int
        Processor threads of this process.
    """

    device: torch.device
    client: Any
    threads: int

    @property
    def sharing(self) -> int:
        """How many batches are built at once in the memory of this machine."""
        if self.client is not None:
            return max(1, len(self.client.nthreads()))
        return self.threads if self.device.type == "cpu" else 1

    def workers(self, job: Job, pieces: int | None = None) -> Workers:
        """Open workers for a job that has so many pieces at once, or any number."""
        from backmap.cluster import DaskWorkers, LocalWorkers

        if self.client is not None:
            return DaskWorkers(self.client, job, self.device)
        count = min(self.sharing, pieces or self.sharing)
        with api.explained():
            return LocalWorkers(job, self.device, count, max(1, self.threads // count))


@contextmanager
def open_pool(arguments: argparse.Namespace) -> Iterator[Pool]:
    """Find or start what a run computes with."""
    import torch

    threads = arguments.threads or torch.get_num_threads()
    if arguments.scheduler is None and arguments.workers is None:
        yield Pool(api.select_device(arguments.device), None, threads)
        return
    from backmap.cluster import choose_device, open_client

    with open_client(arguments.scheduler, arguments.workers) as client:
        yield Pool(choose_device(client, arguments.device), client, threads)


def describe_run(
    arguments: argparse.Namespace, model: ModelFile, sources: Sequence[FrameSource]
) -> dict[str, Any]:
    """Say how the output is made, so that it can be made again: what stands in the file beside it."""
    from backmap.io import describe_file

    inputs = list(dict.fromkeys(path for source in sources for path in source.files))
    options = ("seed", "samples", "one_file", "atoms", "begin", "end", "stride", "refine", "temperature")
    more = ("skip_unknown", "keep_given", "ddim_steps", "redraws", "segments", "burn_in", "hydrogens")
    return {
        "input": [describe_file(path) for path in inputs],
        "model": {
            "name": arguments.model,
            "path": str(api.require_model(arguments.model)),
            "sha256": model.sha256,
        },
        **{name: getattr(arguments, name) for name in options},
        "seed_from": describe_file(arguments.seed_from) if arguments.seed_from else None,
        **{name: getattr(arguments, name) for name in (*more, "ph", "minimise", "device")},
    }


def request_of(description: dict[str, Any], device: torch.device) -> dict[str, object]:
    """All that decides the frames of a run, by the names that messages use."""
    from backmap.io.manifest import versions

    return {
        "input": [entry["sha256"] for entry in description["input"]],
        "model": description["model"]["sha256"],
        "trajectory to start from": description["seed_from"] and description["seed_from"]["sha256"],
        **{
            name: value
            for name, value in description.items()
            if name not in ("input", "model", "seed_from", "device")
        },
        "device": device.type,
        **{f"version of {package}": version for package, version in versions().items()},
    }


@contextmanager
def telling_what_is_kept(journal: Journal, frames: int) -> Iterator[None]:
    """Say, when a run is stopped, what of it can be gone on with."""
    try:
        yield
    except BaseException:
        if journal.progress.frames_done and journal.folder.is_dir():
            kept = f"{journal.progress.frames_done} of {counted(frames, 'frame')}"
            print(f"backmap: {journal.folder} keeps {kept}; go on with --resume", file=sys.stderr)
        raise


def named(paths: Sequence[Path]) -> str:
    """Name outputs: the first and the last."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} ... {paths[-1].name}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Say how many there are: ``1 frame``, ``2 frames``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def numbered(frames: Sequence[int]) -> str:
    """Name bad frames by their numbers from 0, counting from 1: ``2 bad frames (7, 19)``."""
    named = ", ".join(str(number + 1) for number in frames[:_FRAMES_NAMED])
    return f"{counted(len(frames), 'bad frame')} ({named}{' ...' if len(frames) > _FRAMES_NAMED else ''})"


def rounded(number: float) -> str:
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


def _ph(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 14:
        raise argparse.ArgumentTypeError(f"{text} is not a pH from 0 to 14")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def _seed(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > api.MAX_SEED:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {api.MAX_SEED}")
    return int(text)
