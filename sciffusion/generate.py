"""A checkpoint opened: labelled samples in physical units.

model = sciffusion.load("cdm")
maps = model.generate(16, conditions={"Omega_m": 0.3, "sigma_8": 0.8}, seed=1)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from tqdm.auto import tqdm

from sciffusion import __version__
from sciffusion.augmentation import Augmentation
from sciffusion.checkpoint import Checkpoint
from sciffusion.condition import Conditioned
from sciffusion.conditions import Conditions
from sciffusion.config import DiffusionConfig, SamplingConfig, build_sampler, build_schedule
from sciffusion.denoise import PREDICTIONS, Denoiser
from sciffusion.nn.config import UNetConfig
from sciffusion.nn.embed import AUGMENTATION, MASK, ContextShape
from sciffusion.nn.runtime import autocast, tune_allocator
from sciffusion.nn.unet import UNet
from sciffusion.sample import SeededNoise
from sciffusion.transform import Transform, from_dict

__all__ = ["Model", "find_checkpoint", "load", "packaged_models"]

CHECKPOINT = "checkpoint.safetensors"
_DEFAULT_AUGMENTATION = 0.2  # of what training went up to


def packaged_models() -> dict[str, Path]:
    """Return the trained models that come with the package, by name."""
    folder = Path(str(files("sciffusion") / "models"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def load(name_or_path: str | Path, device: torch.device | str = "auto") -> Model:
    """Open a trained model.

    Parameters
    ----------
    name_or_path : str or pathlib.Path
        Name of a packaged model (``"cdm"``), a checkpoint file, or the folder of a run.
    device : torch.device or str
        ``"auto"`` takes an accelerator where there is one.

    Raises
    ------
    FileNotFoundError
        If it is neither a packaged model nor a file; the message names the packaged models.

    Examples
    --------
    >>> import sciffusion
    >>> model = sciffusion.load("cdm")
    >>> model.generate(1, conditions={"Omega_m": 0.3, "sigma_8": 0.8}, sampling={"steps": 2}, progress=False).sizes
    Frozen({'sample': 1, 'y': 64, 'x': 64})
    """
    path = find_checkpoint(name_or_path)
    return Model(Checkpoint.open(path), source=path, device=device)


def find_checkpoint(name_or_path: str | Path) -> Path:
    """Return the file of a packaged model, of the folder of a run, or itself; raises like `load`."""
    packaged = packaged_models()
    path = packaged.get(str(name_or_path), Path(name_or_path))
    path = path / CHECKPOINT if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"{name_or_path}: neither a checkpoint, nor the folder of a run, nor a packaged model "
            f"({', '.join(packaged) or 'none is packaged'})"
        )
    return path


def pick_device(name: torch.device | str) -> torch.device:
    """Return the device called `name`; ``"auto"`` is an accelerator where there is one, else the CPU."""
    if str(name) == "auto":
        # `current_accelerator` alone would name the one that this torch was built for, present or not.
        there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return there or torch.device("cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r}: expected auto, cpu, cuda, cuda:1, mps, ... ({error})") from error


def build_denoiser(
    diffusion: DiffusionConfig,
    network: UNetConfig,
    boundary: tuple[str, ...],
    channels: int,
    conditions: tuple[str, ...] = (),
    maps: tuple[str, ...] = (),
    contexts: Mapping[str, ContextShape] | None = None,
) -> Denoiser:
    """Return the untrained denoiser of these settings for a grid with one `boundary` per axis.

    Raises
    ------
    ValueError
        If noise is to be added to maps, and there are none.
    """
    if diffusion.augmentation:
        if not set(maps) - {MASK}:
            raise ValueError("diffusion.augmentation: noise on maps, but no condition is a map; leave it out")
        conditions = (*conditions, AUGMENTATION)
    known = {"conditions": conditions, "maps": maps, "contexts": contexts}
    unet = UNet(len(boundary), channels, channels, boundary=boundary, **known, config=network)
    return Denoiser(unet, build_schedule(diffusion), PREDICTIONS[diffusion.prediction])


def refuse_other_weights(
    source: Path | None, settings: Mapping[str, Any], build: Callable[[], nn.Module], weights: Mapping[str, Tensor]
) -> None:
    """Raise `ValueError` unless the settings make a network of these weights.

    Shapes alone are built: a few bytes of settings in a file from elsewhere must not ask for memory or time that its
    weights do not fill.
    """
    where = source or "the checkpoint"
    if max(_numbers(settings, "blocks"), default=0) > len(weights):
        raise ValueError(f"{where}: its settings tell of more blocks than it has weights; it is damaged")
    longest = max((max(value.shape, default=1) for value in weights.values()), default=1)
    encoders = any(name.startswith("encoders.") for name in weights)  # without contexts their settings make nothing
    used = {name: value for name, value in settings.items() if encoders or name != "encoder"}
    if (widest := max(_numbers(used, "channels", "embed_channels", "out_channels"), default=0)) > longest:
        told = f"its settings tell of {widest} channels, its weights of {longest} at most"
        raise ValueError(f"{where}: {told}; it is damaged")
    try:
        with torch.device("meta"):
            shapes = {name: tuple(value.shape) for name, value in build().state_dict().items()}
    except (RuntimeError, OverflowError, TypeError) as error:  # sizes beyond any memory
        raise ValueError(f"{where}: its settings make no network ({error}); it is damaged") from error
    held = {name: tuple(value.shape) for name, value in weights.items()}
    odd = sorted(name for name in {*shapes, *held} if shapes.get(name) != held.get(name))
    if odd:
        raise ValueError(
            f"{where}: the weight {odd[0]!r} has the shape {held.get(odd[0])}, its settings tell of "
            f"{shapes.get(odd[0])}; it is damaged"
        )


def _numbers(settings: Mapping[str, Any], *names: str) -> Iterator[int]:
    """Yield the settings of these names, those of networks inside them too; `blocks` are those of all levels."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, *names)
        elif name in names:
            values = value if isinstance(value, list | tuple) else [value]
            yield from (each * len(settings["channels"]) if name == "blocks" else each for each in values)


@dataclass(frozen=True)
class Model:
    """A trained diffusion model with everything that makes its samples fields.

    Parameters
    ----------
    checkpoint : Checkpoint
        As opened.
    source : pathlib.Path, optional
        Where it came from.
    device : torch.device or str
        Where the network runs.
    """

    checkpoint: Checkpoint
    source: Path | None = None
    device: torch.device | str = "auto"

    def __post_init__(self) -> None:
        config, field, known = self.header["config"], self.header["field"], self.conditions
        if self.checkpoint.kind != "diffusion":
            where = self.source or "the checkpoint"
            raise ValueError(f"{where}: a {self.checkpoint.kind}, which draws nothing; it ranks: see sciffusion-match")
        build = partial(
            build_denoiser,
            DiffusionConfig(**config["diffusion"]),
            UNetConfig(**config["network"]),
            self.checkpoint.boundary,
            field["channels"],
            known.scalars,
            known.maps,
            known.shapes,
        )
        refuse_other_weights(self.source, config["network"], lambda: build().backbone, self.checkpoint.weights)
        denoiser = build()
        denoiser.backbone.load_state_dict(self.checkpoint.weights)
        object.__setattr__(self, "device", pick_device(self.device))
        object.__setattr__(self, "denoiser", denoiser.to(self.device).eval().requires_grad_(False))

    denoiser: Denoiser = None  # type: ignore[assignment]  # built by __post_init__

    @property
    def header(self) -> dict[str, Any]:
        """The checkpoint's description: settings, transform, split, scores and provenance."""
        return self.checkpoint.header

    @property
    def transform(self) -> Transform:
        """The fitted transform from physical values to what the network sees."""
        return from_dict(self.header["transform"])

    @property
    def conditions(self) -> Conditions:
        """The conditions of the training set."""
        return Conditions.stored(self.checkpoint.conditions, self.header)

    @property
    def sampling(self) -> SamplingConfig:
        """How samples are drawn unless told otherwise."""
        return SamplingConfig(**self.header["config"]["sampling"])

    def generate(
        self,
        num: int,
        *,
        conditions: Mapping[str, Any] | None = None,
        unconditional: bool = False,
        sampling: SamplingConfig | Mapping[str, Any] | None = None,
        seed: int = 0,
        index: Sequence[int] | None = None,
        progress: bool = True,
    ) -> xr.DataArray:
        """Draw samples.

        Sample ``i`` depends on `seed` and ``i`` alone, to float tolerance: not on `num` nor on the batch size.

        Parameters
        ----------
        num : int
            How many.
        conditions : mapping of str to float, array or xarray.DataArray, optional
            Physical values of the conditions: one for all samples, ``(num,)`` for a scalar, ``(*grid,)`` or
            ``(num, *grid)`` for a condition on the grid, and so for a context such as an image, whose channels a
            labelled array may hold in any order, missing ones too; None or NaN for one that is not known. Those not
            named are drawn together from the training set: each sample takes the values of a random training sample.
            No pixel is bad unless ``mask`` says so.
        unconditional : bool
            Hide all conditions from the network instead, but for ``mask``.
        sampling : SamplingConfig or mapping, optional
            How; a mapping changes single settings of the checkpoint's own.
        seed : int
            Of everything random.
        index : sequence of int, optional
            Numbers of the samples, where they are a part of a larger set: by default 0 to `num` - 1.
        progress : bool
            Show a progress bar.

        Returns
        -------
        xarray.DataArray
            ``(sample, [channel,] *grid)`` float32 in the units of the training data, with the coordinates of the grid,
            the conditions along ``sample`` or on ``(sample, *grid)``, and provenance in the attributes.

        Raises
        ------
        ValueError
            If a condition is unknown, has another shape or grid or is infinite, or both `conditions` and
            `unconditional` are given.

        Warns
        -----
        UserWarning
            If a condition lies outside the range of the training set.
        """
        config = self._settings(sampling)
        numbers = np.arange(num) if index is None else np.asarray(index)
        if index is not None and numbers.shape != (num,):
            raise ValueError(f"index: expected {num} numbers, one for each sample, got {numbers.shape}")
        values = self.condition_values(numbers, conditions, unconditional, seed)
        sampler, parts, calls = build_sampler(config), [], 0
        bar = tqdm(total=num, desc="sampling", unit="map", disable=None if progress else True)
        with bar, torch.inference_mode():
            tune_allocator()
            for start in range(0, num, config.batch_size):
                part = np.arange(start, min(start + config.batch_size, num))
                with autocast(self.device, config.precision):
                    bound = self._bound(values, part, config, seed, numbers)
                    calls = sampler.calls() * bound.passes
                    x = sampler(bound, *self._noise(seed, numbers[part]))
                parts.append(x.float().cpu())
                bar.update(len(part))
        return self._label(torch.cat(parts), values, self._provenance(config, calls, seed))

    def trajectory(
        self,
        num: int = 1,
        *,
        conditions: Mapping[str, Any] | None = None,
        unconditional: bool = False,
        sampling: SamplingConfig | Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> Iterator[tuple[float, xr.DataArray, xr.DataArray]]:
        """Draw `num` samples and yield every time on the way, from noise (t = 1) to data (t = 0).

        Yields
        ------
        t : float
            Time.
        x_t : xarray.DataArray
            The noisy state, in the network's units (variance 1).
        x_hat : xarray.DataArray
            The estimate of the final sample at this time, in the network's units.
        """
        config = self._settings(sampling)
        index = np.arange(num)
        values = self.condition_values(index, conditions, unconditional, seed)
        with torch.inference_mode(), autocast(self.device, config.precision):
            bound = self._bound(values, index, config, seed, index)
            for state in build_sampler(config).trajectory(bound, *self._noise(seed, index)):
                x_hat = state.x if state.x_hat is None else state.x_hat
                yield float(state.t), self._network_field(state.x, values), self._network_field(x_hat, values)

    def noised(self, field: xr.DataArray, t: float, seed: int = 0) -> xr.DataArray:
        """Return the forward process: `field` in physical units, transformed, at time `t`, in the network's units."""
        x = self.transform(field)
        alpha, sigma = (float(v) for v in self.denoiser.schedule(torch.tensor(t, dtype=torch.float64)))
        eps = SeededNoise(seed, range(field.sizes["sample"]))(torch.empty(x.shape))
        return x.copy(data=alpha * x.values + sigma * eps.numpy())

    def _settings(self, sampling: SamplingConfig | Mapping[str, Any] | None) -> SamplingConfig:
        if isinstance(sampling, SamplingConfig):
            return sampling
        asked = dict(sampling or {})
        own: dict[str, Any] = asdict(self.sampling)
        if asked.get("sampler", "ddim") != "ddim":
            own["eta"] = 0.0  # the checkpoint's eta is of its own sampler
        return SamplingConfig(**(own | asked))

    @property
    def augmentation(self) -> float:
        """Largest level of noise on its maps that the model was trained with; 0: none."""
        return self.header["config"]["diffusion"].get("augmentation", 0.0)

    def _augmentation_level(self, config: SamplingConfig) -> float | None:
        """Level of the noise that is added to maps; None of a model that knows of none."""
        largest, asked = self.augmentation, config.augmentation
        if asked is not None and asked > largest:
            told = f"trained with up to {largest:g}" if largest else "trained without"
            raise ValueError(f"sampling.augmentation: {asked:g} asked for, the model was {told}")
        if not largest:
            return None
        return _DEFAULT_AUGMENTATION * largest if asked is None else asked

    def _shape(self) -> tuple[int, ...]:
        return (self.header["field"]["channels"], *(self.checkpoint.coords[dim].size for dim in self.checkpoint.grid))

    def _noise(self, seed: int, index: np.ndarray) -> tuple[Tensor, SeededNoise]:
        noise = SeededNoise(seed, index.tolist())
        return noise(torch.empty(len(index), *self._shape(), device=self.device)), noise

    def _bound(
        self, values: Mapping[str, np.ndarray], part: np.ndarray, config: SamplingConfig, seed: int, numbers: np.ndarray
    ) -> Conditioned:
        """Bind the conditions of a `part` of the samples; `numbers` are those of all."""
        cond = self.conditions.standardize({name: value[part] for name, value in values.items()})
        cond = {name: type(c)(c.value.to(self.device), c.present.to(self.device)) for name, c in cond.items()}
        if (level := self._augmentation_level(config)) is not None:
            noisy = Augmentation(self.augmentation, self.conditions.maps)
            cond = noisy(cond, np.full(len(part), level), seed, numbers[part])
        network: Any = self.denoiser.backbone
        cond = network.encode(cond)  # once, not at each step
        return Conditioned(self.denoiser, cond or None, guidance=config.guidance)

    def condition_values(
        self, numbers: np.ndarray, given: Mapping[str, Any] | None, unconditional: bool, seed: int
    ) -> dict[str, np.ndarray]:
        """Return the physical values of every condition that `generate` draws under, of the samples `numbers`.

        Parameters
        ----------
        numbers : numpy.ndarray
            Of the samples.
        given, unconditional, seed
            As ``conditions``, ``unconditional`` and ``seed`` of `generate`, whose errors and warnings are these.

        Returns
        -------
        dict of str to numpy.ndarray
            ``(num,)``, ``(num, *grid)``, or of a context's shape; NaN where hidden.
        """
        known, given = self.conditions, dict(given or {})
        if not len(numbers):
            raise ValueError("expected at least 1 sample to draw")
        if unknown := set(given) - set(known.names):
            raise ValueError(f"unknown condition {min(unknown)!r}; this model knows {', '.join(known.names) or 'none'}")
        if unconditional and given:
            raise ValueError("conditions and unconditional exclude each other: give one of them")
        rows = np.array([np.random.default_rng([seed, 0xC09D, i]).integers(2**62) for i in numbers])
        values = {name: table[rows % len(table)] for name, table in known.table.items()}
        if unconditional:
            return {name: v if name == MASK else np.full_like(v, np.nan) for name, v in values.items()}
        for name, value in given.items():
            values[name] = self._given(name, value, values[name])
            if told := known.outside(name, values[name]):
                equals = "" if name in known.contexts else "= "
                warnings.warn(f"{name} {equals}{told}: the model extrapolates", UserWarning, stacklevel=3)
        return values

    def _given(self, name: str, value: Any, like: np.ndarray) -> np.ndarray:
        """What was asked for condition `name`, in the shape and type of `like`: (num,) or (num, *grid)."""
        contexts = self.conditions.contexts
        if isinstance(value, xr.DataArray) and name in contexts:
            value = contexts[name].arrange(value.rename(name))
        elif isinstance(value, xr.DataArray):
            sizes = dict(zip(["sample", *self.checkpoint.grid], like.shape))
            value = _on_grid(name, value, sizes, self.checkpoint.coords)
        array = np.asarray(np.nan if value is None else value, np.float64)
        if array.shape not in ((), like.shape[1:], like.shape):
            shapes = " or ".join(str(shape) for shape in dict.fromkeys((like.shape[1:], like.shape)) if shape)
            raise ValueError(f"condition {name!r}: expected a number or an array {shapes}, got {array.shape}")
        if np.isinf(array).any() or (name == MASK and not np.isin(array, (0, 1)).all()):
            kind = "0 or 1 (a bad pixel) everywhere" if name == MASK else "finite values, or nan for 'not known'"
            raise ValueError(f"condition {name!r}: expected {kind}")
        return np.broadcast_to(array, like.shape).astype(like.dtype)

    def _network_field(self, x: Tensor, values: Mapping[str, np.ndarray]) -> xr.DataArray:
        field = self.header["field"]
        array = x.float().cpu().numpy()
        grid, known = self.checkpoint.grid, self.conditions
        coords = {dim: self.checkpoint.coords[dim] for dim in grid}
        dims, units = ("sample", *grid), known.units
        for name, value in values.items():
            if name in known.contexts:
                continue  # their grid is not the field's
            if name != MASK:
                coords[name] = xr.DataArray(value, dims=dims[: value.ndim], attrs={"units": units[name]})
            elif value.any():
                coords[name] = xr.DataArray(value != 0, dims=dims)
        coords |= {name: xr.DataArray(of, dims=("channel",)) for name, of in field.get("labels", {}).items()}
        seen = field.get("network_dims", field["dims"])  # a transform may make channels
        if field.get("network_labels"):
            coords["channel"] = xr.DataArray(field["network_labels"], dims=("channel",))
        if "channel" not in seen:
            array = array[:, 0]
        return xr.DataArray(array, dims=seen, coords=coords, name=field["name"], attrs=dict(field["attrs"]))

    def _label(self, x: Tensor, values: Mapping[str, np.ndarray], provenance: Mapping[str, Any]) -> xr.DataArray:
        out = self.transform.inverse(self._network_field(x, values)).astype(np.float32)
        bad = ~np.isfinite(out.values)
        if bad.any():
            raise FloatingPointError(
                f"{np.count_nonzero(bad)} values of sample {int(np.argwhere(bad)[0][0])} are not finite: "
                "take more sampling steps, or train longer"
            )
        return out.assign_attrs(provenance)

    def _provenance(self, config: SamplingConfig, calls: int, seed: int) -> dict[str, Any]:
        level = self._augmentation_level(config)
        return {
            "sciffusion_version": __version__,
            "checkpoint": self.checkpoint.fingerprint,
            "sampler": config.sampler,
            "steps": config.steps,
            "spacing": config.spacing,
            "guidance": config.guidance,
            "network_calls": calls,
            "seed": seed,
        } | ({} if level is None else {"augmentation": level})


def _on_grid(
    name: str, value: xr.DataArray, sizes: Mapping[str, int], coords: Mapping[str, xr.DataArray]
) -> np.ndarray:
    """Spread a labelled condition over the dims of `sizes`, once its own are seen to agree."""
    for dim, size in value.sizes.items():
        if sizes.get(str(dim)) != size:
            raise ValueError(f"condition {name!r}: its dim {dim} has {size} pixels; expected dims among {dict(sizes)}")
        if dim in value.coords and dim in coords and not np.allclose(value[dim], coords[str(dim)], rtol=1e-6, atol=0):
            raise ValueError(f"condition {name!r}: its {dim} is not the model's; interpolate it to that grid")
    return value.variable.set_dims(dict(sizes)).transpose(*sizes).values
