"""The packages of the trilemma benchmark that are not ours, each put together as its documentation says.

Maps have unit variance, but for packages that clip to the range of images: those get the training set's range as that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from train_step import stub_torchvision
from trilemma_package import CHANNELS, OWN, Conditional, Package, Sciffusion, Setting, Weights

from sciffusion.dataset import FieldDataset


class Lucidrains(Package):
    """denoising-diffusion-pytorch: Unet and GaussianDiffusion with its defaults (velocity, sigmoid schedule)."""

    name = label = "denoising-diffusion-pytorch"
    module, samplers = "denoising_diffusion_pytorch", ("ddim, eta 1", "ddim")

    def __init__(self, data: FieldDataset) -> None:
        super().__init__(data)
        stub_torchvision()
        from denoising_diffusion_pytorch import GaussianDiffusion, Unet
        from ema_pytorch import EMA

        sys.modules["denoising_diffusion_pytorch.denoising_diffusion_pytorch"].tqdm = lambda steps, **_: steps
        mults = tuple(c // CHANNELS[0] for c in CHANNELS)
        self.network = Unet(CHANNELS[0], channels=1, dim_mults=mults)
        self.diffusion = GaussianDiffusion(self.network, image_size=self.shape[1:])
        self.ema = EMA(self.network, beta=0.995, update_every=10)

    def loss(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.diffusion((x - self.low) / self.span)

    def average(self) -> None:  # noqa: D102
        self.ema.update()

    def averages(self) -> dict[str, Weights]:  # noqa: D102
        return {OWN: dict(self.ema.ema_model.named_parameters())}

    def draw(self, setting: Setting, index: np.ndarray, seed: int, cond: Mapping[str, np.ndarray]) -> Tensor:  # noqa: D102
        self.diffusion.sampling_timesteps, self.diffusion.is_ddim_sampling = (setting.steps, True)
        self.diffusion.ddim_sampling_eta = float(setting.sampler == "ddim, eta 1")
        return self.low + self.span * self.diffusion.sample(len(index))


class Diffusers(Package):
    """diffusers: UNet2DModel and schedulers with their defaults: noise predicted, maps in [-1, 1] and clipped to it.

    The multistep scheduler does not clip.
    """

    name = label = module = "diffusers"
    samplers = ("ddpm", "ddim", "dpm-solver++ multistep")
    prediction, clip = "epsilon", True

    def __init__(self, data: FieldDataset) -> None:
        super().__init__(data)
        import diffusers
        from diffusers.training_utils import EMAModel

        levels = len(CHANNELS) - 1
        self.network = diffusers.UNet2DModel(
            sample_size=self.shape[1:],
            in_channels=1,
            out_channels=1,
            block_out_channels=CHANNELS,
            norm_num_groups=CHANNELS[0],
            down_block_types=("DownBlock2D",) * levels + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * levels,
        )
        self.ema = EMAModel(self.network.parameters(), 0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        own = {"prediction_type": self.prediction}
        self.make: dict[str, Callable[[], Any]] = {
            "ddpm": lambda: diffusers.DDPMScheduler(clip_sample=self.clip, **own),
            "ddim": lambda: diffusers.DDIMScheduler(clip_sample=self.clip, **own),
            "dpm-solver++ multistep": lambda: diffusers.DPMSolverMultistepScheduler(**own),
        }
        self.noising = self.make["ddpm"]()

    def loss(self, x: Tensor) -> Tensor:  # noqa: D102
        x = 2 * (x - self.low) / self.span - 1 if self.clip else x
        t = torch.randint(0, self.noising.config.num_train_timesteps, (len(x),))
        noise = torch.randn_like(x)
        target = noise if self.prediction == "epsilon" else self.noising.get_velocity(x, noise, t)
        return nn.functional.mse_loss(self.network(self.noising.add_noise(x, noise, t), t).sample, target)

    def average(self) -> None:  # noqa: D102
        self.ema.step(self.network.parameters())

    def averages(self) -> dict[str, Weights]:  # noqa: D102
        return {OWN: dict(zip(dict(self.network.named_parameters()), self.ema.shadow_params))}

    def draw(self, setting: Setting, index: np.ndarray, seed: int, cond: Mapping[str, np.ndarray]) -> Tensor:  # noqa: D102
        scheduler = self.make[setting.sampler]()
        scheduler.set_timesteps(setting.steps)
        x = torch.randn(len(index), *self.shape) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            x = scheduler.step(self.network(scheduler.scale_model_input(x, t), t).sample, t, x).prev_sample
        return self.low + self.span * (x + 1) / 2 if self.clip else x


class DiffusersUnclipped(Diffusers):
    """diffusers with noise predicted, on maps of unit variance, without clipping."""

    name, label, clip = "diffusers-unclipped", "diffusers, unclipped", False


class DiffusersVelocity(Diffusers):
    """diffusers with velocity predicted, on maps of unit variance, without clipping: the settings nearest to ours."""

    name, label = "diffusers-velocity", "diffusers, velocity"
    prediction, clip = "v_prediction", False


class Azula(Package):
    """azula: its UNet (periodic, as it can be), KarrasDenoiser and VPSchedule, as its first page has them."""

    name = label = module = "azula"
    samplers = ("ddpm", "ddim", "heun", "x-EAB (as dpm-solver++)")

    def __init__(self, data: FieldDataset) -> None:
        super().__init__(data)
        from azula import denoise, noise, sample
        from azula.nn.layers import SineEncoding
        from azula.nn.unet import UNet

        class Timed(nn.Module):
            """The U-Net, told the time."""

            def __init__(self) -> None:
                super().__init__()
                blocks, width = [2] * len(CHANNELS), CHANNELS[-1]
                self.encoding = SineEncoding(width)
                self.unet = UNet(1, 1, hid_channels=CHANNELS, hid_blocks=blocks, mod_features=width, periodic=True)

            def forward(self, x: Tensor, t: Tensor) -> Tensor:
                return self.unet(x, self.encoding(t))

        self.network = Timed()
        self.denoiser = denoise.KarrasDenoiser(self.network, noise.VPSchedule())
        kinds = (sample.DDPMSampler, sample.DDIMSampler, sample.HeunSampler, sample.xEABSampler)
        self.make: dict[str, Callable[..., Any]] = dict(zip(self.samplers, kinds))

    def loss(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.denoiser.loss(x, torch.rand(len(x)))

    def average(self) -> None:
        """Do nothing: it comes without."""

    def averages(self) -> dict[str, Weights]:  # noqa: D102
        return {}

    def draw(self, setting: Setting, index: np.ndarray, seed: int, cond: Mapping[str, np.ndarray]) -> Tensor:  # noqa: D102
        sampler = self.make[setting.sampler](self.denoiser, steps=setting.steps, silent=True)
        return sampler(sampler.init((len(index), *self.shape)))


PACKAGES: Mapping[str, type[Package]] = {
    package.name: package
    for package in (Sciffusion, Conditional, Lucidrains, Diffusers, DiffusersUnclipped, DiffusersVelocity, Azula)
}
