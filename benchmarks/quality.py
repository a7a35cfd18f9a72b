"""Quality and speed of backmap and of other tools on experimental structures, rebuilt from their C-alphas.

Run from the repository root::

    python benchmarks/quality.py --structures ../shared/data/pdb/test-dev --samples 5
    python benchmarks/quality.py --tools protein diamondback diamondback/ddim=10 cgback --longest 120
    python benchmarks/quality.py --tools protein --given backbone --limit 20
    python benchmarks/quality.py --tools protein pulchra --noise 0.0124
    python benchmarks/quality.py --tools protein --beads martini3 --noise 0.0124
    python benchmarks/quality.py --tools protein pulchra --bin ../peers/bin --energies
    python benchmarks/quality.py --tools protein faspr --given backbone --bin ../peers/bin
    python benchmarks/quality.py --tools protein pulchra-g --beads c-alpha+side-chain-centre --bin peers/bin
    python benchmarks/quality.py --tools protein --command 'other=/opt/other/bin/other {input} {output}'

A tool is a shipped model or a model file of backmap, with settings behind slashes (``best``: the most
probable structure; ``c-alphas=keep``: they stay where noise put them; ``ddim=N``: that sampler;
``redraws=N``), or one of ``COMMANDS``: ``pulchra``, ``pulchra-fixed`` (C-alphas put back where they were),
``cgback`` and ``faspr``, which ``pip install pypulchra cgback pyfaspr`` provides in any environment, and
``pulchra-g``, PULCHRA's own program, which reads side-chain centres too; ``--bin`` is the folder of these
programs. ``--command NAME=COMMAND`` adds any other tool that reads one PDB file and writes another. Every
tool gets the C-alphas of the same structures and is judged by the same measures (docs/evaluation.md) against
the deposited atoms. Prints a table in Markdown. Speeds are of one thread, without start-up. That of a command
is the intercept of a line through its times by number of residues, and the slope is its speed; that of
a model of backmap is the time to load it. With ``--given`` commands get the same atoms, which side-chain
packers need, and the ``protein`` model gets deposited atoms besides the C-alphas, which count among what
is judged. With ``--noise`` all tools get the C-alphas with Gaussian noise on every coordinate: 0.0124 nm
spreads the distances of neighbours by 0.0176 nm, as the bonds of CALVADOS, HPS and Mpipi spread at 300 K. How
far C-alphas moved is then measured from the noisy ones, all else still against the deposited atoms. With
``--beads`` all tools get the beads of a mapping instead of C-alphas, the same noise on them.

``--frames N`` rebuilds N frames of each file, spread evenly over it. A trajectory without names
has its topology beside it: ``run.pdb`` for ``run.dcd``. Where files contain only C-alphas there is nothing to
be judged against, and the table shows what needs no true atoms::

    python benchmarks/quality.py --structures ../shared/data/cg/fastfolder_*.pdb.gz --frames 32
    python benchmarks/quality.py --structures run.dcd --frames 40 --tools protein tuned/protein.safetensors
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from backmap.chemistry import ATOM_SLOTS, SIDE_CHAIN, SLOT_CA, SLOT_CB, SLOT_OXT, Topology
from backmap.chemistry.bead_mapping import BeadLayout, BeadMapping, load_mapping
from backmap.chemistry.residues import HEAVY_ATOMS
from backmap.chemistry.sites import atom_names
from backmap.evaluation import MEASURES, Scorecard, combine, score
from backmap.evaluation.scorecard import format_estimate, format_title, format_value
from backmap.inference.beads import BeadBuilder
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.inference.c_alphas import CAlphaDrawer
from backmap.inference.diamondback import DiamondbackBuilder, Traces, build_structures
from backmap.inference.protein import ProteinBuilder
from backmap.io.naming import TOPOLOGY_SUFFIXES, suffix_of
from backmap.io.reader import FrameRange, Source, open_source
from backmap.models.counter_random import stream_keys
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.protein.model import ProteinModel
from backmap.models.shipped import load_model, read_estimator

GIVEN = {
    "backbone": slice(SLOT_CB),
    "c-beta": slice(SLOT_CB, SLOT_CB + 1),
    "side-chain": SIDE_CHAIN,
    "half": slice(None),
}
"""Atoms of each residue that may be given besides its C-alpha; of ``half`` a random half."""

DETERMINISTIC_COPIES = 2
"""A tool that always gives one answer is scored with copies of it, so that its diversity is 1."""


@dataclass(frozen=True)
class Structure:
    """A structure or frames of it: atoms (frames, residues, 15, 3) in nm with a mask (residues, 15).

    ``c_alpha`` (frames, residues, 3), nm, is what the tools get.
    """

    name: str
    topology: Topology
    atoms: np.ndarray
    present: np.ndarray
    linked: np.ndarray
    c_alpha: np.ndarray

    @classmethod
    def read(cls, path: Path, noise_nm: float = 0.0, n_frames: int = 1) -> Structure:
        """Read frames of a file, spread evenly over it; the tools get the C-alphas with so much noise."""
        topology = None if suffix_of(path) in TOPOLOGY_SUFFIXES else path.with_suffix(".pdb")
        source: Source = open_source(path, topology)
        stride = max(1, source.n_frames // n_frames)
        source = open_source(path, topology, frames=FrameRange(end=stride * n_frames, stride=stride))
        frames = np.concatenate([chunk.coordinates for chunk in source.chunks(n_frames)])
        atoms, present = source.sites.in_slots(frames), source.sites.present
        name = path.name.split(".")[0]
        c_alpha = atoms[:, :, SLOT_CA]
        noise = np.random.default_rng(zlib.crc32(name.encode())).normal(0.0, noise_nm, c_alpha.shape)
        return cls(name, source.topology, atoms, present, source.linked, c_alpha + noise)


Rebuilt = tuple[np.ndarray, np.ndarray] | RuntimeError
"""Samples (samples, frames, residues, 15, 3) nm and atoms built (residues, 15) bool, or what went wrong."""

Rebuild = Callable[[Sequence[Structure]], Iterator[Rebuilt]]
"""Rebuilds structures, in their order."""


def one_by_one(rebuild: Callable[[Structure], tuple[np.ndarray, np.ndarray]]) -> Rebuild:
    """Let a tool that takes one structure at a time take several."""

    def rebuild_all(structures: Sequence[Structure]) -> Iterator[Rebuilt]:
        for structure in tqdm(structures, unit="structure", disable=None):
            try:
                yield rebuild(structure)
            except RuntimeError as error:
                yield error

    return rebuild_all


@dataclass
class Tool:
    """A tool under test, with what it reached so far.

    ``sizes`` and ``seconds`` are residues built and time, per frame. ``start_up`` is the time in seconds
    before it builds anything, None for a command, whose times include it.
    """

    name: str
    rebuild: Rebuild
    start_up: float | None = None
    sizes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cards: list[Scorecard] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self, structures: Sequence[Structure], samples: int, *, energies: bool = False) -> None:
        """Rebuild and score structures; ``samples`` is what the tool builds of each, for its speed."""
        rebuilt = []
        built = iter(self.rebuild(structures))
        for structure in structures:
            start = time.perf_counter()
            rebuilt.append(next(built))
            if not isinstance(rebuilt[-1], RuntimeError):
                self.seconds.append((time.perf_counter() - start) / len(structure.c_alpha))
                self.sizes.append(structure.topology.n_residues * samples)
        next(built, None)  # it may have something to say at the end
        for structure, result in zip(structures, rebuilt, strict=True):
            if isinstance(result, RuntimeError):
                self.failed.append(f"{structure.name}: {result}")
                continue
            atoms, present = result
            if len(atoms) == 1:
                atoms = np.repeat(atoms, DETERMINISTIC_COPIES, axis=0)
            self.cards.append(
                score(
                    structure.topology,
                    structure.atoms,
                    atoms,
                    structure.present,
                    present,
                    linked=structure.linked,
                    given_c_alpha=structure.c_alpha,
                    all_atoms=True,
                    energies=energies,
                    name=structure.name,
                )
            )

    @property
    def speed(self) -> tuple[float, float]:
        """Residues per second without start-up, and start-up in seconds; NaN if they are not known."""
        if self.start_up is not None:
            return sum(self.sizes) / sum(self.seconds), self.start_up
        if len(set(self.sizes)) < 2:
            return float("nan"), float("nan")
        slope, intercept = np.polyfit(self.sizes, self.seconds, 1)
        return (1 / slope if slope > 0 else float("nan")), max(0.0, float(intercept))


Site = tuple[str, np.ndarray]
"""A name and a position (3,) in nm."""

SitesOf = Callable[[Structure, int], Sequence[Sequence[Site]]]
"""What a command gets of each residue of a structure, in one of its frames."""


@dataclass(frozen=True)
class Command:
    """A program that reads one PDB file and writes another.

    Parameters
    ----------
    words : tuple of str
        The program and its arguments, with ``{input}`` and ``{output}`` for the files.
    by_chain : bool
        Whether it gets one chain at a time. PULCHRA does, because it stops at the end of the first. Across a
        break in a chain it draws the C-alphas together. Given the pieces apart it leaves them in place, but
        then its side chains do not see each other and it clashes twice as often; so it gets whole chains.
    keeps_c_alphas : bool
        Whether to put the C-alphas back where they were.
    """

    words: tuple[str, ...]
    by_chain: bool = False
    keeps_c_alphas: bool = False

    @classmethod
    def parse(cls, template: str) -> Command:
        """Split a template into words."""
        return cls(tuple(shlex.split(template)))

    def found_in(self, folder: Path | None) -> Command:
        """Return the command with the path of its program, from a folder or the search path."""
        program = shutil.which(self.words[0], path=None if folder is None else str(folder))
        if program is None:
            where = folder or "the search path"
            raise SystemExit(f"{self.words[0]}: not found in {where}; name its folder with --bin")
        return replace(self, words=(program, *self.words[1:]))

    def rebuild(self, sites_of: SitesOf) -> Rebuild:
        """Return what rebuilds structures one by one, from what ``sites_of`` gives of each."""

        def rebuild(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
            n_frames = len(structure.c_alpha)
            atoms = np.full((n_frames, structure.topology.n_residues, ATOM_SLOTS, 3), np.nan)
            chains = structure.topology.chain_index
            for frame in range(n_frames):
                sites = sites_of(structure, frame)
                for chain in np.unique(chains) if self.by_chain else [None]:
                    rows = np.arange(len(chains)) if chain is None else np.flatnonzero(chains == chain)
                    _place_pdb_atoms(self.run(_pdb_of(structure, rows, sites)), rows, atoms[frame])
            if self.keeps_c_alphas:
                atoms[:, :, SLOT_CA] = structure.c_alpha
            return atoms[None], np.isfinite(atoms[..., 0]).all(axis=0)

        return one_by_one(rebuild)

    def run(self, text: str) -> str:
        """Run the program on PDB text with one thread; return the text that it writes."""
        with tempfile.TemporaryDirectory() as folder:
            files = {"input": Path(folder) / "input.pdb", "output": Path(folder) / "output.pdb"}
            files["input"].write_text(text)
            words = [word.format(**files) for word in self.words]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder)
            if done.returncode or not files["output"].is_file():
                raise RuntimeError(" ".join((done.stderr or done.stdout).split())[-200:] or "wrote nothing")
            return files["output"].read_text()


_PULCHRA = Command.parse("pypulchra -i {input} -o {output}")
COMMANDS = {
    "pulchra": replace(_PULCHRA, by_chain=True),
    "pulchra-fixed": replace(_PULCHRA, by_chain=True, keeps_c_alphas=True),
    "pulchra-g": replace(
        Command.parse("pulchra -g -k {output} -y {output}.trajectory {input}"), by_chain=True
    ),
    "cgback": Command.parse("cgback {input} -o {output} -s 1"),
    "faspr": Command.parse("pyfaspr {input} -o {output}"),
}
"""Tools whose command line is known. CGBack uses its model M with its repair, one sample."""


def _pdb_of(structure: Structure, rows: np.ndarray, sites: Sequence[Sequence[Site]]) -> str:
    """Write the sites of residues as PDB text, residues numbered from 1 through all chains."""
    lines, chains = [], structure.topology.chain_index[rows]
    for number, row in enumerate(rows, 1):
        chain = chr(ord("A") + chains[number - 1] - chains[0])
        residue = structure.topology.residue_name(row)
        for name, place in sites[row]:
            position = "{:8.3f}{:8.3f}{:8.3f}".format(*(10.0 * place))
            start = f"ATOM  {len(lines) % 100000:5d}  {name:<3s} {residue} {chain}{number:4d}    "
            lines.append(f"{start}{position}  1.00  0.00          {name[0]:>2s}\n")
        if number == len(rows) or chains[number] != chains[number - 1]:
            lines.append("TER\n")
    return "".join(lines)


def _place_pdb_atoms(text: str, rows: np.ndarray, atoms: np.ndarray) -> None:
    """Put the heavy atoms of PDB text, residues numbered from 1, into their slots; nm."""
    for line in text.splitlines():
        if not line.startswith("ATOM"):
            continue
        name, residue = line[12:16].strip(), line[17:20]
        slots = {**{atom: slot for slot, atom in enumerate(HEAVY_ATOMS[residue])}, "OXT": SLOT_OXT}
        if name in slots:
            position = [float(line[first : first + 8]) / 10.0 for first in (30, 38, 46)]
            atoms[rows[int(line[22:26]) - 1], slots[name]] = position


def sites_of_atoms(structure: Structure, frame: int, given: str | None) -> list[list[Site]]:
    """Return the C-alpha and the atoms ``given`` of each residue."""
    kept = np.zeros_like(structure.present) if given is None else given_atoms(structure, given)
    kept[:, SLOT_CA] = True
    atoms = structure.atoms[frame].copy()
    atoms[:, SLOT_CA] = structure.c_alpha[frame]
    names = map(atom_names, map(structure.topology.residue_name, range(len(kept))))
    return [
        [(names_of_residue[slot], atoms[row, slot]) for slot in np.flatnonzero(kept[row])]
        for row, names_of_residue in enumerate(names)
    ]


def given_atoms(structure: Structure, given: str) -> np.ndarray:
    """Mark (residues, 15) the atoms to give, by a key of :data:`GIVEN`."""
    kept = np.zeros_like(structure.present)
    kept[:, GIVEN[given]] = structure.present[:, GIVEN[given]]
    return kept & (np.random.default_rng(0).random(kept.shape) < 0.5) if given == "half" else kept


def split_settings(name: str) -> tuple[str, dict[str, str]]:
    """Split the name of a tool, ``MODEL/SETTING=VALUE/SETTING``, into the model and its settings."""
    model, *settings = name.split("/") if not Path(name).is_file() else [name]
    pairs = (setting.partition("=") for setting in settings)
    return model, {key: value for key, _, value in pairs}


def backmap_model(name: str, samples: int, device: str, given: str | None = None) -> Rebuild:
    """Make backmap rebuild with a shipped or trained model, ``MODEL`` or ``MODEL/SETTING=VALUE``.

    The ``protein`` model keeps the atoms ``given``, a key of :data:`GIVEN`.
    """
    model, values = split_settings(name)
    best = values.pop("best", None) is not None
    loaded = load_model(model, torch.device(device))
    samples = 1 if best else samples
    rule = CAlphaRule(values.pop("c-alphas", "auto") if given is None else "keep")
    if isinstance(loaded, DiamondbackModel):
        if given is not None:
            raise SystemExit(f"--given {given}: {model} builds from C-alphas only; leave it out of --tools")
        numbers = {key: int(value) for key, value in values.items()}
        return diamondback(loaded, samples, device, rule, **numbers)

    def rebuild(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
        atoms, kept = torch.tensor(structure.atoms, dtype=torch.float32), None
        if given is not None:
            kept = given_atoms(structure, given)
        engine = ProteinBuilder(loaded, structure.topology, structure.linked, device, kept, best=best)
        beads = torch.tensor(structure.c_alpha, dtype=torch.float32, device=device)
        c_alpha = CAlphaDrawer(rule, engine.chain).draw(beads, samples=samples, seed=0)
        numbers = torch.arange(len(beads))
        atoms = engine.reconstruct(c_alpha, numbers=numbers, samples=samples, seed=0, given=atoms)
        return atoms.cpu().numpy(), structure.topology.atom_mask

    return one_by_one(rebuild)


def complete(model: ProteinModel, structure: Structure, device: str) -> np.ndarray:
    """Return the atoms (frames, residues, 15, 3) of a structure, with those that were not deposited."""
    builder = ProteinBuilder(model, structure.topology, structure.linked, device, structure.present)
    atoms = torch.tensor(np.nan_to_num(structure.atoms), dtype=torch.float32, device=device)
    numbers = torch.arange(len(atoms))
    built = builder.reconstruct(atoms[:, :, SLOT_CA], numbers=numbers, samples=1, seed=0, given=atoms)
    return built[0].double().cpu().numpy()


class Beads:
    """The beads of a mapping in structures, with noise; those of missing atoms are built first."""

    def __init__(self, mapping: BeadMapping, model: ProteinModel, device: str, noise_nm: float) -> None:
        self.mapping, self._model, self._device, self._noise_nm = mapping, model, device, noise_nm

    def __call__(self, structure: Structure) -> tuple[BeadLayout, np.ndarray]:
        """Return the layout of a structure's beads and their positions (1, beads, 3) in nm."""
        layout = self.mapping.layout(structure.topology.residue_types)
        beads = layout.image(complete(self._model, structure, self._device))
        noise = np.random.default_rng(zlib.crc32(structure.name.encode()))
        return layout, beads + noise.normal(0.0, self._noise_nm, beads.shape)

    def sites(self, structure: Structure, frame: int) -> list[list[Site]]:
        """Return the beads of each residue in a frame."""
        layout, positions = self(structure)
        sites: list[list[Site]] = [[] for _ in layout.main]
        for name, residue, position in zip(layout.names, layout.residues, positions[frame], strict=True):
            sites[residue].append((name, position))
        return sites


def backmap_beads(name: str, samples: int, device: str, mapping: BeadMapping, noise_nm: float) -> Rebuild:
    """Make backmap rebuild from the beads of a mapping, and print how far atoms are from the beads.

    Atoms that were not deposited are built before structures are coarse-grained.
    """
    model, values = split_settings(name)
    best = values.pop("best", None) is not None
    loaded = load_model(model, torch.device(device))
    samples = 1 if best else samples
    beads = Beads(mapping, loaded, device, noise_nm)
    estimator = None if mapping.main_is_c_alpha else read_estimator(mapping).load(device)
    rule = CAlphaRule()
    squares: list[np.ndarray] = []

    def rebuild(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
        layout, positions = beads(structure)
        given = torch.tensor(positions, dtype=torch.float32, device=device)
        builder = BeadBuilder(
            loaded, structure.topology, structure.linked, layout, rule, estimator, device, best=best
        )
        numbers = torch.arange(len(given))
        fitted = builder.reconstruct(given, numbers=numbers, samples=samples, seed=0)
        atoms = fitted.atoms.cpu().numpy()
        squares.append(np.square(layout.image(atoms) - given.cpu().numpy()).sum(axis=-1).ravel())
        return atoms, structure.topology.atom_mask

    def rebuild_all(structures: Sequence[Structure]) -> Iterator[Rebuilt]:
        yield from one_by_one(rebuild)(structures)
        distance = float(np.sqrt(np.concatenate(squares).mean()))
        print(f"{name}, beads {mapping.name}: atoms within {distance:.5f} nm rms of the beads\n")

    return rebuild_all


def diamondback(
    model: DiamondbackModel,
    samples: int,
    device: str,
    rule: CAlphaRule,
    ddim: int = 0,
    redraws: int | None = None,
) -> Rebuild:
    """Rebuild all structures in one batch, residue by residue."""
    model.eval()

    def rebuild_all(structures: Sequence[Structure]) -> Iterator[Rebuilt]:
        traces, unbuildable = [], {}
        for structure in structures:
            try:
                engine = DiamondbackBuilder(model, structure.topology, structure.linked, device)
            except ValueError as error:
                unbuildable[structure.name] = RuntimeError(str(error))
                continue
            beads = torch.tensor(structure.c_alpha, dtype=torch.float32, device=device)
            c_alpha = CAlphaDrawer(rule, engine.chain).draw(beads, samples=samples, seed=0)
            keys = stream_keys(0, samples, torch.arange(len(beads), device=device))
            traces.append(Traces(c_alpha, engine.chain, keys))
        built = iter(build_structures(model, traces, ddim, redraws))
        for structure in structures:
            failure = unbuildable.get(structure.name)
            yield failure or (next(built).cpu().numpy(), structure.topology.atom_mask)

    return rebuild_all


def read_structures(
    paths: Sequence[Path], longest: int | None, limit: int | None, noise_nm: float = 0.0, n_frames: int = 1
) -> list[Structure]:
    """Read structures, those of a folder in the order of their names."""
    files = [file for path in paths for file in (sorted(path.glob("*.pdb*")) if path.is_dir() else [path])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        structures = [Structure.read(file, noise_nm, n_frames) for file in files]
    fitting = [s for s in structures if longest is None or s.topology.n_residues <= longest]
    return fitting[:limit]


def table(tools: list[Tool], scores: list[Scorecard]) -> str:
    """Write a Markdown table: one row per measure, one column per tool, and the reference (or floor) last."""
    heads = [tool.name for tool in tools]
    lines = [f"| measure | {' | '.join(heads)} | reference or floor |", "| --- " * (len(tools) + 2) + "|"]
    for region in ("interior", "all"):
        lines.append(f"| **{region} residues** |{' |' * (len(tools) + 1)}")
        for name in MEASURES:
            found = [card.measures[name][region] if name in card.measures else None for card in scores]
            if any(found):
                cells = [format_estimate(name, estimate) if estimate else "-" for estimate in found]
                reference = next(format_value(name, e.reference) for e in found if e)
                lines.append(f"| {format_title(name)} | {' | '.join(cells)} | {reference} |")
    speeds, starts = zip(*(tool.speed for tool in tools), strict=True)
    lines.append(
        f"| residues/s, one thread, without start-up | {' | '.join(f'{n:.0f}' for n in speeds)} | - |"
    )
    lines.append(f"| start-up, s | {' | '.join(f'{n:.2f}' for n in starts)} | - |")
    return "\n".join(lines)


def above_floor(ours: Scorecard, theirs: Scorecard) -> str:
    """Say how far our chi1 divergence is above the floor, as a share of their distance from it."""

    def share(measure: str) -> float:
        own, other = (card.measures[measure]["interior"] for card in (ours, theirs))
        return (own.value - own.reference) / (other.value - other.reference)

    pooled, single = (share(measure) for measure in ("chi1_divergence", "chi1_divergence_one"))
    return (
        "chi1 divergence above the floor, interior, as a share of PULCHRA's: "
        f"{pooled:.2f} with all samples pooled, {single:.2f} with one sample"
    )


def given_sites(arguments: argparse.Namespace) -> SitesOf:
    """Return what gives commands the beads of a mapping, or C-alphas and further atoms."""
    if not arguments.beads:
        return functools.partial(sites_of_atoms, given=arguments.given)
    model = load_model("protein", torch.device(arguments.device))
    return Beads(load_mapping(arguments.beads), model, arguments.device, arguments.noise).sites


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark."""
    torch.set_num_threads(1)
    structures = read_structures(
        arguments.structures, arguments.longest, arguments.limit, arguments.noise, arguments.frames
    )
    commands = dict(arguments.command) | {
        name: COMMANDS[name].found_in(arguments.bin) for name in arguments.tools if name in COMMANDS
    }
    tools = []
    for name in [*arguments.tools, *(name for name, _ in arguments.command)]:
        start = time.perf_counter()
        samples = 1 if name in commands else arguments.samples
        if name in commands:
            tool = Tool(name, commands[name].rebuild(given_sites(arguments)))
        elif arguments.beads:
            mapping = load_mapping(arguments.beads)
            rebuild = backmap_beads(name, samples, arguments.device, mapping, arguments.noise)
            tool = Tool(name, rebuild, time.perf_counter() - start)
        else:
            rebuild = backmap_model(name, samples, arguments.device, arguments.given)
            tool = Tool(name, rebuild, time.perf_counter() - start)
        tools.append(tool)
        tool.run(structures, samples, energies=arguments.energies)
    scores = [combine(tool.cards) for tool in tools]
    residues = sum(structure.topology.n_residues for structure in structures)
    beads = f"beads of {arguments.beads}" if arguments.beads else "C-alphas"
    noise = f", {beads}" + (f" with noise of {arguments.noise} nm" if arguments.noise else "")
    n_frames = sum(len(structure.c_alpha) for structure in structures)
    frames = f", {n_frames} frames" if n_frames > len(structures) else ""
    print(f"{len(structures)} structures{frames}, {residues} residues, {arguments.samples} samples{noise}\n")
    print(table(tools, scores))
    named = {tool.name: card for tool, card in zip(tools, scores, strict=True)}
    compared = "pulchra" in named and "chi1_recovery" in named["pulchra"].measures
    for name in set(named) - set(commands) if compared else ():
        print(f"\n{name}: {above_floor(named[name], named['pulchra'])}")
    for tool in tools:
        print(*(f"\n{tool.name} failed on {failure}" for failure in tool.failed), sep="", end="")
    if arguments.json:
        results = {name: card.to_dict() for name, card in named.items()}
        for tool in tools:
            results[tool.name]["residues_per_second"], results[tool.name]["start_up"] = tool.speed
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def named_command(text: str) -> tuple[str, Command]:
    """Read NAME=COMMAND."""
    name, _, template = text.partition("=")
    if not name or "{input}" not in template or "{output}" not in template:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=COMMAND with {{input}} and {{output}} in it")
    return name, Command.parse(template)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--structures",
        type=Path,
        nargs="+",
        default=[Path("../shared/data/pdb/test-dev")],
        help="files, or folders of PDB files (default ../shared/data/pdb/test-dev)",
    )
    parser.add_argument("--frames", type=int, default=1, help="frames of each file (default 1)")
    parser.add_argument("--samples", type=int, default=5, help="samples of each structure (default 5)")
    parser.add_argument("--limit", type=int, help="only so many structures, in the order of their names")
    parser.add_argument("--longest", type=int, help="only structures of up to so many residues")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tools", nargs="+", default=["protein", "diamondback", "pulchra", "pulchra-fixed"])
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        type=named_command,
        metavar="NAME=COMMAND",
        help="another tool; {input} and {output} in the command stand for the PDB files it reads and writes",
    )
    parser.add_argument("--bin", type=Path, help="folder of the programs of other tools (default: PATH)")
    parser.add_argument("--energies", action="store_true", help="measure the strain of residues as well")
    parser.add_argument("--given", choices=list(GIVEN), help="atoms the protein model gets besides C-alphas")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="nm of noise on C-alphas or beads (default 0)"
    )
    parser.add_argument("--beads", help="a bead mapping that tools build from, instead of C-alphas")
    parser.add_argument("--json", type=Path, help="write all scorecards here")
    parsed = parser.parse_args(arguments)
    if parsed.noise and parsed.given:
        parser.error("--noise moves C-alphas away from the atoms that --given gives: choose one")
    return parsed


if __name__ == "__main__":
    sys.exit(run(parse()))
