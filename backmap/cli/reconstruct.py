"""``backmap reconstruct``: coarse-grained structures and trajectories in, all atoms out."""

from __future__ import annotations

import argparse
from pathlib import Path

from backmap import api
from backmap.cli.option_types import number
from backmap.errors import InputError
from backmap.options import CHOICES

_OPTIONS_OF_OTHERS = {
    "protein": ("seed_from", "refine", "temperature", "segments", "burn_in"),
    "diamondback": ("seed_from", "refine", "temperature", "segments", "burn_in"),
    "temporal": (
        "skip_unknown",
        "keep_given",
        "c_alphas",
        "bead_noise",
        "ddim_steps",
        "redraws",
        "hydrogens",
        "minimise",
        "sequence",
    ),
}
"""Options that have no meaning for a family of models."""


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
        "--sequence", metavar="FASTA", help="proteins: which amino acids the residues are, a record per chain"
    )
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
    add(
        "--samples", type=number("samples"), default=1, metavar="G", help="structures per frame (%(default)s)"
    )
    add(
        "--seed", type=number("seed"), default=0, metavar="S", help="seed of the random numbers (%(default)s)"
    )
    add("--skip-unknown", action="store_true", help="proteins: leave out residues that cannot be built")
    add("--keep-given", action="store_true", help="protein: keep all given atoms, build what is missing")
    add(
        "--c-alphas",
        choices=CHOICES["c_alphas"],
        default="auto",
        help="proteins: keep C-alphas, relax them as noisy beads, or let each frame tell (%(default)s)",
    )
    add(
        "--bead-noise",
        type=number("bead_noise"),
        metavar="NM",
        help="proteins: noise of a bead's coordinate (estimated)",
    )
    add(
        "--ddim-steps",
        type=number("ddim_steps"),
        default=0,
        metavar="N",
        help="diamondback: a faster sampler, N steps",
    )
    add(
        "--redraws",
        type=number("redraws"),
        metavar="N",
        help="diamondback: draw overlaps again; 0 as published",
    )
    add("--seed-from", metavar="TRAJECTORY", help="temporal models: start from frames of this one, all atoms")
    add(
        "--refine",
        type=number("refine"),
        default=0,
        metavar="STEPS",
        help="temporal models: simulate each frame so long",
    )
    add(
        "--temperature",
        type=number("temperature"),
        metavar="K",
        help="of --refine (that of the training data)",
    )


def _add_finishing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--hydrogens", action="store_true", help="proteins: add hydrogens, chosen by OpenMM")
    add("--ph", type=number("ph"), default=7.0, metavar="PH", help="of --hydrogens (%(default)s)")
    add(
        "--minimise",
        type=number("minimise"),
        default=0,
        metavar="ITERATIONS",
        help="proteins with hydrogens: relax each frame in implicit solvent while the C-alphas stay",
    )


def _add_frames(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--begin",
        type=number("begin"),
        default=1,
        metavar="N",
        help="first frame to build, from 1 (%(default)s)",
    )
    add("--end", type=number("end"), metavar="N", help="last frame to build (the last there is)")
    add(
        "--stride", type=number("stride"), default=1, metavar="N", help="build every N-th frame (%(default)s)"
    )
    add(
        "--on-bad-frame",
        choices=("stop", "skip"),
        default="stop",
        help="what to do at frames whose coordinates are damaged (%(default)s)",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", choices=CHOICES["device"], default="auto", help="where to compute (%(default)s)")
    add(
        "--threads", type=number("threads"), metavar="N", help="processor threads of this process (all cores)"
    )
    add(
        "--workers",
        type=number("workers"),
        metavar="N",
        help="build in N processes, each with a GPU of its own",
    )
    add("--scheduler", metavar="tcp://HOST:PORT|FILE", help="build on the workers of a Dask cluster")
    add(
        "--batch",
        type=number("batch"),
        metavar="FRAMES",
        help="frames built at once by a worker (by free memory)",
    )
    add(
        "--chunk",
        type=number("chunk"),
        metavar="FRAMES",
        help="frames a kill can lose (those of a second or so)",
    )
    add(
        "--segments",
        type=number("segments"),
        default=1,
        metavar="N",
        help="temporal models: cut a trajectory into N parts that are built side by side (%(default)s)",
    )
    add(
        "--burn-in",
        type=number("burn_in"),
        default=0,
        metavar="FRAMES",
        help="temporal models: begin each part so much earlier, to forget its start",
    )
    add("--resume", action="store_true", help="go on with a run that was stopped")
    add("--log", type=Path, metavar="FILE", help="add what happens to a file of JSON lines")
    add("--quiet", action="store_true", help="no progress bar and no closing line")


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct the input as the arguments ask."""
    from .reconstruct_protein import ProteinReconstruction
    from .reconstruct_temporal import TemporalReconstruction

    model = api.read_model(arguments.model)
    _refuse_options(arguments, model.family)
    kind = TemporalReconstruction if model.family == "temporal" else ProteinReconstruction
    return kind(arguments, model).carry_out()


def _refuse_options(arguments: argparse.Namespace, family: str) -> None:
    """Refuse options that contradict one another or have no meaning for a family of models."""
    nothing = {"segments": 1, "c_alphas": "auto"}
    for name in _OPTIONS_OF_OTHERS.get(family, ()):
        if getattr(arguments, name) not in (nothing.get(name, 0), None, False):
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option}: has no meaning for a {family} model such as {arguments.model}")
    if arguments.scheduler and arguments.workers:
        raise InputError("--workers: starts workers on this machine; leave it out where --scheduler has some")
    if arguments.burn_in and arguments.segments == 1:
        raise InputError("--burn-in: has a meaning for several --segments alone")
