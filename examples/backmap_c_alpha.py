"""Build all atoms of a C-alpha trajectory from Python, two structures a frame, and write the first."""

from __future__ import annotations

import sys
from pathlib import Path

import mdtraj

import backmap

HERE = Path(__file__).parent


def main(output: str = "ww_all_atoms.pdb") -> None:
    """Read the C-alphas, build atoms, say how many, write one sample."""
    c_alpha = mdtraj.load(HERE / "ww_c_alpha.xtc", top=HERE / "ww_c_alpha.pdb")
    first, _ = backmap.reconstruct(c_alpha, samples=2, seed=0)
    print(f"{c_alpha.n_atoms} C-alphas became {first.n_atoms} atoms in each of {first.n_frames} frames")
    first.save(output)


if __name__ == "__main__":
    main(*sys.argv[1:2])
