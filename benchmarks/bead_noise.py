"""How well the noise of beads is noticed, on structures coarse-grained with noise of known size.

Run from the repository root::

    python benchmarks/bead_noise.py STRUCTURE ...

Prints a table in Markdown: for each mapping and noise, the share of frames (three per structure, one without
noise) in which noise is seen, and percentiles of what is seen. Incomplete residues are left out.
"""

from __future__ import annotations

import argparse
import functools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from backmap.chemistry import ATOM_MASK, SLOT_CA
from backmap.chemistry.bead_mapping import BeadLayout, load_mapping
from backmap.chemistry.topology import MAX_LINKED_CA_DISTANCE_NM, MIN_LINKED_CA_DISTANCE_NM
from backmap.io import open_source
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.beads.evidence import bead_table
from backmap.models.beads.rigid_distances import RigidDistances
from backmap.models.chain import Chain
from backmap.models.shipped import read_estimator

MAPPINGS = ("awsem", "sirah", "backbone", "c-alpha+c-beta", "martini2", "martini3", "residue-centre")
NOISES_NM = (0.0, 0.0124, 0.03)
PERCENTILES = (5, 50, 95)


def complete_residues(paths: Sequence[Path]) -> Iterator[tuple[np.ndarray, Chain]]:
    """Read atoms (residues, 15, 3) in nm near the origin, and the sequence, of each structure."""
    for path in paths:
        source = open_source(path)
        chunk = next(iter(source.chunks(1)))
        atoms = source.sites.in_slots(np.asarray(chunk.coordinates, dtype=np.float64))[0]
        types = source.topology.residue_types
        whole = (np.isfinite(atoms).all(axis=-1) | ~ATOM_MASK[types]).all(axis=1)
        atoms, types, index = atoms[whole], types[whole], source.topology.chain_index[whole]
        apart = np.linalg.norm(np.diff(atoms[:, SLOT_CA], axis=0), axis=-1)
        bonded = (apart > MIN_LINKED_CA_DISTANCE_NM) & (apart < MAX_LINKED_CA_DISTANCE_NM)
        linked = np.append(bonded & (index[1:] == index[:-1]), False)
        index = np.unique(index, return_inverse=True)[1].astype(np.int64)
        yield np.nan_to_num(atoms - atoms[0, SLOT_CA]), Chain.from_arrays(types, index, linked, "cpu")


@functools.cache
def estimator_of(mapping: str) -> CAlphaEstimator:
    """Return the shipped model that estimates C-alphas from the beads of a mapping."""
    estimator = read_estimator(load_mapping(mapping)).load(torch.device("cpu"))
    assert isinstance(estimator, CAlphaEstimator)
    return estimator


def seen(mapping: str, layout: BeadLayout, chain: Chain, beads: torch.Tensor) -> torch.Tensor:
    """Return the noise (frames,) in nm that is seen in beads (frames, beads, 3)."""
    table = bead_table(layout)
    if load_mapping(mapping).main_is_c_alpha:
        distances = RigidDistances()
        return distances.noise(beads, distances.find(table, chain))
    estimator = estimator_of(mapping)
    c_alpha, _ = estimator(beads, table, chain)
    return estimator.estimate_noise(beads, c_alpha, table, chain)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("structures", nargs="+", type=Path, metavar="STRUCTURE")
    warnings.simplefilter("ignore")
    structures = list(complete_residues(parser.parse_args().structures))
    print("| beads | noise, nm | seen in, % | seen, nm: 5 / 50 / 95 % |\n| --- | --- | --- | --- |")
    for mapping in MAPPINGS:
        for noise in NOISES_NM:
            generator, found = torch.Generator().manual_seed(0), []
            for atoms, chain in structures:
                layout = load_mapping(mapping).layout(chain.types.numpy())
                exact = torch.from_numpy(layout.image(atoms[None])).float()
                shape = 3 if noise else 1, *exact.shape[1:]
                with torch.inference_mode():
                    beads = exact + noise * torch.randn(shape, generator=generator)
                    found.append(seen(mapping, layout, chain, beads))
            every = torch.cat(found).numpy()
            low, middle, high = np.percentile(every, PERCENTILES)
            share = 100 * (every > 0).mean()
            print(
                f"| {mapping} | {noise} | {share:.1f} | {low:.4f} / {middle:.4f} / {high:.4f} |", flush=True
            )


if __name__ == "__main__":
    main()
