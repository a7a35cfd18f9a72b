"""Choose the windows of the shipped library of nucleic acids from the trajectories of ``simulate.py``.

python examples/nucleic_acids/make_library.py simulations -o nucleic-acids.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from backmap.chemistry.nucleotides import SLOT_C1
from backmap.datasets.nucleic_windows import most_different, read_windows
from backmap.models.checkpoint import Checkpoint, save_checkpoint
from backmap.models.nucleic.library import KINDS, NM_PER_UNIT, WINDOW


def main() -> None:
    """Choose windows and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("simulations", type=Path, help="folder of trajectories; those held out are left out")
    parser.add_argument("-o", "--output", type=Path, default=Path("nucleic-acids.safetensors"))
    parser.add_argument("--windows", type=int, default=1200, help="windows of DNA, and of RNA")
    given = parser.parse_args()
    used = [path for path in sorted(given.simulations.glob("*.dcd")) if "held-out" not in path.stem]
    tensors, config, seen = {}, {}, {}
    for kind in KINDS:
        windows = read_windows([(path, path.with_suffix(".pdb")) for path in used], kind)
        chosen, counts = most_different(windows, given.windows)
        kept = torch.from_numpy(windows[chosen])
        kept = kept - kept[:, WINDOW // 2, SLOT_C1, None, None]
        tensors[f"{kind}_windows"] = (kept / NM_PER_UNIT).round().to(torch.int16)
        tensors[f"{kind}_counts"] = torch.from_numpy(counts).to(torch.int32)
        config[f"n_{kind}"], seen[kind] = len(chosen), len(windows)
        print(f"{kind}: {len(chosen)} of {len(windows)} windows")
    provenance = {"trajectories": [path.name for path in used], "windows": seen}
    save_checkpoint(given.output, Checkpoint("nucleic", config, tensors, provenance))


if __name__ == "__main__":
    main()
