"""Quality and speed of backmap and of PULCHRA on experimental structures, rebuilt from their C-alphas.

Run from the repository root::

    python benchmarks/quality.py --structures ../shared/data/pdb/test-dev --samples 5

Every tool gets the C-alphas of the same structures and is judged by the same measures (docs/evaluation.md)
against the deposited atoms. Prints a table in Markdown; speeds are of one thread, without start-up.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from backmap.chemistry import ATOM_SLOTS, SLOT_CA, SLOT_OXT, Topology
from backmap.chemistry.residues import HEAVY_ATOMS
from backmap.evaluation import MEASURES, Scorecard, combine, score
from backmap.evaluation.scorecard import format_estimate, format_title, format_value
from backmap.io.reader import Source, open_source

DETERMINISTIC_COPIES = 2
"""A tool that always gives one answer is scored with copies of it, so that its diversity is 1."""


@dataclass(frozen=True)
class Structure:
    """A deposited structure: atoms (1, residues, 15, 3) in nm with a mask (residues, 15)."""

    name: str
    topology: Topology
    atoms: np.ndarray
    present: np.ndarray
    linked: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Structure:
        """Read the first frame of a file."""
        source: Source = open_source(path)
        atoms = next(iter(source.chunks(1))).coordinates
        return cls(path.name.split(".")[0], source.topology, atoms, source.present, source.linked)

    @property
    def c_alpha(self) -> np.ndarray:
        """(1, residues, 3) nm."""
        return self.atoms[:, :, SLOT_CA]


Rebuild = Callable[[Structure], tuple[np.ndarray, np.ndarray]]
"""Structure to samples, (samples, 1, residues, 15, 3) nm, and the atoms built, (residues, 15) bool."""


@dataclass
class Tool:
    """A tool under test, with what it reached so far."""

    name: str
    rebuild: Rebuild
    residues: int = 0
    seconds: float = 0.0
    cards: list[Scorecard] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self, structure: Structure, samples: int) -> None:
        """Rebuild and score one structure; ``samples`` is what the tool builds in one call, for its speed."""
        start = time.perf_counter()
        try:
            atoms, present = self.rebuild(structure)
        except RuntimeError as error:
            self.failed.append(f"{structure.name}: {error}")
            return
        self.seconds += time.perf_counter() - start
        self.residues += structure.topology.residues * samples
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
                name=structure.name,
            )
        )


def pulchra(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Rebuild with PULCHRA, chain by chain, because it stops at the end of the first.

    Across a break in a chain it draws the C-alphas together. Given the pieces apart it leaves them in place,
    but then its side chains do not see each other and it clashes twice as often; so it gets whole chains.
    """
    import pypulchra

    atoms = np.full((structure.topology.residues, ATOM_SLOTS, 3), np.nan)
    for chain in np.unique(structure.topology.chain_index):
        rows = np.flatnonzero(structure.topology.chain_index == chain)
        _place_pdb_atoms(pypulchra.run_from_pdb_str(_c_alpha_pdb(structure, rows)).pdb_str, rows, atoms)
    return atoms[None, None], np.isfinite(atoms[..., 0])


def pulchra_fixed(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Rebuild with PULCHRA, then put the C-alphas back where they were."""
    atoms, present = pulchra(structure)
    atoms[..., SLOT_CA, :] = structure.c_alpha
    present[:, SLOT_CA] = True
    return atoms, present


def _c_alpha_pdb(structure: Structure, rows: np.ndarray) -> str:
    """Write C-alphas as PDB text, residues numbered from 1."""
    return "".join(
        f"ATOM  {number % 100000:5d}  CA  {structure.topology.residue_name(row)} A{number:4d}    "
        "{:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C\n".format(*(10.0 * structure.c_alpha[0, row]))
        for number, row in enumerate(rows, 1)
    )


def _place_pdb_atoms(text: str, rows: np.ndarray, atoms: np.ndarray) -> None:
    """Put the atoms of PDB text, residues numbered from 1, into their slots; nm."""
    for line in text.splitlines():
        if not line.startswith("ATOM"):
            continue
        name, residue = line[12:16].strip(), line[17:20]
        slot = SLOT_OXT if name == "OXT" else HEAVY_ATOMS[residue].index(name)
        position = [float(line[first : first + 8]) / 10.0 for first in (30, 38, 46)]
        atoms[rows[int(line[22:26]) - 1], slot] = position


def backmap_model(model: str, samples: int, device: str) -> Rebuild:
    """Make backmap rebuild with a shipped or trained model."""
    from backmap.api import require_model
    from backmap.inference.all_at_once import AllAtOnce
    from backmap.models.checkpoint import load_model

    loaded = load_model(require_model(model))

    def rebuild(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
        c_alpha = torch.tensor(structure.c_alpha, dtype=torch.float32)
        engine = AllAtOnce(loaded, structure.topology, structure.linked, device)
        atoms = engine.reconstruct(c_alpha, first_frame=0, samples=samples, seed=0)
        return atoms.cpu().numpy(), structure.topology.atom_mask

    return rebuild


def table(tools: list[Tool], scores: list[Scorecard]) -> str:
    """Write a Markdown table: a row a measure, a column a tool, and the reference (or floor) last."""
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
    speeds = [f"{tool.residues / tool.seconds:.0f}" for tool in tools]
    lines.append(f"| residues/s, one thread | {' | '.join(speeds)} | - |")
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


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark."""
    torch.set_num_threads(1)
    paths = sorted(arguments.structures.glob("*.pdb*"))[: arguments.limit]
    samples_of = {"backmap": arguments.samples}
    makers: dict[str, Callable[[], Rebuild]] = {
        "backmap": lambda: backmap_model(arguments.model, arguments.samples, arguments.device),
        "pulchra": lambda: pulchra,
        "pulchra-fixed": lambda: pulchra_fixed,
    }
    tools = [Tool(name, makers[name]()) for name in arguments.tools]
    for path in tqdm(paths, unit="structure", disable=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = Structure.read(path)
        for tool in tools:
            tool.run(structure, samples_of.get(tool.name, 1))
    scores = [combine(tool.cards) for tool in tools]
    print(f"{len(paths)} structures, {scores[0].residues} residues, {arguments.samples} samples\n")
    print(table(tools, scores))
    named = dict(zip(arguments.tools, scores, strict=True))
    if {"backmap", "pulchra"} <= set(named):
        print(f"\n{above_floor(named['backmap'], named['pulchra'])}")
    for tool in tools:
        print(*(f"\n{tool.name} failed on {failure}" for failure in tool.failed), sep="", end="")
    if arguments.json:
        results = {name: card.to_dict() for name, card in named.items()}
        for tool in tools:
            results[tool.name]["residues_per_second"] = tool.residues / tool.seconds
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--structures", type=Path, default=Path("../shared/data/pdb/test-dev"))
    parser.add_argument("--samples", type=int, default=5, help="samples of each structure (default 5)")
    parser.add_argument("--limit", type=int, help="only so many structures, in the order of their names")
    parser.add_argument("--model", default="protein", help="a shipped model or a file (default protein)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--tools",
        nargs="+",
        choices=("backmap", "pulchra", "pulchra-fixed"),
        default=("backmap", "pulchra", "pulchra-fixed"),
    )
    parser.add_argument("--json", type=Path, help="write all scorecards here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(parse()))
