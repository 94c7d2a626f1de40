"""Settings of a run, as a YAML file and a command line both spell them, and the one door from strings to classes.

Nothing here imports torch until an object is built, so that ``--help`` is quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sciffusion.nn.config import MatcherConfig, UNetConfig

__all__ = [
    "PRESETS",
    "SAMPLERS",
    "SCHEDULES",
    "DiffusionConfig",
    "RunConfig",
    "SamplingConfig",
    "SplitConfig",
    "TrainingConfig",
    "build_sampler",
    "build_schedule",
    "with_options",
]

FORMAT_VERSION = 1
PRESETS = Path(__file__).parent / "presets"

SCHEDULES: Mapping[str, str] = {
    "ddpm": "sciffusion.schedule.LinearBeta",
    "cosine": "sciffusion.schedule.Cosine",
}
SAMPLERS: Mapping[str, str] = {
    "ddpm": "sciffusion.sample.DDPM",
    "ddim": "sciffusion.sample.DDIM",
    "heun": "sciffusion.sample.Heun",
    "dpmpp_2m": "sciffusion.sample.DPMSolver2M",
}
PREDICTIONS = ("noise", "velocity", "data")
SPACINGS = ("time", "log_snr")
MODELS = ("diffusion", "matcher")
NOISE_LEVELS = ("uniform", "normal")
PRECISIONS = ("auto", "bf16", "fp32")


def _known(key: str, value: str, names: Any) -> None:
    if value not in names:
        raise ValueError(f"{key}: unknown value {value!r}; known are {', '.join(names)}")


def _above(key: str, value: float | None, least: float, strict: bool = True) -> None:
    if value is not None and not (value > least if strict else value >= least):
        raise ValueError(f"{key}: expected a number {'above' if strict else 'of at least'} {least}, got {value}")


def _fraction(key: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{key}: expected a fraction of at least 0 and below 1, got {value}")


@dataclass(frozen=True)
class SplitConfig:
    """How the data are divided, by group (simulation or object), never by map.

    Parameters
    ----------
    validation
        Fraction of the groups that choose the EMA width and give the held-out loss.
    test
        Fraction of the groups that no decision sees. Groups marked in the data (coordinate ``split``) come on top.
    """

    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        _fraction("split.validation", self.validation)
        _above("split.validation", self.validation, 0)  # it chooses among the averages
        _fraction("split.test", self.test)


@dataclass(frozen=True)
class DiffusionConfig:
    """What the network learns.

    Parameters
    ----------
    schedule
        Noise schedule: ``ddpm`` (linear beta of Ho et al. 2020) or ``cosine`` (Nichol & Dhariwal 2021).
    steps
        Number T of discrete steps that defines the schedule.
    prediction
        What the network predicts: ``noise``, ``velocity`` or ``data``.
    noise_levels
        How training draws noise levels: ``uniform`` in time, or ``normal`` in log-SNR.
    log_snr_mean
        Mean of the normal distribution of log-SNR.
    log_snr_std
        Its standard deviation.
    condition_dropout
        Probability p that all conditions of a training sample are hidden, otherwise each one by itself with p, so that
        any of them can be left open when drawing.
    augmentation
        Largest standard deviation of the noise that is added to maps, in those of the maps; 0 is none. Each training
        sample has a level of its own, uniform between 0 and this, which the network is told (Ho et al. 2022): for a
        model that refines what another one drew.
    """

    schedule: str = "cosine"
    steps: int = 1000
    prediction: str = "velocity"
    noise_levels: str = "uniform"
    log_snr_mean: float = 0.0
    log_snr_std: float = 3.0
    condition_dropout: float = 0.1
    augmentation: float = 0.0

    def __post_init__(self) -> None:
        _known("diffusion.schedule", self.schedule, SCHEDULES)
        _known("diffusion.prediction", self.prediction, PREDICTIONS)
        _known("diffusion.noise_levels", self.noise_levels, NOISE_LEVELS)
        _above("diffusion.steps", self.steps, 1)
        _above("diffusion.log_snr_std", self.log_snr_std, 0)
        _fraction("diffusion.condition_dropout", self.condition_dropout)
        _above("diffusion.augmentation", self.augmentation, 0, strict=False)


@dataclass(frozen=True)
class TrainingConfig:
    """How the network is trained. Progress is counted in samples seen, so that the batch size is free.

    Parameters
    ----------
    samples
        Training samples to see in all; by default what fits into ``minutes``.
    batch_size
        Samples a step.
    learning_rate
        Peak learning rate of AdamW.
    warmup
        Samples over which the learning rate rises linearly.
    decay
        Fraction of all samples, at the end, over which the learning rate falls to zero (as half a cosine).
    weight_decay
        Decoupled weight decay of AdamW.
    gradient_clip
        Largest norm of the gradient; the norm before clipping is logged.
    ema
        Relative widths of the averages of the weights (Karras et al. 2024); the one with the lowest held-out loss
        becomes the checkpoint.
    precision
        ``auto`` takes bf16 where the processor has it natively, otherwise fp32.
    evaluations
        How often the held-out loss per noise band is measured.
    heldout
        Validation samples that it is measured on.
    checkpoint_minutes
        Minutes between two checkpoints.
    """

    samples: int | None = None
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup: int = 2000
    decay: float = 0.7
    weight_decay: float = 0.0
    gradient_clip: float = 1.0
    ema: tuple[float, ...] = (0.05, 0.1)
    precision: str = "auto"
    evaluations: int = 8
    heldout: int = 64
    checkpoint_minutes: float = 3.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ema", tuple(self.ema))
        _known("training.precision", self.precision, PRECISIONS)
        for name in (
            "samples",
            "batch_size",
            "learning_rate",
            "gradient_clip",
            "heldout",
            "checkpoint_minutes",
        ):
            _above(f"training.{name}", getattr(self, name), 0)
        for name in ("warmup", "weight_decay", "evaluations"):
            _above(f"training.{name}", getattr(self, name), 0, strict=False)
        if not 0 <= self.decay <= 1:
            raise ValueError(f"training.decay: expected a fraction between 0 and 1, got {self.decay}")
        if not self.ema or not all(0 < width < 0.29 for width in self.ema):
            raise ValueError(f"training.ema: expected relative widths between 0 and 0.28, got {self.ema}")


@dataclass(frozen=True)
class SamplingConfig:
    """How samples are drawn.

    Parameters
    ----------
    sampler
        ``ddpm`` (ancestral), ``ddim``, ``heun`` (second order) or ``dpmpp_2m`` (multistep).
    steps
        Number of steps; ``heun`` asks the network twice a step but for the last.
    spacing
        Times uniform in ``time`` or in ``log_snr``.
    eta
        Stochasticity of ``ddim``: 0 is deterministic, 1 ancestral.
    variance
        Noise that ``ddpm`` adds: ``posterior`` (beta-tilde) or ``beta``.
    guidance
        Weight of classifier-free guidance; 1 is none.
    augmentation
        Level of the noise that is added to maps, up to ``diffusion.augmentation``; by default a fifth of that.
    num
        Samples drawn at the end of a training run; by default one for each test sample, at most 256 and
        as many as fit into 30 % of the minutes.
    batch_size
        Samples drawn at once.
    precision
        ``auto`` takes bf16 where the processor has it natively, otherwise fp32.
    """

    sampler: str = "dpmpp_2m"
    steps: int = 60
    spacing: str = "log_snr"
    eta: float = 0.0
    variance: str = "posterior"
    guidance: float = 1.0
    augmentation: float | None = None
    num: int | None = None
    batch_size: int = 16
    precision: str = "auto"

    def __post_init__(self) -> None:
        _known("sampling.precision", self.precision, PRECISIONS)
        _known("sampling.sampler", self.sampler, SAMPLERS)
        _known("sampling.spacing", self.spacing, SPACINGS)
        _known("sampling.variance", self.variance, ("posterior", "beta"))
        _above("sampling.steps", self.steps, 0)
        _above("sampling.augmentation", self.augmentation, 0, strict=False)
        _above("sampling.num", self.num, 0)
        _above("sampling.batch_size", self.batch_size, 0)
        if not 0 <= self.eta <= 1:
            raise ValueError(f"sampling.eta: expected a number between 0 and 1, got {self.eta}")
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"sampling.eta: {self.sampler} knows no eta; use the sampler ddim, or leave it out")


@dataclass(frozen=True)
class RunConfig:
    """All settings of a training run.

    Parameters
    ----------
    field
        Kind of data: its reader, transform, symmetries and preset.
    model
        ``diffusion``, which draws fields, or ``matcher``, which ranks fields by how well they fit an object's
        conditions (such as spectra by the image of a galaxy).
    preset
        A named set of settings on top of the field's, such as ``ddpm`` (Ho et al. 2020 to the letter).
    data
        Files to train on; without any, the set packaged with the field.
    reader
        Reader of the files, where their content leaves it open.
    params
        File of the parameters of the simulations, where it is not beside the maps.
    dataset
        Path of the array inside an HDF5 file of several.
    box_size
        Length of the grid along each axis [Mpc/h], or with a unit such as "1000 Angstrom", for bare arrays.
    units
        Units of the values, for bare arrays.
    boundary
        ``periodic``, ``reflect`` or ``zero``, one for all axes or one for each, for bare arrays.
    dims
        Names of the axes of a bare array where its shape leaves them open, such as ``sample z y x``.
    options
        Options of the reader of the files, each by its name (``--options.size 128``); a choice of samples is one:
        ``--options.select.Omega_m '[0.2, 0.3]'``. On the command line each replaces that of the file of settings.
    conditions
        Coordinates along ``sample`` that the model is conditional on; by default the field's.
    transform
        Transforms to unit variance: ``log10``, ``boxcox:EXPONENT``, ``log10_offset:OFFSET``, ``asinh:SCALE``,
        ``standardize``, ``minus:COORDINATE``, ``relative:COORDINATE`` (over ten to its power); of single channels
        ``NAME=log10`` or ``NAME=asinh:2,standardize``; by default the field's.
    symmetries
        Symmetries used as augmentation: ``roll``, ``flip``, ``rotate90``; by default the field's.
    invariances
        Symmetries of contexts, such as the image of a galaxy, under which the field stays the same; used as
        augmentation; by default the field's.
    out
        Folder of the run; ``runs/FIELD`` by default, of a matcher ``runs/FIELD_matcher``.
    overwrite
        Replace an earlier run in that folder.
    resume
        Go on with the run in that folder.
    init_from
        Checkpoint whose weights the training starts from.
    encoder_from
        Checkpoint, such as a matcher's, whose encoders of contexts the training starts from; they are trained on.
    seed
        Of everything random.
    device
        ``auto``, ``cpu``, ``cuda``, ...
    minutes
        Wall-clock budget [minutes], sampling and figures included.
    dry_run
        Show what would be done, and stop.
    split
        Training, validation and test.
    network
        Shape of the U-Net.
    matcher
        Shape of the matcher.
    diffusion
        Schedule, prediction and noise levels.
    training
        Optimization.
    sampling
        How samples are drawn at the end, and by default ever after.
    format_version
        Version of this file's layout.
    """

    field: str = "cdm"
    model: str = "diffusion"
    preset: str | None = None
    data: list[str] = dataclasses.field(default_factory=list)
    reader: str | None = None
    params: str | None = None
    dataset: str | None = None
    box_size: float | str | None = None
    units: str | None = None
    boundary: list[str] | None = None
    dims: str | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    conditions: list[str] | None = None
    transform: list[str] | None = None
    symmetries: list[str] | None = None
    invariances: list[str] | None = None
    out: str | None = None
    overwrite: bool = False
    resume: bool = False
    init_from: str | None = None
    encoder_from: str | None = None
    seed: int = 0
    device: str = "auto"
    minutes: float = 20.0
    dry_run: bool = False
    split: SplitConfig = SplitConfig()
    network: UNetConfig = UNetConfig()  # noqa: RUF009  (frozen)
    matcher: MatcherConfig = MatcherConfig()  # noqa: RUF009  (frozen)
    diffusion: DiffusionConfig = DiffusionConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig = SamplingConfig()
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        _above("minutes", self.minutes, 0)
        _known("model", self.model, MODELS)
        if not 1 <= self.format_version <= FORMAT_VERSION:
            raise ValueError(
                f"format_version {self.format_version}: this sciffusion reads up to {FORMAT_VERSION}; update sciffusion"
            )

    @property
    def folder(self) -> Path:
        """Where the run writes."""
        return Path(self.out or f"runs/{self.field}{'' if self.model == 'diffusion' else f'_{self.model}'}")

    def reading(self) -> dict[str, Any]:
        """Return the options of the reader of the data, those that are given.

        Raises
        ------
        ValueError
            If one is given both as a setting and among `options`.
        """
        names = ("reader", "params", "dataset", "box_size", "units", "boundary", "dims")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if len(given.get("boundary", ())) == 1:
            given["boundary"] = given["boundary"][0]
        return with_options(given, self.options)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists, as YAML and JSON write them."""
        return _plain(asdict(self))


def with_options(given: Mapping[str, Any], options: Mapping[str, Any], flag: str = "options") -> dict[str, Any]:
    """Return `given` settings and `options` of a reader together; one that is in both raises `ValueError`.

    Examples
    --------
    >>> with_options({"units": "K"}, {"size": 128})
    {'units': 'K', 'size': 128}
    """
    if twice := sorted(set(given) & set(options)):
        raise ValueError(f"--{twice[0]} and --{flag}.{twice[0]} are both given; leave one out")
    return {**given, **options}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _load(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name)


def build_schedule(config: DiffusionConfig) -> Any:
    """Return the `sciffusion.schedule.Schedule` that `config` names.

    DDPM's betas run from 1e-4 to 0.02 at T = 1000 and scale like 1/T, so that the process is the same for any T.
    """
    own = {"ddpm": {"beta_start": 0.1 / config.steps, "beta_end": min(20.0 / config.steps, 0.999)}}.get(
        config.schedule, {}
    )
    return _load(SCHEDULES[config.schedule])(config.steps, **own)


def build_sampler(config: SamplingConfig) -> Any:
    """Return the `sciffusion.sample.Sampler` that `config` names."""
    own = {"ddpm": {"variance": config.variance}, "ddim": {"eta": config.eta}}.get(config.sampler, {})
    return _load(SAMPLERS[config.sampler])(steps=config.steps, spacing=config.spacing, **own)
