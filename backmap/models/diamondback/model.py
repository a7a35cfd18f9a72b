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
from backmap.models.diamondback.representation import Sites, cut_sites, point_exists
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
            UNetDenoiser(config.unet, config.scale_nm, self.schedule)
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

    def prepare(self, ddim_steps: int = 0) -> list[Tensor]:
        """Return what all draws share: it depends on the weights and the sampler only.

        Parameters
        ----------
        ddim_steps : int
            Steps of the DDIM sampler, which needs random numbers for the start only; 0 for the published
            sampler.
        """
        return self.denoiser.prepare(ddim_steps)

    def draw(self, sites: Sites, normals: Tensor, prepared: list[Tensor]) -> Tensor:
        """Draw the points of residues.

        Parameters
        ----------
        sites : Sites
            n residues.
        normals : Tensor, (n, steps, 57) or (n, 1, 57)
            Random numbers for the start, then for each step except the last; for the start only with DDIM.
        prepared : list of Tensor
            From :meth:`prepare`.

        Returns
        -------
        Tensor, (n, 19, 3)
            In each residue's frame in nm; given points are unchanged.
        """
        count = len(sites.types)
        size = self.denoiser.rows_at_once if sites.types.device.type == "cpu" else max(count, 1)
        drawn = []
        for first in range(0, count, size):
            part = cut_sites(sites, first, first + size)
            drawn.append(self.denoiser.remove_noise(part, normals[first : first + size], prepared))
        return torch.cat(drawn).unflatten(1, (layout.POINTS, 3)) * self.scale_nm
