"""A training run from data to figures, as ``sciffusion-train`` does it and a script may.

from sciffusion.config import RunConfig
from sciffusion.run import Run
Run(RunConfig(field="cdm", minutes=5, out="runs/try")).execute()
"""

from __future__ import annotations

import json
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml
from torch import Tensor
from tqdm.auto import tqdm

from data_loaders import write_field
from data_loaders.files import replacing
from sciffusion import __version__, plot
from sciffusion.budget import Budget
from sciffusion.checkpoint import Checkpoint, load_state, save_state
from sciffusion.conditions import Conditions, has_bad_pixels
from sciffusion.config import RunConfig, build_sampler
from sciffusion.dataset import FieldDataset, groups_of, split_by_group
from sciffusion.field import get_field
from sciffusion.generate import CHECKPOINT, Model, build_denoiser, pick_device
from sciffusion.nn.embed import MASK
from sciffusion.nn.runtime import autocast, tune_allocator
from sciffusion.statistics.choice import measurable
from sciffusion.statistics.grid import grid_dims
from sciffusion.stopping import Stopping
from sciffusion.symmetry import symmetries
from sciffusion.train import BANDS, DenoisingObjective, Progress, Trainer
from sciffusion.transform import chain
from sciffusion.validate import Comparison, compare, written_files

__all__ = ["CONFIG", "Run"]

CONFIG, PROGRESS, STATE, SAMPLES = "config.yaml", "progress.jsonl", "state/state.safetensors", "samples.h5"

OUTPUTS = (CONFIG, PROGRESS, CHECKPOINT, SAMPLES, "loss.png")
"""What a run writes into its folder, besides its state and its comparison."""

# A resumed run may differ from the one it goes on with in these settings, which change none of its numbers.
FREE_ON_RESUME = ("out", "resume", "overwrite", "dry_run", "device")

_KEPT = ("units", "long_name", "component", "noise")  # attributes of the data that are true of samples too
_LEAST_TEST = 4  # two halves of two samples make the smallest floor


@dataclass
class Prepared:
    """Data and model of a run, ready to train."""

    field: xr.DataArray
    split: dict[str, np.ndarray]
    train: FieldDataset
    validation: FieldDataset
    trainer: Trainer
    objective: DenoisingObjective


class Run:
    """One training run in one folder.

    Parameters
    ----------
    config : RunConfig
        All settings.
    progress : bool
        Show progress bars and print what is done.
    """

    def __init__(self, config: RunConfig, progress: bool = True) -> None:
        self.config, self.progress = config, progress
        self.folder = Path(config.out or f"runs/{config.field}")
        self.budget = Budget(config.minutes, config.sampling.num)
        self.stopping = Stopping(f"sciffusion-train --field {config.field} --out {self.folder} --resume")

    def execute(self) -> Comparison | None:
        """Train, draw, compare and write everything into the folder.

        Returns
        -------
        Comparison or None
            The held-out fields beside the drawn ones; None for a dry run.

        Raises
        ------
        FileExistsError
            If the folder holds a run, and neither `overwrite` nor `resume` is set.
        Interrupted
            After Ctrl-C or SIGTERM, once the state is saved.
        ValueError
            For settings or data that do not fit together.
        """
        self._check_folder()
        tune_allocator()
        prepared = self.prepare()
        self._say(self.plan(prepared))
        if self.config.dry_run:
            return None
        with self.stopping.watching():
            self._start(prepared)
            self._train(prepared)
            width = self._choose_average(prepared)
            self._save_checkpoint(prepared, width, {})
            return self._finish(prepared, width)

    def prepare(self) -> Prepared:
        """Read and split the data, fit the transform on the training part, build network and trainer."""
        config, kind = self.config, get_field(self.config.field)
        field = kind.read(config.data, **config.reading())
        measurable(kind.diagnostics, field)  # an unknown name is told before training, not after
        source = ", ".join(config.data) or f"the packaged set of {kind.name}"
        # Messages name the file, and the sample by its number in it.
        field = field.assign_attrs(source=source).assign_coords(sample=np.arange(field.sizes["sample"]))
        split = split_by_group(field, config.split.validation, config.split.test, config.seed)
        if len(split["test"]) < _LEAST_TEST:
            raise ValueError(
                f"{len(split['test'])} held-out samples are too few to judge a model, {_LEAST_TEST} are the least; "
                "bring more data or raise split.test"
            )
        training = field.isel(sample=split["train"])
        transform = chain(kind.transform if config.transform is None else config.transform)
        transform = _named(source, transform.fit, training)
        names = kind.conditions if config.conditions is None else config.conditions
        if config.conditions is None:
            # The field's own conditions are taken as far as the data have them: a bare array has none.
            names = [name for name in names if name in field.coords]
        if _named(source, has_bad_pixels, field):
            names = [*names, MASK]
        conditions = _named(source, Conditions.of, training, names)
        boundary = tuple(field[dim].attrs["boundary"] for dim in grid_dims(field))
        moves = symmetries(kind.symmetries if config.symmetries is None else config.symmetries, boundary)
        parts = {
            name: FieldDataset(field, split[name], transform, conditions, moves, config.seed)
            for name in ("train", "validation")
        }
        torch.manual_seed(config.seed)
        device = pick_device(config.device)
        channels = field.sizes.get("channel", 1)
        denoiser = build_denoiser(
            config.diffusion, config.network, boundary, channels, conditions.scalars, conditions.maps
        ).to(device)
        if config.init_from and not config.resume:
            _initialize(denoiser.backbone, config.init_from)
        objective = DenoisingObjective(denoiser, config.diffusion, config.seed)
        trainer = Trainer(objective, parts["train"], config.training, device)
        return Prepared(field, split, parts["train"], parts["validation"], trainer, objective)

    def plan(self, prepared: Prepared) -> str:
        """Describe the run in a few lines."""
        field, split, trainer = prepared.field, prepared.split, prepared.trainer
        groups = {name: len(np.unique(groups_of(field)[index])) for name, index in split.items()}
        counts = ", ".join(f"{len(split[name])} {name} ({groups[name]} groups)" for name in split)
        size = " x ".join(str(field.sizes[dim]) for dim in grid_dims(field))
        weights = sum(p.numel() for p in trainer.parameters.values())
        names = ", ".join(prepared.train.conditions.names) or "nothing"
        budget = f"{trainer.total} samples" if trainer.total else f"{self.config.minutes:g} minutes"
        alone = "" if "group" in field.coords else "no coordinate 'group': every sample is taken as independent\n"
        return (
            f"{get_field(self.config.field).long_name}: {counts}; {size} pixels [{field.attrs.get('units', '')}]\n"
            f"{alone}U-Net with {weights / 1e6:.2f} M parameters on {trainer.device}, "
            f"conditional on {names}; {budget}; into {self.folder}"
        )

    def _say(self, text: str) -> None:
        if self.progress:
            tqdm.write(text)

    def _check_folder(self) -> None:
        config, taken = self.config, _outputs(self.folder)
        if config.resume and not (self.folder / STATE).exists():
            raise FileNotFoundError(f"{self.folder}: no run to resume here ({STATE} is missing)")
        if taken and not (config.resume or config.overwrite or config.dry_run):
            raise FileExistsError(
                f"{self.folder} holds {taken[0]} of an earlier run: go on with it by --resume, replace it by "
                "--overwrite, or choose another --out"
            )

    def _start(self, prepared: Prepared) -> None:
        """Load the state to resume, or write settings and a first state."""
        if self.config.resume:
            tensors, numbers = load_state(self.folder / STATE)
            _same_settings(numbers["config"], self.config.to_dict())
            if numbers["transform"] != prepared.train.transform.to_dict():
                raise ValueError(f"{prepared.train.source}: not the data of the run to resume")
            prepared.trainer.load_state(tensors, numbers)
            self.budget.most = numbers["most_drawn"]
            self._trim_log(prepared.trainer.samples)
            self._say(f"resuming after {prepared.trainer.samples} samples")
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in _outputs(self.folder):  # only --overwrite comes here with files of an earlier run
            (self.folder / name).unlink()
        with replacing(self.folder / CONFIG, overwrite=True) as temporary:
            Path(temporary).write_text(yaml.safe_dump(self._settings(), sort_keys=False), encoding="utf-8")
        (self.folder / PROGRESS).write_text("", encoding="utf-8")
        self._save_state(prepared)

    def _settings(self) -> dict[str, Any]:
        """Settings that describe the run, without those that say what to do with the folder this time."""
        return self.config.to_dict() | {"overwrite": False, "resume": False, "dry_run": False}

    def _trim_log(self, samples: int) -> None:
        """Drop what was logged after the state was saved: it will be logged again."""
        kept = [line for line in self._log() if line["samples"] <= samples]
        with replacing(self.folder / PROGRESS, overwrite=True) as temporary:
            Path(temporary).write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def _log(self) -> list[dict[str, Any]]:
        lines = (self.folder / PROGRESS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]  # a killed writer leaves half a line

    def _save_state(self, prepared: Prepared) -> None:
        tensors, numbers = prepared.trainer.state()
        transform = prepared.train.transform.to_dict()
        numbers |= {"config": self._settings(), "transform": transform, "most_drawn": self.budget.most}
        save_state(self.folder / STATE, tensors, numbers)
        if prepared.trainer.samples:
            self._save_checkpoint(prepared, 0, {})

    def _train(self, prepared: Prepared) -> None:
        trainer, config = prepared.trainer, self.config.training
        saved, losses, pace = time.monotonic(), [], []
        bar = tqdm(total=trainer.total, initial=trainer.samples, desc="training", unit="map",
                   disable=None if self.progress else True)  # fmt: skip
        log = open(self.folder / PROGRESS, "a", buffering=1, encoding="utf-8")  # noqa: SIM115  (closed below)
        with self.stopping.polled(), bar, log:
            for progress in trainer:
                log.write(json.dumps(_line(progress)) + "\n")
                losses = [*losses[-99:], progress.loss]
                if trainer.total is None:
                    pace.append(progress.seconds)
                    self._fix_total(prepared, pace)
                    bar.total = trainer.total
                bar.set_postfix(loss=f"{np.mean(losses):.4f}", refresh=False)
                bar.update(progress.samples - bar.n)
                if _due(progress, trainer.total, config.evaluations, config.batch_size):
                    log.write(json.dumps(self._evaluate(prepared, 0)) + "\n")
                if self.stopping.asked or time.monotonic() - saved > 60 * config.checkpoint_minutes:
                    self._save_state(prepared)
                    saved = time.monotonic()
                if self.stopping.asked:
                    raise self.stopping.interrupted(f"after {trainer.samples} samples")
        self._save_state(prepared)
        if self.stopping.asked:
            raise self.stopping.interrupted("at the end of training")

    def _fix_total(self, prepared: Prepared, seconds: list[float]) -> None:
        """Once the speed is known, set the total of samples that the budget allows."""
        trainer, config = prepared.trainer, self.config
        pace = self.budget.pace(seconds)
        if pace is None:
            return
        evaluations = config.training.evaluations + len(config.training.ema)
        heldout = evaluations * BANDS * min(config.training.heldout, len(prepared.validation))
        calls = build_sampler(config.sampling).calls()
        reserve = self.budget.reserve(self._call_seconds(prepared), heldout, calls, len(prepared.split["test"]))
        trainer.total = (trainer.step + self.budget.steps(pace, reserve)) * config.training.batch_size
        self._say(f"{pace:.2f} s a step of {config.training.batch_size}: {trainer.total} samples fit the budget")

    def _call_seconds(self, prepared: Prepared) -> float:
        """Seconds of a call of the network for one sample."""
        with autocast(prepared.trainer.device, self.config.training.precision):
            prepared.objective.heldout(prepared.validation, 1)  # the first call is a slow one
            began = time.monotonic()
            prepared.objective.heldout(prepared.validation, 16)
        return 1.1 * (time.monotonic() - began) / (BANDS * min(16, len(prepared.validation)))

    def _evaluate(self, prepared: Prepared, which: int) -> dict[str, Any]:
        """Held-out loss per noise band with the weights of average number `which`."""
        trainer = prepared.trainer
        average = trainer.averages[which]
        with _weights(trainer, average.tensors), autocast(trainer.device, self.config.training.precision):
            bands = prepared.objective.heldout(prepared.validation, self.config.training.heldout)
        return {"samples": trainer.samples, "ema": average.width, "heldout": bands}

    def _choose_average(self, prepared: Prepared) -> int:
        """Index of the average with the lowest held-out loss."""
        results = [self._evaluate(prepared, which) for which in range(len(prepared.trainer.averages))]
        with open(self.folder / PROGRESS, "a", encoding="utf-8") as log:
            log.writelines(json.dumps(line) + "\n" for line in results)
        return int(np.argmin([np.mean(list(line["heldout"].values())) for line in results]))

    def _save_checkpoint(self, prepared: Prepared, width: int, scores: dict[str, Any]) -> None:
        trainer, field = prepared.trainer, prepared.field
        average = trainer.averages[width]
        groups = groups_of(field)
        header = {
            "config": self._settings(),
            "field": {
                "name": self.config.field,
                "long_name": get_field(self.config.field).long_name,
                "dims": [str(dim) for dim in field.dims],
                "channels": field.sizes.get("channel", 1),
                "labels": {name: c.values.tolist() for name, c in field.coords.items() if c.dims == ("channel",)},
                "attrs": {key: field.attrs[key] for key in _KEPT if key in field.attrs},
            },
            "transform": prepared.train.transform.to_dict(),
            "conditions": dict(prepared.train.conditions.units),
            "scales": dict(prepared.train.conditions.scales),
            "split": {name: np.unique(groups[index]).tolist() for name, index in prepared.split.items()},
            "ema": average.width,
            "scores": scores,
            "provenance": {
                "sciffusion_version": __version__,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "samples_seen": trainer.samples,
                "training_maps": len(prepared.train),
                "data": self.config.data or f"packaged with the field {self.config.field}",
                "torch": torch.__version__,
                "python": platform.python_version(),
                "machine": platform.machine(),
            },
        }
        coords = {dim: field[dim] for dim in grid_dims(field)}
        checkpoint = Checkpoint(average.tensors, coords, dict(prepared.train.conditions.table), header)
        checkpoint.save(self.folder / CHECKPOINT, overwrite=True)

    def _finish(self, prepared: Prepared, width: int) -> Comparison:
        """Draw as many fields as there are held-out ones, under their conditions, and compare."""
        field = prepared.field
        model = Model(Checkpoint.open(self.folder / CHECKPOINT), self.folder / CHECKPOINT, self.config.device)
        test = prepared.split["test"]
        num = self.budget.drawn(len(test))
        chosen = np.sort(test[np.linspace(0, len(test) - 1, min(num, len(test))).astype(int)])
        real = field.isel(sample=chosen).load()
        partner = np.arange(num) % len(chosen)
        # Their conditions, but not their bad pixels.
        conditions = {n: v[partner] for n, v in model.conditions.values(real).items() if n != MASK}
        with warnings.catch_warnings():
            # A held-out simulation at the edge of parameter space lies outside the training range by design.
            warnings.filterwarnings("ignore", message=".*lies outside the training set's range", category=UserWarning)
            generated = model.generate(num, conditions=conditions, seed=self.config.seed, progress=self.progress)
        write_field(generated, self.folder / SAMPLES, overwrite=True)
        group = "group" if len(np.unique(groups_of(real))) > 1 else None
        if group is None:
            self._say("all held-out samples are of one group: the floor takes them as independent, and is too low")
        if num == len(chosen):  # one to one: a half of the drawn maps may stand for the same half of the real ones
            generated = generated.assign_coords(group=("sample", groups_of(real)))
        diagnostics, reasons = measurable(get_field(self.config.field).diagnostics, real)
        for reason in reasons:
            self._say(f"not measured of these data: {reason}")
        comparison = compare(real, generated, group=group, diagnostics=diagnostics)
        comparison.write(self.folder, overwrite=True)
        plot.save(plot.plot_loss(self._log()), self.folder / "loss.png", overwrite=True)
        self._save_checkpoint(prepared, width, comparison.scores)
        self._say(comparison.summary())
        self._say(f"{self.folder}: {CHECKPOINT}, {SAMPLES}, figures, scores.json; "
                  f"{self.budget.elapsed / 60:.1f} minutes")  # fmt: skip
        return comparison


def _named(source: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function`; its errors name the data."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _outputs(folder: Path) -> list[str]:
    """Return the names of the files in a folder that runs write, those of comparisons among them."""
    return [name for name in OUTPUTS if (folder / name).exists()] + written_files(folder)


def _line(progress: Progress) -> dict[str, Any]:
    return {key: getattr(progress, key) for key in progress.__dataclass_fields__}


def _due(progress: Progress, total: int | None, times: int, batch: int) -> bool:
    """Whether one of `times` evenly spaced evaluations falls on this step."""
    if not total or not times:
        return False
    every = total / times
    return progress.samples // every > max(0, progress.samples - batch) // every


def _initialize(network: torch.nn.Module, path: str) -> None:
    """Copy the weights of another checkpoint, or say why they do not fit."""
    from sciffusion.generate import load

    weights = load(path, "cpu").checkpoint.weights
    own = network.state_dict()
    odd = sorted(set(weights) ^ set(own)) or [name for name in own if own[name].shape != weights[name].shape]
    if odd:
        raise ValueError(
            f"{path}: its network differs from this run's in {odd[0]!r}; use the same network and conditions"
        )
    network.load_state_dict(weights)


def _same_settings(stored: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume with settings other than the run's own."""
    for key, value in stored.items():
        if key not in FREE_ON_RESUME and now.get(key) != value:
            raise ValueError(
                f"{key}: the run to resume has {value!r}, the command asks for {now.get(key)!r}; leave it out, "
                "or start a new run with --init_from"
            )


@contextmanager
def _weights(trainer: Trainer, tensors: dict[str, Tensor]) -> Iterator[None]:
    """Put other weights into the network for a while."""
    kept = {name: value.detach().clone() for name, value in trainer.parameters.items()}
    try:
        with torch.no_grad():
            for name, value in trainer.parameters.items():
                value.copy_(tensors[name])
        yield
    finally:
        with torch.no_grad():
            for name, value in trainer.parameters.items():
                value.copy_(kept[name])
