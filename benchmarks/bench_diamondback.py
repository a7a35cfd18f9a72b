"""How fast does DiAMoNDBack remove noise: the compact network, and the published one here and in plain form?

One residue in each of many frames, or in one. A residue takes 50 such steps (as many as asked for with DDIM).
The compact network takes them in one call, its reading of the environment included, or one by one in PyTorch,
as in training. A residue's environment and its random numbers, both once a residue, are timed by themselves.
"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report
from torch import Tensor
from torch.nn import functional

from backmap.chemistry import ATOM_SLOTS
from backmap.models.chain import Chain
from backmap.models.diamondback import denoiser
from backmap.models.diamondback.config import DiamondbackConfig, Network
from backmap.models.diamondback.layout import POINTS, Pass
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.diamondback.representation import Sites, describe

RESIDUES = 100


def environments(frames: int, device: str) -> tuple[Tensor, Chain]:
    """Atoms (frames, residues, 15, 3) of made-up compact chains, about as dense as proteins are."""
    side = (RESIDUES / 8.0) ** (1 / 3)  # eight residues a cubic nanometre
    centres = side * torch.rand(frames, RESIDUES, 1, 3)
    atoms = centres + 0.2 * torch.randn(frames, RESIDUES, ATOM_SLOTS, 3)
    linked = torch.ones(RESIDUES, dtype=torch.bool)
    linked[-1] = False
    types, chain_index = torch.randint(0, 20, (RESIDUES,)), torch.zeros(RESIDUES, dtype=torch.int64)
    chain = Chain(types.to(device), chain_index.to(device), linked.to(device))
    return atoms.to(device), chain


def describe_one(atoms: Tensor, chain: Chain) -> Sites:
    """The residue in the middle of each frame."""
    residue = torch.full((len(atoms),), RESIDUES // 2, device=atoms.device)
    kind = torch.full_like(residue, Pass.INTERIOR)
    present = torch.ones(1, RESIDUES, ATOM_SLOTS, dtype=torch.bool, device=atoms.device)
    return describe(atoms, present, chain, residue, kind)[0]


def published(device: str) -> DiamondbackModel:
    """The published network, untrained: as fast as a trained one."""
    return DiamondbackModel(DiamondbackConfig(Network.UNET.value)).to(device).eval()


def compact(device: str) -> DiamondbackModel:
    """The compact network in the size that ships."""
    return DiamondbackModel(DiamondbackConfig(Network.COMPACT.value, scale_nm=0.2)).to(device).eval()


def denoise(model: DiamondbackModel, points: Tensor, step: Tensor, condition: Sites) -> Tensor:
    """One step of all residues."""
    return model.denoiser(points, step, condition)


def denoise_plainly(model: DiamondbackModel, points: Tensor, step: Tensor, condition: Sites) -> Tensor:
    """The same with every channel mixed by a convolution of width one."""
    mix = denoiser.mix_channels
    denoiser.mix_channels = lambda signal, weight: functional.conv1d(signal, weight.unsqueeze(-1))
    try:
        return denoise(model, points, step, condition)
    finally:
        denoiser.mix_channels = mix


def compare(frames: int, options: Namespace) -> None:
    atoms, chain = environments(frames, options.device)
    sites = describe_one(atoms, chain)
    points = torch.randn(frames, 3 * POINTS, device=options.device)
    step = torch.full((frames,), 10, device=options.device)
    small, large, plain = compact(options.device), published(options.device), published(options.device)
    plain.denoiser.train()  # plain: weights are standardised at every step
    known, prepared = small.denoiser.encode(sites), small.prepare()
    normals = torch.randn(frames, small.steps, 3 * POINTS, device=options.device)
    draw = partial(small.draw, sites, normals, prepared)
    calls = {
        "compact network": (draw, small.steps),
        "compact, step by step": (partial(denoise, small, points, step, known), 1),
        "published network": (partial(denoise, large, points, step, sites), 1),
        "published, plain": (partial(denoise_plainly, plain, points, step, sites), 1),
        "  environment, once a residue": (partial(describe_one, atoms, chain), 1),
        "  compact: reading it, once": (partial(small.denoiser.encode, sites), 1),
    }
    with torch.inference_mode():
        timings = [measure(name, call, frames * steps, options) for name, (call, steps) in calls.items()]
    report(f"DiAMoNDBack, one residue in {frames} frames", timings, "steps", options)


def main() -> None:
    for options in every(arguments(__doc__)):
        for frames in (1, 16, 64):
            compare(frames, options)


if __name__ == "__main__":
    main()
