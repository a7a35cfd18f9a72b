"""The noise level of each diffusion step, and the denoising steps."""

import math

import torch
from torch import Tensor, nn

_OFFSET = 0.008
_LARGEST_BETA = 0.999


class NoiseSchedule(nn.Module):
    """The cosine schedule (Nichol and Dhariwal, ICML 2021, eq. 17); step 0 has the least noise.

    Parameters
    ----------
    steps : int
        Steps of the diffusion.
    clip : float
        Predicted samples are clipped to [-clip, clip].
    """

    signal: Tensor
    noise: Tensor
    kept: Tensor

    def __init__(self, steps: int, clip: float) -> None:
        super().__init__()
        self.steps = steps
        self.clip = clip
        time = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        level = torch.cos((time + _OFFSET) / (1 + _OFFSET) * math.pi / 2).square()
        beta = (1 - level[1:] / level[:-1]).clamp(max=_LARGEST_BETA)
        alpha_bar = torch.cumprod(1 - beta, 0)
        for name, values in (
            ("signal", alpha_bar.sqrt()),
            ("noise", (1 - alpha_bar).sqrt()),
            ("kept", alpha_bar),
        ):
            self.register_buffer(name, values.to(torch.float32), persistent=False)

    def add_noise(self, clean: Tensor, normals: Tensor, step: Tensor) -> Tensor:
        """Return noisy samples (n, size) of clean ones at steps (n,)."""
        return self.signal[step].unsqueeze(-1) * clean + self.noise[step].unsqueeze(-1) * normals

    def predict_clean(self, noisy: Tensor, noise: Tensor, step: int) -> Tensor:
        """Return the clean sample implied by a prediction of the noise, clipped."""
        clean = (noisy - self.noise[step] * noise) / self.signal[step]
        return clean.clamp(-self.clip, self.clip)

    def ancestral_step(self, noisy: Tensor, noise: Tensor, step: int, normals: Tensor) -> Tensor:
        """Draw the sample one step earlier (Ho, Jain and Abbeel, NeurIPS 2020, eq. 7).

        Parameters
        ----------
        noisy : Tensor, (n, size)
            Sample at ``step``.
        noise : Tensor, (n, size)
            The network's prediction of the noise in it.
        step : int
            0 gives the clean sample.
        normals : Tensor, (n, size)
            Random numbers; not used at step 0.
        """
        clean = self.predict_clean(noisy, noise, step)
        if step == 0:
            return clean
        before, now = self.kept[step - 1], self.kept[step]
        beta = 1 - now / before
        mean = (before.sqrt() * beta * clean + (now / before).sqrt() * (1 - before) * noisy) / (1 - now)
        return mean + (beta * (1 - before) / (1 - now)).sqrt() * normals

    def ddim_step(self, noisy: Tensor, noise: Tensor, step: int, earlier: int) -> Tensor:
        """Go to an earlier step without new noise (DDIM: Song, Meng and Ermon, ICLR 2021, eq. 12, sigma 0).

        ``earlier`` is -1 for the clean sample.
        """
        clean = self.predict_clean(noisy, noise, step)
        if earlier < 0:
            return clean
        noise = (noisy - self.signal[step] * clean) / self.noise[step]
        return self.signal[earlier] * clean + self.noise[earlier] * noise

    def ddim_steps(self, count: int) -> list[int]:
        """Return ``count`` evenly spaced steps from the noisiest to 0."""
        steps: list[int] = torch.linspace(self.steps - 1, 0, count).round().to(torch.int64).tolist()
        return steps
