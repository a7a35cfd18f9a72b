"""The Python side of ``backmap reconstruct``: choose a model and a device, build atoms."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backmap.errors import InputError, InputWarning
from backmap.limits import shown
from backmap.options import check_arguments, is_path
from backmap.usual_settings import usual_settings

if TYPE_CHECKING:
    import mdtraj
    import torch

    from backmap.inference.rollout_job import RolloutJob
    from backmap.io import AtomList, FrameChunk
    from backmap.models.checkpoint import ModelFile
    from backmap.runs.protein_plan import ProteinOptions

DEFAULT_MODEL = "protein"
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

    check_arguments(device=name)
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


def read_model(model: str | PathLike[str]) -> ModelFile:
    """Read the model the user named; its family is known then."""
    from backmap.models.checkpoint import ModelFile, read_model_file

    file = ModelFile(str(model), read_model_file(require_model(model)))
    _ = file.family
    return file


def load_model(model: str | PathLike[str], device: torch.device) -> torch.nn.Module:
    """Load the model the user named, ready for inference."""
    return read_model(model).load(device)


def reconstruct(
    trajectory: mdtraj.Trajectory | str | PathLike[str],
    *,
    top: str | PathLike[str] | None = None,
    model: str | PathLike[str] = DEFAULT_MODEL,
    samples: int = 1,
    seed: int = 0,
    device: str = "auto",
    skip_unknown: bool = False,
    keep_given: bool = False,
    ddim_steps: int = 0,
    redraws: int | None = None,
    c_alphas: str = "auto",
    bead_noise: float | None = None,
    hydrogens: bool = False,
    ph: float = 7.0,
    minimise: int = 0,
    refine: int = 0,
    temperature: float | None = None,
    sequence: str | PathLike[str] | None = None,
) -> mdtraj.Trajectory | list[mdtraj.Trajectory]:
    """Build all atoms of a coarse-grained trajectory; a protein gets hydrogens if they are asked for.

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
    keep_given : bool
        Protein model: leave all atoms that the input has where they are, and build those that are missing.
    ddim_steps : int
        DiAMoNDBack models: steps of the DDIM sampler, faster; 0 for the published sampler.
    redraws : int, optional
        DiAMoNDBack models: how often a residue that overlaps is drawn again; 0 as published, by default what
        the model says.
    c_alphas : str
        Proteins: ``keep`` leaves C-alphas exactly where they are, ``relax`` takes them for noisy beads and
        draws C-alphas near them, ``auto`` does so in frames whose bonds, angles and dihedrals are not those
        of C-alphas. Crystal structures and atomistic simulations stay as they are.
    bead_noise : float, optional
        Proteins: standard deviation in nm of a coordinate of a bead; by default it is estimated.
    hydrogens : bool
        Proteins: add the hydrogens there are at a pH, chosen by OpenMM.
    ph : float
        That pH.
    minimise : int
        Proteins with hydrogens: iterations of a minimisation of every frame, while its C-alphas stay.
    refine : int
        Temporal models: steps of a simulation of every frame with its beads held; 0 for none.
    temperature : float, optional
        Of that simulation, in kelvin; by default that of the model's training data.
    sequence : path, optional
        Proteins: FASTA file that says which amino acids the residues are, a record per chain.

    Returns
    -------
    mdtraj.Trajectory or list of mdtraj.Trajectory
        All atoms in nm; a list where more than one sample was asked for.

    Raises
    ------
    backmap.errors.InputError
        If the input cannot be used; the message says why and what to do.
    """
    request = check_request(
        model=model,
        device=device,
        samples=samples,
        seed=seed,
        skip_unknown=skip_unknown,
        keep_given=keep_given,
        ddim_steps=ddim_steps,
        redraws=redraws,
        c_alphas=c_alphas,
        bead_noise=bead_noise,
        hydrogens=hydrogens,
        ph=ph,
        minimise=minimise,
        refine=refine,
        temperature=temperature,
        sequence=sequence,
    )
    _require_trajectory(trajectory, top)
    with usual_settings():
        if request.rollout is not None:
            results = _roll_out(trajectory, top, request.rollout, request.device)
        else:
            results = _build(trajectory, top, request)
    return results[0] if request.options.samples == 1 else results


class Request(NamedTuple):
    """What is asked for in Python, having been checked.

    Attributes
    ----------
    model : ModelFile
        What builds.
    device : torch.device
        Where.
    names : dict
        How residues get their names: ``skip_unknown`` and ``sequence``.
    options : ProteinOptions
        How a protein is built.
    rollout : RolloutJob or None
        How a temporal model, if it is one, is rolled.
    """

    model: ModelFile
    device: torch.device
    names: dict[str, Any]
    options: ProteinOptions
    rollout: RolloutJob | None


@usual_settings()
def check_request(**given: Any) -> Request:
    """Check the arguments that :func:`reconstruct` and its twin for streams share.

    Raises
    ------
    InputError
        If one cannot be used, or has no meaning for the model.
    """
    from backmap.inference.rollout_job import RolloutJob
    from backmap.runs.protein_plan import ProteinOptions

    checked = check_arguments(**given)
    options = ProteinOptions(**{field.name: checked[field.name] for field in fields(ProteinOptions)})
    names = {name: checked[name] for name in ("skip_unknown", "sequence")}
    model, refine, temperature = checked["model"], checked["refine"], checked["temperature"]
    file, device = read_model(model), select_device(checked["device"])
    rollout = None
    if file.family == "temporal":
        _refuse_for_temporal(file.name, options, names)
        rollout = RolloutJob(file, options.samples, options.seed, refine, temperature)
    elif refine or temperature is not None:
        raise InputError(f"refine and temperature have a meaning for temporal models alone, not {model}")
    return Request(file, device, names, options, rollout)


def _require_trajectory(trajectory: Any, top: Any) -> None:
    """Refuse what is neither a trajectory nor the name of a file, and a topology where one is known."""
    import mdtraj

    check_arguments(top=top)
    if isinstance(trajectory, mdtraj.Trajectory):
        if top is not None:
            raise InputError(f"top {shown(top)}: an mdtraj.Trajectory has a topology already; leave it out")
    elif not is_path(trajectory):
        raise InputError(f"trajectory is {shown(trajectory)}; give an mdtraj.Trajectory or a file")


def _build(
    trajectory: mdtraj.Trajectory | str | PathLike[str],
    top: str | PathLike[str] | None,
    request: Request,
) -> list[mdtraj.Trajectory]:
    """Build all frames of a protein, one trajectory a sample."""
    from backmap.cluster import LocalWorkers
    from backmap.io import open_source, source_from_mdtraj
    from backmap.runs.c_alpha_record import CAlphaRecord, describe_cis
    from backmap.runs.frames import build_frames, frames_per_batch
    from backmap.runs.protein_plan import ProteinPlan

    if isinstance(trajectory, str | PathLike):
        source = open_source(trajectory, top, **request.names)
    else:
        source = source_from_mdtraj(trajectory, **request.names)
    device, samples = request.device, request.options.samples
    count = count_workers(device)
    chunks = source.chunks(frames_per_batch(source.topology.residues, samples, device, count))
    plan = ProteinPlan.make(source, request.model, request.options)
    with LocalWorkers(plan.job, device, count) as workers:
        built = list(build_frames(workers, chunks, plan.kept, samples))
    record = sum((frames.c_alphas for frames in built), CAlphaRecord())
    if cis := describe_cis(record.summary(source.topology)):
        warnings.warn(f"{source.name}: {cis}", InputWarning, stacklevel=3)
    pieces = [frames.coordinates for frames in built]
    return _trajectories(plan.atoms, pieces, [frames.chunk for frames in built])


def _roll_out(
    trajectory: mdtraj.Trajectory | str | PathLike[str],
    top: str | PathLike[str] | None,
    job: RolloutJob,
    device: torch.device,
) -> list[mdtraj.Trajectory]:
    """Roll a temporal model along a trajectory, one trajectory a sample."""
    from backmap.cluster import LocalWorkers
    from backmap.io import AtomList, beads_from_mdtraj, open_beads
    from backmap.runs.rollout import Rollout, check_source, plan_strands

    model = job.load("cpu")
    if isinstance(trajectory, str | PathLike):
        source = open_beads(trajectory, model.molecule, model.mapping, top)
    else:
        source = beads_from_mdtraj(trajectory, model.molecule, model.mapping)
    check_source(source, model)
    rollout = Rollout(model, [source], plan_strands([source.frames]), samples=job.samples, device=device)
    with LocalWorkers(job, device, threads=count_workers(device)) as workers:
        pieces = [piece for _, (piece,), _ in rollout.run(workers)]
    coordinates = [piece.rolled.coordinates for piece in pieces]
    return _trajectories(AtomList.of_molecule(model.molecule), coordinates, [piece.chunk for piece in pieces])


def _trajectories(
    atoms: AtomList, coordinates: list[np.ndarray], frames: Sequence[FrameChunk]
) -> list[mdtraj.Trajectory]:
    """Join pieces (samples, frames, ..., 3) into one trajectory a sample, with the times and boxes read."""
    from backmap.io import to_mdtraj
    from backmap.io.structure_file import joined_boxes, joined_where_known

    time = joined_where_known([piece.time for piece in frames])
    box = joined_boxes([piece.unitcell_vectors for piece in frames], [len(piece) for piece in frames])
    return [to_mdtraj(atoms, sample, time, box) for sample in np.concatenate(coordinates, axis=1)]


def _refuse_for_temporal(name: str, options: ProteinOptions, names: dict[str, Any]) -> None:
    """Refuse options that have no meaning for a temporal model."""
    from backmap.inference.protein_job import refuse_sampling

    given = {
        "keep_given": options.keep_given,
        "bead_noise": options.bead_noise,
        "hydrogens": options.hydrogens,
        "minimise": options.minimise,
        "c_alphas": options.c_alphas != "auto",
        "sequence": names["sequence"] is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise InputError(f"{option}: has no meaning for a temporal model such as {name}")
    refuse_sampling(name, options.ddim_steps, options.redraws)
