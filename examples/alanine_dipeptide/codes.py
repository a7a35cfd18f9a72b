"""Do latent codes say anything about the energy? What several losses make of them, in one table.

    python codes.py train.dcd --epochs 20 -o codes

Trains the model of `config.toml` once for each loss below (finished ones are kept), on all but the last 5 %
of the trajectory, and prints for the rest: how many dimensions of the code are used (more than 0.05 nats),
the correlation of their leading principal component with the potential energy, the share of the energy's
variance that all dimensions explain together in a linear fit to the other half of the frames, and the
energies of frames that are drawn one step after true frames.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import torch

from backmap.evaluation.distributions import compare
from backmap.evaluation.latent_codes import correlate_with_energy
from backmap.models.shipped import load_model
from backmap.models.temporal.model import TemporalModel
from backmap.physics import potential_from_files

HERE = Path(__file__).parent
FORCE_FIELD = ("amber99sbildn.xml", "amber99_obc.xml")
ENERGY = f"[energy]\nforce_field = {list(FORCE_FIELD)}\n"
RISE = "[training.energy_schedule]\nstart_step = 500\nrise_steps = 500\ngradient_clip = 10.0\nlimit = 5.0\n"
LOSSES = {
    "likelihood and divergence (as shipped)": "",
    "free bits, 0.2 nats per dimension": "free_nats = 0.2\n",
    "a tenth of the divergence": "divergence = 0.1\n",
    "cyclic annealing": "[training.divergence_schedule]\ncycles = 4\nsteps_per_cycle = 400\n",
    "energy loss": f"energy = 1.0\n{RISE}{ENERGY}",
    "energy loss and free bits": f"energy = 1.0\nfree_nats = 0.2\n{RISE}{ENERGY}",
}
"""What is added to the end of `config.toml`, which is the table of the losses' weights."""

HELD_OUT = 0.05
USED_NATS = 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trajectory", type=Path, help="DCD file of all atoms, 1 ps per frame")
    parser.add_argument("--top", type=Path, default=HERE / "alanine_dipeptide.pdb", help="(%(default)s)")
    parser.add_argument("--epochs", type=int, default=20, help="(%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=Path("codes"), help="folder (%(default)s)")
    arguments = parser.parse_args()
    frames = torch.from_numpy(mdtraj.load(str(arguments.trajectory), top=str(arguments.top)).xyz)
    frames = frames[-round(HELD_OUT * len(frames)) :]
    energy = potential_from_files(mdtraj.load_topology(str(arguments.top)), FORCE_FIELD).float()
    print("| loss | dimensions used | correlation of the leading one | energy explained by all, % |", end="")
    print(" energy of draws, kJ/mol | its divergence |\n| --- | --- | --- | --- | --- | --- |")
    for number, (name, added) in enumerate(LOSSES.items(), start=1):
        model = train(added, arguments, arguments.output / str(number))
        print(f"| {name} | {judge(model, frames, energy)} |", flush=True)
    return 0


def train(added: str, arguments: argparse.Namespace, folder: Path) -> TemporalModel:
    """Train a model unless it is there."""
    weights = folder / "temporal.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    text = (HERE / "config.toml").read_text()
    text = text.replace('"train.dcd"', f'"{arguments.trajectory.resolve()}"')
    text = text.replace('"alanine_dipeptide.pdb"', f'"{arguments.top.resolve()}"')
    text = re.sub(r"(?m)^epochs = .*$", f"epochs = {arguments.epochs}", text)
    config = folder / "config.toml"
    config.write_text(text.rstrip() + "\n" + added)
    command = [
        Path(sys.executable).with_name("backmap"),
        "train",
        "temporal",
        config,
        "-o",
        folder,
        "--resume",
    ]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    model = load_model(weights, torch.device("cpu"))
    assert isinstance(model, TemporalModel)
    return model.eval()


@torch.inference_mode()
def judge(model: TemporalModel, frames: torch.Tensor, energy: torch.nn.Module) -> str:
    """The rest of a model's row."""
    history = model.config.previous_frames
    frame, number = frames[history:], torch.arange(history, len(frames))
    previous = torch.stack([frames[number - back] for back in range(history, 0, -1)], dim=1)
    beads = model.beads_of(frame)
    mean, log_variance = model.autoencoder.encode(model.autoencoder.observe(frame, beads, previous))
    nats = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)
    generator = torch.Generator().manual_seed(1)
    uniforms = torch.rand(len(frame), model.uniforms_per_frame, generator=generator)
    true, drawn = (energy(atoms).numpy() for atoms in (frame, model.step(beads, previous, uniforms)))
    energies = compare(true, drawn)
    leading = correlate_with_energy(mean.numpy(), true)
    return (
        f"{int((nats > USED_NATS).sum())} of {len(nats)} | {leading.correlation:.3f} | "
        f"{100 * explained(mean.double().numpy(), true):.1f} | "
        f"{energies.mean['sample']:.1f} ± {energies.deviation['sample']:.1f} "
        f"(simulation {energies.mean['reference']:.1f} ± {energies.deviation['reference']:.1f}) | "
        f"{energies.divergence:.3f} (floor {energies.floor:.3f})"
    )


def explained(codes: np.ndarray, energies: np.ndarray) -> float:
    """Share of the variance in the second half of the frames that a fit to the first half predicts."""
    half = len(codes) // 2
    known = np.column_stack([codes, np.ones(len(codes))])
    fit, *_ = np.linalg.lstsq(known[:half], energies[:half], rcond=None)
    left = energies[half:] - known[half:] @ fit
    return float(1 - left.var() / energies[half:].var())


if __name__ == "__main__":
    sys.exit(main())
