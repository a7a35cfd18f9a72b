"""The DiAMoNDBack model: denoising diffusion of the points of a residue given its environment."""

import torch
from torch import Tensor, nn

from backmap.models.checkpoint import Checkpoint
from backmap.models.configuration import config_from_dict
from backmap.models.diamondback import layout
from backmap.models.diamondback.compact_denoiser import CompactDenoiser
from backmap.models.diamondback.config import DiamondbackConfig, Network
from backmap.models.diamondback.denoiser import UNetDenoiser
from backmap.models.diamondback.noise_schedule import NoiseSchedule
from backmap.models.diamondback.representation import Sites, cut_sites, given_points, point_exists
from backmap.models.tensor_tuples import repeat_rows


class DiamondbackModel(nn.Module):
    """Draws residues, and computes the loss of the network that predicts their noise.

    Parameters
    ----------
    config : DiamondbackConfig
        Network, sizes and diffusion.
    """

    def __init__(self, config: DiamondbackConfig) -> None:
        super().__init__()
        self.config = config
        self.scale_nm, self.steps, self.redraws = config.scale_nm, config.steps, config.redraws
        self.schedule = NoiseSchedule(config.steps, config.reach_nm / config.scale_nm)
        self.denoiser: UNetDenoiser | CompactDenoiser = (
            UNetDenoiser(config.unet, config.scale_nm)
            if config.network == Network.UNET
            else CompactDenoiser(config.compact, self.schedule, config.scale_nm)
        )

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "DiamondbackModel":
        """Create the model of a checkpoint.

        Raises
        ------
        InputError
            If weights and configuration do not match.
        """
        config = config_from_dict(DiamondbackConfig, checkpoint.config)
        model = checkpoint.build(lambda: cls(config))
        checkpoint.load_weights(model)
        return model

    def loss(self, sites: Sites, step: Tensor, normals: Tensor) -> Tensor:
        """Return the mean absolute error of the predicted noise over the generated numbers in the data.

        Parameters
        ----------
        sites : Sites
            n residues, including the points to be generated.
        step : Tensor, (n k,) int64
            Steps of the diffusion; the k steps of one residue are consecutive.
        normals : Tensor, (n k, 57)
            The noise.

        Notes
        -----
        Slots that are empty for a residue type are generated as zero. Atoms missing from the data are noise
        without a loss.
        """
        draws = len(step) // len(sites.types)
        exists = sites.known | ~point_exists(sites.types)
        clean = (sites.points / self.config.scale_nm).flatten(1).repeat_interleave(draws, 0)
        generated, counted = (
            mask.repeat_interleave(3, dim=1).repeat_interleave(draws, 0)
            for mask in (sites.generated, sites.generated & exists)
        )
        noisy = torch.where(generated, self.schedule.add_noise(clean, normals, step), clean)
        condition = repeat_rows(self.denoiser.encode(sites), draws)
        error = (self.denoiser(noisy, step, condition) - normals).abs()
        return (error * counted).sum() / counted.sum()

    def draw(self, sites: Sites, normals: Tensor, ddim_steps: int = 0) -> Tensor:
        """Draw the points of residues.

        Parameters
        ----------
        sites : Sites
            n residues.
        normals : Tensor, (steps, n, 57)
            Random numbers for the start, then for each step except the last.
        ddim_steps : int
            Steps of the DDIM sampler, which needs random numbers for the start only; 0 for the published
            sampler.

        Returns
        -------
        Tensor, (n, 19, 3)
            In each residue's frame in nm; given points are unchanged.
        """
        count = len(sites.types)
        size = self.denoiser.rows_at_once if sites.types.device.type == "cpu" else max(count, 1)
        drawn = []
        for first in range(0, count, size):
            last = first + size
            drawn.append(self._draw(cut_sites(sites, first, last), normals[:, first:last], ddim_steps))
        return torch.cat(drawn)

    def _draw(self, sites: Sites, normals: Tensor, ddim_steps: int) -> Tensor:
        given = given_points(sites, self.scale_nm)
        generated = sites.generated.repeat_interleave(3, dim=1)
        condition = self.denoiser.encode(sites)
        sample = torch.where(generated, normals[0], given)
        ways = list(range(self.steps - 1, -1, -1))
        if ddim_steps > 0:
            ways = self.schedule.ddim_steps(ddim_steps)
        for number, step in enumerate(ways):
            now = torch.full([len(sample)], step, device=sample.device)
            noise = self.denoiser(sample, now, condition)
            if ddim_steps > 0:
                earlier = ways[number + 1] if number + 1 < len(ways) else -1
                moved = self.schedule.ddim_step(sample, noise, step, earlier)
            else:
                fresh = normals[self.steps - step if step > 0 else 0]
                moved = self.schedule.ancestral_step(sample, noise, step, fresh)
            sample = torch.where(generated, moved, given)
        return sample.unflatten(1, (layout.POINTS, 3)) * self.scale_nm
