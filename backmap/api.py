"""The Python side of ``backmap reconstruct``: choose a model and a device, build atoms."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backmap.errors import InputError

if TYPE_CHECKING:
    import mdtraj
    import torch

    from backmap.chemistry import Topology
    from backmap.inference.frame_stream import Reconstructor

DEFAULT_MODEL = "protein"
MAX_SEED = 2**63 - 1
_WEIGHTS = Path(__file__).with_name("weights")


@dataclass(frozen=True)
class ShippedModel:
    """A model that comes with backmap: its name, its weights and its card."""

    name: str
    path: Path

    @property
    def card(self) -> str:
        """The model card, or an empty text where there is none."""
        card = self.path.with_suffix(".md")
        return card.read_text(encoding="utf-8") if card.exists() else ""

    @property
    def summary(self) -> str:
        """The first paragraph of the card below its title, on one line."""
        paragraphs = [text.strip() for text in self.card.split("\n\n")]
        first = next((text for text in paragraphs if text and not text.startswith("#")), "")
        return " ".join(first.split())


def shipped_models() -> dict[str, ShippedModel]:
    """List the models that come with backmap, by name."""
    return {path.stem: ShippedModel(path.stem, path) for path in sorted(_WEIGHTS.glob("*.safetensors"))}


def select_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device that is there."""
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {name}: unknown; use auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda: PyTorch finds no CUDA device on this machine; use --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def count_workers(device: torch.device, threads: int | None = None) -> int:
    """Say how many chunks of frames to build at once: one a processor core, or one on a GPU."""
    import torch

    return 1 if device.type != "cpu" else threads or torch.get_num_threads()


def require_model(model: str | PathLike[str]) -> Path:
    """Give the file of a model named by the user, or say which models there are."""
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)].path
    path = Path(model)
    if path.is_file():
        return path
    names = ", ".join(shipped) or "none"
    raise InputError(f"model {model}: neither a shipped model ({names}) nor a file; see `backmap models`")


def make_reconstructor(
    model: str | PathLike[str], topology: Topology, linked: np.ndarray, device: torch.device
) -> Reconstructor:
    """Load a model and make it ready for a topology.

    Parameters
    ----------
    model : str or path
        Name of a shipped model, or a file of weights.
    topology : Topology
        The residues to build.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    device : torch.device
        Where to compute.
    """
    path = require_model(model)
    from backmap.inference.all_at_once import AllAtOnce
    from backmap.models.checkpoint import load_model

    try:
        return AllAtOnce(load_model(str(path), device), topology, linked, device)
    except (OSError, ValueError) as error:
        raise InputError(" ".join(str(error).split())) from error


def reconstruct(
    trajectory: mdtraj.Trajectory | str | PathLike[str],
    *,
    top: str | PathLike[str] | None = None,
    model: str | PathLike[str] = DEFAULT_MODEL,
    samples: int = 1,
    seed: int = 0,
    device: str = "auto",
    skip_unknown: bool = False,
) -> mdtraj.Trajectory | list[mdtraj.Trajectory]:
    """Build all heavy atoms on the C-alphas of a protein trajectory.

    Everything is held in memory; ``backmap reconstruct`` works on files of any length.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory or path
        C-alphas alone, or more atoms, of which the C-alphas are taken.
    top : path, optional
        Topology of a trajectory file that holds coordinates alone.
    model : str or path
        Name of a shipped model, or a file of weights.
    samples : int
        Independent structures to draw for each frame.
    seed : int
        Seed of the random numbers; the same seed gives the same atoms.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    skip_unknown : bool
        Leave out residues that cannot be built, with a warning, instead of refusing the input.

    Returns
    -------
    mdtraj.Trajectory or list of mdtraj.Trajectory
        All heavy atoms in nm, hydrogens left out; a list where more than one sample was asked for.

    Raises
    ------
    backmap.errors.InputError
        If the input cannot be used; the message says why and what to do.
    """
    from backmap.inference.frame_stream import build_frames, frames_per_chunk
    from backmap.io import AtomList, open_source, source_from_mdtraj, to_mdtraj

    _require_counts(samples, seed)
    if isinstance(trajectory, str | PathLike):
        source = open_source(trajectory, top, skip_unknown=skip_unknown)
    else:
        source = source_from_mdtraj(trajectory, skip_unknown=skip_unknown)
    place = select_device(device)
    reconstructor = make_reconstructor(model, source.topology, source.linked, place)
    chunks = source.chunks(frames_per_chunk(source.topology.residues, samples))
    workers = count_workers(place)
    built = list(build_frames(reconstructor, chunks, samples=samples, seed=seed, workers=workers))
    coordinates = np.concatenate([frames.coordinates for frames in built], axis=1)
    time = _joined([frames.time for frames in built])
    box = _joined([frames.unitcell_vectors for frames in built])
    atoms = AtomList.of_protein(source.topology, source.topology.atom_mask)
    results = [to_mdtraj(atoms, sample, time, box) for sample in coordinates]
    return results[0] if samples == 1 else results


def _require_counts(samples: int, seed: int) -> None:
    if samples < 1:
        raise InputError(f"samples {samples}: ask for at least 1")
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed}: use a whole number from 0 to {MAX_SEED}")


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Join what every chunk has, or give None where one has nothing."""
    return None if any(part is None for part in parts) else np.concatenate(parts)
