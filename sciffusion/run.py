"""A training run from data to figures, as ``sciffusion-train`` does it and a script may.

from sciffusion.config import RunConfig
from sciffusion.run import Run
Run(RunConfig(field="cdm", minutes=5, out="runs/try")).execute()
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor
from tqdm.auto import tqdm

from data_loaders.files import replacing
from sciffusion import __version__, distributed, plot
from sciffusion.budget import Budget
from sciffusion.checkpoint import Checkpoint, load_state, save_state
from sciffusion.comparison import PAGE
from sciffusion.config import RunConfig, build_sampler
from sciffusion.dataset import FieldDataset, groups_of
from sciffusion.field import get_field
from sciffusion.finish import SAMPLES, Retrieval, draw_and_compare, judge_matcher
from sciffusion.generate import CHECKPOINT
from sciffusion.judge import TABLE
from sciffusion.nn.runtime import autocast, tune_allocator
from sciffusion.prepare import ERRORS, Prepared, prepare
from sciffusion.statistics.grid import grid_dims
from sciffusion.stopping import Stopping
from sciffusion.train import BANDS, DenoisingObjective, Progress, Trainer
from sciffusion.transform import network_channels
from sciffusion.validate import Comparison, written_files

__all__ = ["CONFIG", "Run"]

CONFIG, PROGRESS, STATE = "config.yaml", "progress.jsonl", "state/state.safetensors"

OUTPUTS = (CONFIG, PROGRESS, CHECKPOINT, SAMPLES, TABLE, "loss.png")
"""What a run writes into its folder, besides its state and its comparison."""

# A resumed run may differ from the one it goes on with in these settings, which change none of its numbers.
FREE_ON_RESUME = ("out", "resume", "overwrite", "dry_run", "device")

_KEPT = ("units", "long_name", "component", "noise")  # attributes of the data that are true of samples too


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
        self.folder = config.folder
        self.budget = Budget(config.minutes, config.sampling.num)
        model = "" if config.model == "diffusion" else f" --model {config.model}"
        self.stopping = Stopping(f"sciffusion-train --field {config.field}{model} --out {self.folder} --resume")

    def execute(self) -> Comparison | Retrieval | None:
        """Train, judge on held-out samples and write everything into the folder.

        Returns
        -------
        Comparison, Retrieval or None
            The held-out fields beside the drawn ones; how well a matcher finds the held-out partners; None for a dry
            run.

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
        distributed.barrier()  # all have looked before the main process writes there, which alone writes
        tune_allocator()
        prepared = prepare(self.config)
        self.say(self.plan(prepared))
        if self.config.dry_run:
            return None
        with self.stopping.watching():
            self._start(prepared)
            self._train(prepared)
            width = self._choose_average(prepared)
            self._save_checkpoint(prepared, width, {})
            return self._finish(prepared, width) if distributed.is_main() else None

    def plan(self, prepared: Prepared) -> str:
        """Describe the run in a few lines."""
        field, split, trainer = prepared.field, prepared.split, prepared.trainer
        groups = {name: len(np.unique(groups_of(field)[index])) for name, index in split.items()}
        counts = ", ".join(f"{len(split[name])} {name} ({groups[name]} groups)" for name in split)
        size = " x ".join(str(field.sizes[dim]) for dim in grid_dims(field))
        weights = sum(p.numel() for p in trainer.parameters.values())
        names = ", ".join(prepared.train.conditions.names) or "nothing"
        network = {"diffusion": "U-Net", "matcher": "Matcher"}[self.config.model]
        budget = f"{trainer.total} samples" if trainer.total else f"{self.config.minutes:g} minutes"
        alone = "" if "group" in field.coords else "no coordinate 'group': every sample is taken as independent\n"
        return (
            f"{get_field(self.config.field).long_name}: {counts}; {size} pixels [{field.attrs.get('units', '')}]\n"
            f"{alone}{network} with {weights / 1e6:.2f} M parameters on {trainer.device}, "
            f"conditional on {names}; {budget}; into {self.folder}"
        )

    def say(self, text: str) -> None:
        """Print a line above the progress bars."""
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
            if distributed.is_main():
                self._trim_log(prepared.trainer.samples)
            self.say(f"resuming after {prepared.trainer.samples} samples")
            return
        if not distributed.is_main():
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

    @property
    def _log_path(self) -> Path:
        return self.folder / PROGRESS if distributed.is_main() else Path(os.devnull)

    def _log(self) -> list[dict[str, Any]]:
        lines = (self.folder / PROGRESS).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]  # a killed writer leaves half a line

    def _save_state(self, prepared: Prepared) -> None:
        if not distributed.is_main():
            return
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
        log = open(self._log_path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115  (closed below)
        with self.stopping.polled(), bar, log:
            for progress in trainer:
                log.write(json.dumps(_line(progress)) + "\n")
                losses = [*losses[-99:], progress.loss]
                if trainer.total is None:
                    pace.append(distributed.agreed(progress.seconds))
                    self._fix_total(prepared, pace)
                    bar.total = trainer.total
                bar.set_postfix(loss=f"{np.mean(losses):.4f}", refresh=False)
                bar.update(progress.samples - bar.n)
                if _due(progress, trainer.total, config.evaluations, config.batch_size):
                    log.write(json.dumps(self._evaluate(prepared, 0)) + "\n")
                stop = bool(distributed.agreed(self.stopping.asked))
                if stop or time.monotonic() - saved > 60 * config.checkpoint_minutes:
                    self._save_state(prepared)
                    saved = time.monotonic()
                if stop:
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
        heldout = evaluations * self._seconds(prepared, config.training.heldout)
        draw = 0.0
        if isinstance(prepared.objective, DenoisingObjective):
            few = min(16, len(prepared.validation))
            draw = build_sampler(config.sampling).calls() * self._seconds(prepared, few) / (BANDS * few)
        reserve = self.budget.reserve(heldout, draw, len(prepared.split["test"]))
        steps = int(distributed.agreed(self.budget.steps(pace, reserve)))
        trainer.total = (trainer.step + steps) * config.training.batch_size
        self.say(f"{pace:.2f} s a step of {config.training.batch_size}: {trainer.total} samples fit the budget")

    def _seconds(self, prepared: Prepared, num: int) -> float:
        """Seconds of the held-out loss of `num` samples, with something to spare."""
        with autocast(prepared.trainer.device, self.config.training.precision):
            prepared.objective.heldout(prepared.validation, 1)  # the first call is a slow one
            began = time.monotonic()
            prepared.objective.heldout(prepared.validation, num)
        return 1.1 * (time.monotonic() - began)

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
        with open(self._log_path, "a", encoding="utf-8") as log:
            log.writelines(json.dumps(line) + "\n" for line in results)
        return int(np.argmin([np.mean(list(line["heldout"].values())) for line in results]))

    def _save_checkpoint(self, prepared: Prepared, width: int, scores: dict[str, Any]) -> None:
        if not distributed.is_main():
            return
        trainer, field, train = prepared.trainer, prepared.field, prepared.train
        dims, made = network_channels(train.transform, field.isel(sample=train.index[:1]))
        average = trainer.averages[width]
        groups = groups_of(field)
        header = {
            "config": self._settings(),
            "field": {
                "name": self.config.field,
                "long_name": get_field(self.config.field).long_name,
                "dims": [str(dim) for dim in field.dims],
                "channels": train.channels,
                "network_dims": list(dims),
                "network_labels": made,
                "labels": {name: c.values.tolist() for name, c in field.coords.items() if c.dims == ("channel",)},
                "attrs": {key: field.attrs[key] for key in self._kept(train) if key in field.attrs},
            },
            "transform": train.transform.to_dict(),
            **train.conditions.header(),
            "split": {name: np.unique(groups[index]).tolist() for name, index in prepared.split.items()},
            "ema": average.width,
            "scores": scores,
            "provenance": {
                "sciffusion_version": __version__,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "samples_seen": trainer.samples,
                "training_maps": len(train),
                "data": self.config.data or f"packaged with the field {self.config.field}",
                "torch": torch.__version__,
                "python": platform.python_version(),
                "machine": platform.machine(),
            },
        }
        coords = {dim: field[dim] for dim in grid_dims(field)}
        checkpoint = Checkpoint(average.tensors, coords, dict(train.conditions.table), header)
        checkpoint.save(self.folder / CHECKPOINT, overwrite=True)

    @staticmethod
    def _kept(train: FieldDataset) -> tuple[str, ...]:
        """Attributes that are true of samples: their noise is that of the errors only where a model was told these."""
        return _KEPT if ERRORS in train.conditions.names else tuple(key for key in _KEPT if key != "noise")

    def _finish(self, prepared: Prepared, width: int) -> Comparison | Retrieval:
        """Judge the model on held-out samples, write what was found, and figures."""
        path = self.folder / CHECKPOINT
        judge = draw_and_compare if self.config.model == "diffusion" else judge_matcher
        found = judge(Checkpoint.open(path), path, prepared, self)
        found.write(self.folder, overwrite=True)
        plot.save(plot.plot_loss(self._log()), self.folder / "loss.png", overwrite=True)
        self._save_checkpoint(prepared, width, found.scores)
        self.say(found.summary())
        page = f", {PAGE}" if PAGE in found.files else ""
        self.say(f"{self.folder}: {CHECKPOINT}{page}, figures, scores.json; {self.budget.elapsed / 60:.1f} minutes")
        return found


def _outputs(folder: Path) -> list[str]:
    """Return the names of the files in a folder that runs write, those of comparisons among them."""
    there = [name for name in OUTPUTS if (folder / name).exists()]
    return list(dict.fromkeys(there + written_files(folder)))  # the table of a search and of a comparison share a name


def _line(progress: Progress) -> dict[str, Any]:
    return {key: getattr(progress, key) for key in progress.__dataclass_fields__}


def _due(progress: Progress, total: int | None, times: int, batch: int) -> bool:
    """Whether one of `times` evenly spaced evaluations falls on this step."""
    if not total or not times:
        return False
    every = total / times
    return progress.samples // every > max(0, progress.samples - batch) // every


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
