"""The Python side of ``backmap reconstruct``: choose a model and a device, build atoms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backmap.errors import InputError

if TYPE_CHECKING:
    import mdtraj
    import torch

    from backmap.inference.frame_stream import BuiltFrames, Reconstructor
    from backmap.inference.refinement import Refinement
    from backmap.io import AtomList, BeadSource, FrameChunk, Source
    from backmap.models.temporal.model import TemporalModel

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


def model_family(model: str | PathLike[str]) -> str:
    """Say which kind of model the user named: ``protein``, ``diamondback`` or ``temporal``."""
    from backmap.models.checkpoint import load_checkpoint

    with _explained():
        return load_checkpoint(require_model(model)).family


def load_model(model: str | PathLike[str], device: torch.device) -> torch.nn.Module:
    """Load the model the user named, ready for inference."""
    from backmap.models import checkpoint

    with _explained():
        return checkpoint.load_model(str(require_model(model)), device)


def make_reconstructor(
    model: str | PathLike[str],
    source: Source,
    device: torch.device,
    ddim_steps: int = 0,
    redraws: int | None = None,
) -> Reconstructor:
    """Load a model that builds any protein and make it ready for an input.

    Parameters
    ----------
    model : str or path
        Name of a shipped model, or a file of weights.
    source : Source
        The protein to build.
    device : torch.device
        Where to compute.
    ddim_steps : int
        Steps of the DDIM sampler, for DiAMoNDBack models; 0 for the published sampler.
    redraws : int, optional
        How often DiAMoNDBack draws a residue that overlaps again; by default what the model says.
    """
    from backmap.inference.all_at_once import AllAtOnce
    from backmap.inference.along_chain import AlongChain
    from backmap.models.diamondback.model import DiamondbackModel

    loaded = load_model(model, device)
    if not isinstance(loaded, DiamondbackModel):
        _refuse_sampling(model, ddim_steps, redraws)
        return AllAtOnce(loaded, source.topology, source.linked, device)
    if ddim_steps > loaded.config.steps:
        raise InputError(f"ddim-steps {ddim_steps}: {model} has {loaded.config.steps} steps; ask for fewer")
    try:
        return AlongChain(loaded, source.topology, source.linked, device, ddim_steps, redraws)
    except ValueError as error:
        raise InputError(f"{source.name}: {error}") from None


def _refuse_sampling(model: str | PathLike[str], ddim_steps: int, redraws: int | None) -> None:
    if ddim_steps:
        raise InputError(f"ddim-steps {ddim_steps}: only DiAMoNDBack models have steps, {model} has none")
    if redraws is not None:
        raise InputError(f"redraws {redraws}: only DiAMoNDBack models draw residues again, not {model}")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what is wrong with a model file into one sentence for the user."""
    try:
        yield
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
    ddim_steps: int = 0,
    redraws: int | None = None,
    refine: int = 0,
    temperature: float | None = None,
) -> mdtraj.Trajectory | list[mdtraj.Trajectory]:
    """Build all atoms of a coarse-grained trajectory: a protein without, a molecule with hydrogens.

    Everything is held in memory; ``backmap reconstruct`` works on files of any length.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory or path
        The model's beads alone (C-alphas for proteins), or more atoms, from which they are taken.
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
    ddim_steps : int
        DiAMoNDBack models: steps of the DDIM sampler, faster; 0 for the published sampler.
    redraws : int, optional
        DiAMoNDBack models: how often a residue that overlaps is drawn again; 0 as published, by default what
        the model says.
    refine : int
        Temporal models: steps of a simulation of every frame with its beads held; 0 for none.
    temperature : float, optional
        Of that simulation, in kelvin; by default that of the model's training data.

    Returns
    -------
    mdtraj.Trajectory or list of mdtraj.Trajectory
        All atoms in nm, a protein's without hydrogens; a list where more than one sample was asked for.

    Raises
    ------
    backmap.errors.InputError
        If the input cannot be used; the message says why and what to do.
    """
    _require_counts(samples, seed)
    if model_family(model) == "temporal":
        from backmap.rollout import make_refinement

        _refuse_sampling(model, ddim_steps, redraws)
        opened = _open_temporal(trajectory, top, model, device)
        refinement = make_refinement(opened[1], model, refine, temperature)
        results = _roll_out(*opened, samples, seed, refinement)
    else:
        if refine or temperature is not None:
            raise InputError(f"refine and temperature have a meaning for temporal models alone, not {model}")
        opened = _open_protein(trajectory, top, model, device, skip_unknown, ddim_steps, redraws)
        results = _build(*opened, samples, seed)
    return results[0] if samples == 1 else results


def _open_protein(
    trajectory: mdtraj.Trajectory | str | PathLike[str],
    top: str | PathLike[str] | None,
    model: str | PathLike[str],
    device: str,
    skip_unknown: bool,
    ddim_steps: int,
    redraws: int | None,
) -> tuple[Source, Reconstructor, int]:
    """Find the protein in a trajectory and make a model ready for it; say how many workers to use."""
    from backmap.io import open_source, source_from_mdtraj

    if isinstance(trajectory, str | PathLike):
        source = open_source(trajectory, top, skip_unknown=skip_unknown)
    else:
        source = source_from_mdtraj(trajectory, skip_unknown=skip_unknown)
    place = select_device(device)
    reconstructor = make_reconstructor(model, source, place, ddim_steps, redraws)
    return source, reconstructor, count_workers(place)


def _build(
    source: Source, reconstructor: Reconstructor, workers: int, samples: int, seed: int
) -> list[mdtraj.Trajectory]:
    """Build all frames of a protein, one trajectory a sample."""
    from backmap.inference.frame_stream import build_frames, frames_per_chunk
    from backmap.io import AtomList

    chunks = source.chunks(frames_per_chunk(source.topology.residues, samples))
    built = list(build_frames(reconstructor, chunks, samples=samples, seed=seed, workers=workers))
    atoms = AtomList.of_protein(source.topology, source.topology.atom_mask)
    return _trajectories(atoms, [frames.coordinates for frames in built], built)


def _open_temporal(
    trajectory: mdtraj.Trajectory | str | PathLike[str],
    top: str | PathLike[str] | None,
    model: str | PathLike[str],
    device: str,
) -> tuple[BeadSource, TemporalModel, torch.device]:
    """Load a temporal model and find its beads in a trajectory."""
    from backmap.io import beads_from_mdtraj, open_beads
    from backmap.rollout import check_source

    place = select_device(device)
    loaded = load_model(model, place)
    if isinstance(trajectory, str | PathLike):
        source = open_beads(trajectory, loaded.molecule, loaded.mapping, top)
    else:
        source = beads_from_mdtraj(trajectory, loaded.molecule, loaded.mapping)
    check_source(source, loaded)
    return source, loaded, place


def _roll_out(
    source: BeadSource,
    model: TemporalModel,
    device: torch.device,
    samples: int,
    seed: int,
    refinement: Refinement | None,
) -> list[mdtraj.Trajectory]:
    """Roll a temporal model along a trajectory, one trajectory a sample."""
    from backmap.inference.along_time import AlongTime
    from backmap.io import AtomList
    from backmap.rollout import roll_out

    roller = AlongTime(model, samples=samples, seed=seed, refinement=refinement, device=device)
    pieces = [piece for (piece,) in roll_out(roller, [source])]
    coordinates = [rolled.coordinates for _, rolled in pieces]
    return _trajectories(AtomList.of_molecule(model.molecule), coordinates, [read for read, _ in pieces])


def _trajectories(
    atoms: AtomList, coordinates: list[np.ndarray], frames: Sequence[BuiltFrames | FrameChunk]
) -> list[mdtraj.Trajectory]:
    """Join pieces (samples, frames, ..., 3) into one trajectory a sample, with the times and boxes read."""
    from backmap.io import to_mdtraj

    time = _joined([piece.time for piece in frames])
    box = _joined([piece.unitcell_vectors for piece in frames])
    return [to_mdtraj(atoms, sample, time, box) for sample in np.concatenate(coordinates, axis=1)]


def _require_counts(samples: int, seed: int) -> None:
    if samples < 1:
        raise InputError(f"samples {samples}: ask for at least 1")
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed}: use a whole number from 0 to {MAX_SEED}")


def _joined(parts: list[np.ndarray | None]) -> np.ndarray | None:
    """Join what every chunk has, or give None where one has nothing."""
    return None if any(part is None for part in parts) else np.concatenate(parts)
