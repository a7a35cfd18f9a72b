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

    def predict_clean(self, noisy: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return the clean sample implied by a prediction of the noise at one step, clipped."""
        clean = (noisy - self.noise[step] * noise) / self.signal[step]
        return clean.clamp(-self.clip, self.clip)

    def steps_taken(self, ddim_steps: int = 0) -> Tensor:
        """Return the steps (n,) int64 from the noisiest to 0: evenly spaced ones of DDIM, or all for 0."""
        count = ddim_steps if ddim_steps > 0 else self.steps
        even = torch.linspace(self.steps - 1, 0, count, device=self.signal.device)
        return even.round().to(torch.int64)

    def moves(self, ddim_steps: int = 0) -> Tensor:
        """Return the sampler's coefficients at each step that it takes.

        Parameters
        ----------
        ddim_steps : int
            Steps of the DDIM sampler, which adds no noise (Song, Meng and Ermon, ICLR 2021, eq. 12, sigma 0);
            0 for the ancestral one (Ho, Jain and Abbeel, NeurIPS 2020, eq. 7).

        Returns
        -------
        Tensor, (n, 3) float32
            Coefficients of the clean sample, of the noisy one, and of random numbers, whose sum is the sample
            of the next step. The last step gives the clean sample.
        """
        steps = self.steps_taken(ddim_steps)
        if ddim_steps > 0:
            signal, noise = self.signal[steps], self.noise[steps]
            next_signal = torch.cat([signal[1:], torch.ones_like(signal[:1])])
            next_noise = torch.cat([noise[1:], torch.zeros_like(noise[:1])])
            kept_noise = next_noise / noise
            return torch.stack(
                [next_signal - kept_noise * signal, kept_noise, torch.zeros_like(signal)], dim=-1
            )
        now = self.kept[steps]
        before = torch.cat([now[1:], torch.ones_like(now[:1])])
        beta = 1 - now / before
        return torch.stack(
            [
                before.sqrt() * beta / (1 - now),
                (now / before).sqrt() * (1 - before) / (1 - now),
                (beta * (1 - before) / (1 - now)).sqrt(),
            ],
            dim=-1,
        )
