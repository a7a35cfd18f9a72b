"""How fast is a C++ program with an exported model, beside the Python path: start-up, and frames one by one?

The program is examples/cpp_embedding, built here against the installed package. Its start-up is the time from
``main`` until the first structure is built, reading and compiling the model included; what the system needs
to load libtorch comes before.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path

import mdtraj
import numpy as np
import torch
from compare import Timing, arguments, every, measure, report

from backmap._native import library_path
from backmap.cli.main import main as command
from backmap.inference.protein import ProteinBuilder
from backmap.io import source_from_mdtraj
from backmap.models.shipped import load_model

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "2bf5.pdb.gz"
RUNS = 5
SAID = re.compile(r"first built after ([0-9.]+) s, then ([0-9.]+) residues/s")


def build_program(folder: Path) -> Path:
    """Build the C++ example."""
    configure = ["cmake", "-S", ROOT / "examples/cpp_embedding", "-B", folder]
    configure.append(f"-DCMAKE_PREFIX_PATH={library_path().parent}")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for step in (configure, ["cmake", "--build", folder, "--target", "all_atoms"]):
        subprocess.run(step, check=True, stdout=subprocess.DEVNULL, env=environment)
    return folder / "all_atoms"


def run_program(
    program: Path, model: Path, structure: Path, options: Namespace
) -> tuple[list[float], list[float]]:
    """Seconds until the first structure, and residues a second from then on, of several runs."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    words = [program, model, structure, os.devnull, "0", str(max(3, int(10 * options.seconds)))]
    starts, rates = [], []
    for _ in range(RUNS):
        said = subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout
        start, rate = SAID.search(said).groups()
        starts.append(float(start))
        rates.append(float(rate))
    return starts, rates


def timing(name: str, seconds: list[float], items: int) -> Timing:
    """What several runs took."""
    lower, median, upper = statistics.quantiles(seconds, n=4)
    return Timing(name, median, lower, upper, items)


def compare(program: Path, model: Path, structure: Path, options: Namespace) -> None:
    """Time both on one structure."""
    source = source_from_mdtraj(mdtraj.load(str(structure)))
    (chunk,) = source.chunks(1)
    c_alpha = torch.from_numpy(np.asarray(chunk.coordinates[:, source.sites.leaders], dtype=np.float32))
    engine = ProteinBuilder(load_model("protein", torch.device("cpu")), source.topology, source.linked)
    frame = partial(engine.reconstruct, c_alpha, numbers=torch.zeros(1, dtype=torch.int64), samples=1, seed=0)
    residues = source.topology.n_residues
    starts, rates = run_program(program, model, structure, options)
    timings = [
        timing("C++", [residues / rate for rate in rates], residues),
        measure("Python", frame, residues, options),
    ]
    report("183 residues, frame by frame", timings, "residues", options)
    report("start of the C++ program", [timing("C++", starts, 1)], "starts", options)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        program, model, structure = None, Path(folder, "model.ts"), Path(folder, "structure.pdb")
        for options in every(arguments(__doc__)):
            if options.device != "cpu":
                print("the C++ example computes on the CPU alone")
                continue
            if program is None:
                program = build_program(Path(folder, "build"))
                command(["export", "protein", "-o", str(model), "--quiet"])
                mdtraj.load(str(EXAMPLE)).save_pdb(str(structure))
            compare(program, model, structure, options)


if __name__ == "__main__":
    main()
