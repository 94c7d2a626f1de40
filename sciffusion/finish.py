"""The end of a training run: the model is judged on samples that no decision saw."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from data_loaders import write_field
from sciffusion.checkpoint import Checkpoint
from sciffusion.conditions import field_of
from sciffusion.config import RunConfig
from sciffusion.dataset import groups_of
from sciffusion.field import get_field
from sciffusion.generate import Model
from sciffusion.judge import Retrieval, judge
from sciffusion.match import Matcher
from sciffusion.nn.embed import MASK
from sciffusion.statistics.choice import measurable
from sciffusion.validate import Comparison, compare

if TYPE_CHECKING:
    from sciffusion.budget import Budget
    from sciffusion.prepare import Prepared

__all__ = ["SAMPLES", "Retrieval", "draw_and_compare", "judge_matcher"]

SAMPLES = "samples.h5"


class Asking(Protocol):
    """The run that asks, as far as it matters here."""

    config: RunConfig
    folder: Path
    budget: Budget
    progress: bool

    def say(self, text: str) -> None:
        """Print a line."""
        ...


def draw_and_compare(checkpoint: Checkpoint, path: Path, prepared: Prepared, run: Asking) -> Comparison:
    """Draw as many fields as there are held-out ones, under their conditions, and compare."""
    data, config = prepared.data, run.config
    model = Model(checkpoint, path, config.device)
    test = prepared.split["test"]
    num = run.budget.drawn(len(test))
    chosen = np.sort(test[np.linspace(0, len(test) - 1, min(num, len(test))).astype(int)])
    held = data.isel(sample=chosen).load()
    real = field_of(held)
    partner = np.arange(num) % len(chosen)
    # Their conditions, but not their bad pixels.
    conditions = {n: v[partner] for n, v in model.conditions.values(held).items() if n != MASK}
    with warnings.catch_warnings():
        # A held-out simulation at the edge of parameter space lies outside the training range by design.
        warnings.filterwarnings("ignore", message=".*outside the training set's range", category=UserWarning)
        generated = model.generate(num, conditions=conditions, seed=config.seed, progress=run.progress)
    write_field(generated, run.folder / SAMPLES, overwrite=True)
    group = "group" if len(np.unique(groups_of(real))) > 1 else None
    if group is None:
        run.say("all held-out samples are of one group: the floor takes them as independent, and is too low")
    if num == len(chosen):  # one to one: a half of the drawn maps may stand for the same half of the real ones
        generated = generated.assign_coords(group=("sample", groups_of(real)))
    diagnostics, reasons = measurable(get_field(config.field).diagnostics, real)
    for reason in reasons:
        run.say(f"not measured of these data: {reason}")
    return compare(real, generated, group=group, diagnostics=diagnostics)


def judge_matcher(checkpoint: Checkpoint, path: Path, prepared: Prepared, run: Asking) -> Retrieval:
    """Look for the partners of held-out objects."""
    matcher = Matcher(checkpoint, path, run.config.device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*outside the training set's range", category=UserWarning)
        return judge(matcher, prepared.data.isel(sample=prepared.split["test"]))
