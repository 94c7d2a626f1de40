"""``sciffusion-sample``: draw fields from a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from sciffusion.cli.common import add_settings, gather_options, run_command

__all__ = ["SampleConfig", "main"]

_SAMPLES, _CANDIDATES, _TOP = 16, 25, 5
_WHOLE = (".h5", ".hdf5", ".nc", ".zarr")  # formats of several variables


@dataclass(frozen=True)
class SampleConfig:
    """Settings of ``sciffusion-sample``.

    Parameters
    ----------
    model
        Folder of a run, checkpoint file, or name of a packaged model such as ``cdm``.
    cascade
        Folder of the run, or checkpoint file, of low resolution: `model` draws anew, at its own, what that one draws.
    out
        File to write; the suffix chooses the format: .h5, .nc, .fits, .npy.
    num
        Number of samples, 16 by default; with `images` the first so many objects, by default all.
    images
        Files of images, or of whatever the model was trained on: spectra are drawn for each of their objects, by what
        the files say of it. Conditions that they lack are not known.
    candidates
        Samples drawn for each object, 25 by default.
    best_of
        As many, ranked by the `matcher`: the best match, the means of all and of the best, all samples, scores.
    matcher
        Folder of a run of ``sciffusion-train --model matcher``, or its checkpoint.
    top
        The mean of how many of the best, 5 by default.
    figure
        Also draw the first objects, each with its image, the best match and where 68 % and 95 % of its samples lie.
    options
        Options of the reader of `images`, each by its name (``--options.size 32``).
    sampler
        ``ddpm``, ``ddim``, ``heun`` or ``dpmpp_2m``; by default, as this and the next ones, what the checkpoint says.
    steps
        Number of sampling steps.
    spacing
        Times uniform in ``time`` or in ``log_snr``.
    eta
        Stochasticity of ``ddim``.
    variance
        Noise of ``ddpm``: ``posterior`` or ``beta``.
    guidance
        Weight of classifier-free guidance; 1 is none.
    augmentation
        Level of the noise on maps, of a model that was trained with it.
    condition
        NAME=VALUE, once for each condition to fix, on the grid too: one value for all pixels; nan is 'not known'. The
        others are drawn from the training set.
    unconditional
        Hide all conditions from the network.
    seed
        Sample i depends on the seed and i alone.
    batch_size
        Samples drawn at once; changes none of them.
    precision
        ``auto`` (bf16 where it is native), ``bf16`` or ``fp32``.
    device
        ``auto``, ``cpu``, ``cuda``, ...
    trajectory
        Also draw how the first sample comes out of noise: an animation (.gif), with a strip of times as .png beside it.
    overwrite
        Replace existing files.
    """

    model: str
    out: str
    num: int | None = None
    images: list[str] = field(default_factory=list)
    candidates: int | None = None
    best_of: int | None = None
    matcher: str | None = None
    top: int | None = None
    figure: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    steps: int | None = None
    spacing: str | None = None
    eta: float | None = None
    variance: str | None = None
    guidance: float | None = None
    augmentation: float | None = None
    condition: list[str] = field(default_factory=list)
    unconditional: bool = False
    seed: int = 0
    batch_size: int | None = None
    precision: str | None = None
    device: str = "auto"
    trajectory: str | None = None
    cascade: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        of_objects = ("candidates", "best_of", "matcher", "top", "figure", "options")
        if not self.images and (given := [name for name in of_objects if getattr(self, name) not in (None, {})]):
            raise ValueError(f"--{given[0]} is of objects; give --images FILES")
        if self.images and (given := [name for name in ("unconditional", "trajectory") if getattr(self, name)]):
            raise ValueError(f"--{given[0]} and --images exclude each other; leave one out")
        if self.matcher and self.candidates is not None:
            raise ValueError("with --matcher the candidates are ranked: say how many by --best_of, not by --candidates")
        if not self.matcher and (given := [name for name in ("best_of", "top") if getattr(self, name) is not None]):
            raise ValueError(f"--{given[0]} ranks by a matcher; give --matcher DIR, or --candidates without ranking")
        if self.images and self.num is not None and self.num < 1:
            raise ValueError(f"--num {self.num}: at least 1 object is needed")

    @property
    def num_candidates(self) -> int:
        """How many samples are drawn for each object."""
        return next(n for n in (self.best_of, self.candidates, _CANDIDATES) if n is not None)

    def refuse_of_a_cascade(self) -> None:
        """Raise `ValueError` for what a cascade cannot do."""
        names = [name for name in ("images", "trajectory") if getattr(self, name, None)]
        if self.cascade and names:
            raise ValueError(f"--cascade and --{names[0]} exclude each other; leave one out")

    def sampling(self) -> dict[str, Any]:
        """Return what differs from the checkpoint's own way of sampling."""
        how = ("sampler", "steps", "spacing", "eta", "variance", "guidance", "augmentation")
        names = (*how, "batch_size", "precision")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def conditions(self) -> dict[str, float]:
        """Return the conditions as numbers; raises `ValueError` for what is not NAME=NUMBER."""
        out: dict[str, float] = {}
        for text in self.condition:
            name, equals, value = text.partition("=")
            try:
                number = float(value)
            except ValueError:
                equals, number = "", 0.0
            if not equals or name in out:
                raise ValueError(f"--condition {text}: expected NAME=NUMBER, each name once, such as Omega_m=0.3")
            out[name] = number
        return out


def _sample(argv: Sequence[str]) -> None:
    parser = ArgumentParser(
        prog="sciffusion-sample", description="Draw fields, in physical units, from a trained model."
    )
    parser.add_argument("model", type=str, help="Folder of a run, checkpoint file, or packaged model such as cdm.")
    parser.add_argument("--condition", action="append", type=str, default=[],
                        help="NAME=VALUE, once for each condition to fix.")  # fmt: skip
    add_settings(parser, SampleConfig, skip=("model", "condition"))
    config = SampleConfig(**parser.parse_args(gather_options(argv)).as_dict())
    from data_loaders import check_target, write_field

    check_target(config.out, config.overwrite)
    config.refuse_of_a_cascade()
    if config.images:
        _sample_objects(config)
        return
    if config.trajectory:
        _check_trajectory(Path(config.trajectory), config.overwrite)

    model = _opened(config)
    num = _SAMPLES if config.num is None else config.num
    fields = model.generate(
        num,
        conditions=config.conditions(),
        unconditional=config.unconditional,
        sampling=config.sampling(),
        seed=config.seed,
    )
    write_field(fields, config.out, overwrite=config.overwrite)
    print(f"{config.out}: {num} samples of {fields.attrs.get('long_name', fields.name)} "
          f"[{fields.attrs.get('units', '')}], {fields.attrs['network_calls']} network calls each")  # fmt: skip
    if config.trajectory:
        _draw_trajectory(model, config)


def _sample_objects(config: SampleConfig) -> None:
    """Draw candidates for each object of the files, and rank them if there is a matcher."""
    from data_loaders import main_variable, write_field

    if Path(config.out).suffix not in _WHOLE:
        raise ValueError(f"{config.out}: expected one of {', '.join(_WHOLE)}, which hold the samples of each object")
    if config.figure and Path(config.figure).exists() and not config.overwrite:
        raise FileExistsError(f"{config.figure} exists; give another name or replace it with --overwrite")
    from sciffusion.generate import load
    from sciffusion.match import load_matcher
    from sciffusion.pipeline import best_of, read_conditions

    model = load(config.model, config.device)
    matcher = load_matcher(config.matcher, config.device) if config.matcher else None
    if config.figure and model.checkpoint.grid != ["wavelength"]:
        raise ValueError(f"--figure draws spectra; this model draws fields on {', '.join(model.checkpoint.grid)}")
    options = ({} if config.num is None else {"samples": slice(config.num)}) | config.options
    objects = read_conditions(config.images, model, **options)
    fixed = config.conditions()
    if unknown := sorted(set(fixed) - set(model.conditions.scalars)):
        known = ", ".join(model.conditions.scalars) or "none"
        raise ValueError(f"--condition {unknown[0]}: no scalar of this model, which has {known}")
    objects = objects.assign_coords({name: ("sample", [v] * objects.sizes["sample"]) for name, v in fixed.items()})
    num = config.num_candidates
    top = min(_TOP, num) if config.top is None else config.top
    drawn = best_of(model, matcher, objects, num, top=top, sampling=config.sampling(), seed=config.seed)
    write_field(drawn, config.out, overwrite=config.overwrite)
    told, spectrum = drawn.attrs["choice"], main_variable(drawn)
    print(f"{config.out}: {num} samples of each of {drawn.sizes['sample']} objects "
          f"[{spectrum.attrs.get('units', '')}], {spectrum.attrs['network_calls']} network calls each; "
          f"{spectrum.name} is the {told}")  # fmt: skip
    if config.figure:
        from sciffusion import plot

        plot.save(plot.plot_objects(drawn, objects), config.figure, config.overwrite)
        print(config.figure)


def _opened(config: SampleConfig) -> Any:
    """Open the model, or the cascade of which it is the last."""
    if config.cascade:
        from sciffusion.cascade import load_cascade

        return load_cascade(config.cascade, config.model, config.device)
    from sciffusion.generate import load

    return load(config.model, config.device)


def _check_trajectory(path: Path, overwrite: bool) -> None:
    if path.suffix not in (".gif", ".png"):
        raise ValueError(
            f"--trajectory {path}: expected .gif (an animation, and a strip beside it) or .png (the strip)"
        )
    for each in {path, path.with_suffix(".png")}:
        if each.exists() and not overwrite:
            raise FileExistsError(f"{each} exists; give another name or replace it with --overwrite")


def _draw_trajectory(model: Any, config: SampleConfig) -> None:
    """Draw both processes of the first sample at the times of the sampler: a strip of times, and an animation."""
    from sciffusion import plot

    asked = {"conditions": config.conditions(), "unconditional": config.unconditional}
    steps = list(model.trajectory(**asked, sampling=config.sampling(), seed=config.seed))
    times, reverse = [t for t, *_ in steps], [x_t for _, x_t, _ in steps]
    final = model.transform.inverse(reverse[-1])
    forward = [model.noised(final, t, config.seed) for t in times]
    path = Path(config.trajectory or "")
    rows = {"forward (to the left)": forward, "reverse (to the right)": reverse}
    plot.save(plot.plot_trajectory(rows, times), path.with_suffix(".png"), config.overwrite)
    if path.suffix == ".gif":
        plot.animate_trajectory(reverse, times, path, overwrite=config.overwrite)
    print(f"{path}: {len(times)} times from noise to data; strip of times in {path.with_suffix('.png')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    return run_command("sciffusion-sample", _sample, argv)
