"""The published network: a 1-D convolutional U-Net over the 539 numbers, as one channel.

J. Chem. Theory Comput. 2023 (DiAMoNDBack). Residual blocks of two weight-standardised convolutions with group
normalisation, linear attention at every level (Katharopoulos et al., ICML 2020), full attention in the
middle, and a sinusoidal embedding of the step that scales and shifts every block.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from backmap.models.diamondback import layout
from backmap.models.diamondback.config import UNetConfig
from backmap.models.diamondback.layout import SIZE
from backmap.models.diamondback.noise_schedule import NoiseSchedule
from backmap.models.diamondback.representation import Sites, given_points, to_vector

_ENTRY_KERNEL = 7


class UNetDenoiser(nn.Module):
    """Predicts the noise in the points of residues.

    Parameters
    ----------
    config : UNetConfig
        Sizes.
    scale_nm : float
        Length by which coordinates are divided.
    schedule : NoiseSchedule
        Noise at each step.
    """

    rows_at_once: Final = 16
    """Residues whose features fit the cache of a CPU."""

    def __init__(self, config: UNetConfig, scale_nm: float, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.scale_nm = scale_nm
        self.schedule = schedule
        # The vector is padded to a length that can be halved at every level.
        halvings = 2 ** (config.levels - 1)
        self.padding = -SIZE % halvings
        widths = [config.width, *(config.width * 2**level for level in range(config.levels))]
        time_width = 4 * config.width
        self.entry = nn.Conv1d(1, config.width, _ENTRY_KERNEL, padding=_ENTRY_KERNEL // 2)
        self.time = nn.Sequential(
            SinusoidalEmbedding(config.width),
            nn.Linear(config.width, time_width),
            nn.GELU(),
            nn.Linear(time_width, time_width),
        )
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level in range(config.levels):
            inner, outer = widths[level], widths[level + 1]
            last = level == config.levels - 1
            resize = nn.Conv1d(inner, outer, 3, padding=1) if last else nn.Conv1d(inner, outer, 4, 2, 1)
            self.down.append(_LevelDown(inner, inner, time_width, config, resize))
            back = nn.Conv1d(outer, inner, 3, padding=1)
            grow = back if level == 0 else nn.Sequential(nn.Upsample(scale_factor=2), back)
            self.up.insert(0, _LevelUp(inner + outer, outer, time_width, config, grow))
        deepest = widths[-1]
        self.middle_in = ResidualBlock(deepest, deepest, time_width, config.groups)
        self.middle_attention = Attention(deepest, config.heads, config.head_width)
        self.middle_out = ResidualBlock(deepest, deepest, time_width, config.groups)
        self.final = ResidualBlock(2 * config.width, config.width, time_width, config.groups)
        self.leave = nn.Conv1d(config.width, 1, 1)

    def fit(self, sites: Sites) -> None:
        """Do nothing: the published network has no parameters fitted to data besides its weights."""

    def encode(self, sites: Sites) -> Sites:
        """Return the sites: the published network reads the condition at every step."""
        return sites

    def forward(self, points: Tensor, step: Tensor, sites: Sites) -> Tensor:
        """Predict the noise (n, 57) in scaled points (n, 57) at steps (n,)."""
        vector = to_vector(sites, points, self.scale_nm)
        hidden = self.entry(functional.pad(vector, (0, self.padding)).unsqueeze(1))
        entry, time, kept = hidden, self.time(step.to(points.dtype)), []
        for level in self.down:
            first, second, hidden = level(hidden, time)
            kept += [first, second]
        hidden = self.middle_attention(self.middle_in(hidden, time))
        hidden = self.middle_out(hidden, time)
        for level in self.up:
            hidden = level(hidden, kept.pop(), kept.pop(), time)
        hidden = self.final(torch.cat([hidden, entry], dim=1), time)
        return self.leave(hidden)[:, 0, : 3 * layout.POINTS]

    def prepare(self, ddim_steps: int) -> list[Tensor]:
        """Return the steps to take (steps,) int64, and the sampler's coefficients (steps, 3) at each."""
        return [self.schedule.steps_taken(ddim_steps), self.schedule.moves(ddim_steps)]

    def remove_noise(self, sites: Sites, normals: Tensor, prepared: list[Tensor]) -> Tensor:
        """Draw scaled points (n, 57); arguments as for ``DiamondbackModel.draw``."""
        steps, moves = prepared
        given, generated = given_points(sites, self.scale_nm), sites.generated.repeat_interleave(3, dim=1)
        sample = torch.where(generated, normals[:, 0], given)
        for number in range(len(steps)):
            noise = self(sample, steps[number].expand(len(sample)), sites)
            clean = self.schedule.predict_clean(sample, noise, steps[number])
            moved = moves[number, 0] * clean + moves[number, 1] * sample
            if number + 1 < normals.shape[1]:
                moved = moved + moves[number, 2] * normals[:, number + 1]
            sample = torch.where(generated, moved, given)
        return sample

    def train(self, mode: bool = True) -> "UNetDenoiser":
        """Set the mode; for inference, weights are standardised once instead of at every step."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, StandardisedConv1d):
                module.keep_standardised(not mode)
        return self


class _Level(nn.Module):
    """Two residual blocks, linear attention and a change of length."""

    def __init__(
        self, inputs: int, outputs: int, time_width: int, config: UNetConfig, resize: nn.Module
    ) -> None:
        super().__init__()
        self.first = ResidualBlock(inputs, outputs, time_width, config.groups)
        self.second = ResidualBlock(inputs, outputs, time_width, config.groups)
        self.attention = LinearAttention(outputs, config.heads, config.head_width)
        self.resize = resize


class _LevelDown(_Level):
    def forward(self, signal: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the signals after the first and second blocks and after the change of length."""
        first = self.first(signal, time)
        second = self.attention(self.second(first, time))
        return first, second, self.resize(second)


class _LevelUp(_Level):
    def forward(self, signal: Tensor, second: Tensor, first: Tensor, time: Tensor) -> Tensor:
        """Return the signal after the change of length, given the signals of the way down."""
        signal = self.first(torch.cat([signal, second], dim=1), time)
        signal = self.second(torch.cat([signal, first], dim=1), time)
        return self.resize(self.attention(signal))


class SinusoidalEmbedding(nn.Module):
    """Cosines and sines of a number at many frequencies (Vaswani et al., NeurIPS 2017)."""

    frequency: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        frequency = torch.exp(torch.arange(half) * (-math.log(10_000.0) / (half - 1)))
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, number: Tensor) -> Tensor:
        """Map (n,) to (n, width)."""
        angle = number.unsqueeze(-1) * self.frequency
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class StandardisedConv1d(nn.Conv1d):
    """A convolution whose weights have mean 0 and variance 1 for each output (Qiao et al., 2019)."""

    epsilon: Final = 1e-5

    def __init__(self, inputs: int, outputs: int, kernel: int, padding: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=padding)
        self._kept: Tensor | None = None
        self.register_load_state_dict_post_hook(
            lambda module, _: module.keep_standardised(module._kept is not None)
        )

    def keep_standardised(self, keep: bool) -> None:
        """Cache the standardised weights, or standardise the current ones on every call."""
        self._kept = self._standardise().detach() if keep else None

    def forward(self, signal: Tensor) -> Tensor:
        """Convolve (n, inputs, length)."""
        weight = self._standardise() if self._kept is None else self._kept
        return functional.conv1d(signal, weight, self.bias, self.stride, self.padding)

    def _standardise(self) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2), keepdim=True, unbiased=False)
        return (self.weight - mean) * torch.rsqrt(variance + self.epsilon)


class ResidualBlock(nn.Module):
    """Two convolutions with normalisation and SiLU; the step scales and shifts the first."""

    def __init__(self, inputs: int, outputs: int, time_width: int, groups: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(time_width, 2 * outputs)
        self.convolution_1 = StandardisedConv1d(inputs, outputs, 3, padding=1)
        self.norm_1 = nn.GroupNorm(groups, outputs)
        self.convolution_2 = StandardisedConv1d(outputs, outputs, 3, padding=1)
        self.norm_2 = nn.GroupNorm(groups, outputs)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, signal: Tensor, time: Tensor) -> Tensor:
        """Map (n, inputs, length) to (n, outputs, length)."""
        scale, shift = self.modulation(functional.silu(time)).unsqueeze(-1).chunk(2, dim=1)
        hidden = self.norm_1(self.convolution_1(signal)) * (scale + 1) + shift
        hidden = self.norm_2(self.convolution_2(functional.silu(hidden)))
        return functional.silu(hidden) + self.skip(signal)


def mix_channels(signal: Tensor, weight: Tensor) -> Tensor:
    """Apply a convolution of width one: (n, inputs, length) to (n, outputs, length).

    Matrix products are several times as fast on a CPU if there are more outputs than inputs.
    """
    return torch.bmm(weight.expand(len(signal), -1, -1), signal)


class _ChannelNorm(nn.Module):
    """Normalisation over channels at every position, with a learned gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, signal: Tensor) -> Tensor:
        centred = signal - signal.mean(dim=1, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(dim=1, keepdim=True) + 1e-5) * self.gain


class Attention(nn.Module):
    """Residual attention between all positions."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _ChannelNorm(channels)
        self.enter = nn.Linear(channels, 3 * heads * head_width, bias=False)
        self.leave = nn.Conv1d(heads * head_width, channels, 1)

    def forward(self, signal: Tensor) -> Tensor:
        """Map (n, channels, length) to the same shape."""
        n, _, length = signal.shape
        parts = mix_channels(self.norm(signal), self.enter.weight).view(n, 3, self.heads, -1, length)
        query, key, value = parts.transpose(-1, -2).unbind(1)
        gathered = functional.scaled_dot_product_attention(query, key, value)
        return signal + self.leave(gathered.transpose(-1, -2).reshape(n, -1, length))


class LinearAttention(nn.Module):
    """Residual attention whose cost grows linearly with the length."""

    def __init__(self, channels: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.norm = _ChannelNorm(channels)
        self.enter = nn.Linear(channels, 3 * heads * head_width, bias=False)
        self.leave = nn.Sequential(nn.Conv1d(heads * head_width, channels, 1), _ChannelNorm(channels))

    def forward(self, signal: Tensor) -> Tensor:
        """Map (n, channels, length) to the same shape."""
        n, _, length = signal.shape
        parts = mix_channels(self.norm(signal), self.enter.weight).view(
            n, 3, self.heads, self.head_width, length
        )
        query, key, value = parts.unbind(1)
        query = query.softmax(dim=-2) * self.head_width**-0.5
        context = torch.matmul(key.softmax(dim=-1), value.transpose(-1, -2))
        gathered = torch.matmul(context.transpose(-1, -2), query)
        return signal + self.leave(gathered.reshape(n, -1, length))
