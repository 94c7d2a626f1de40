"""What a training run needs before its first step: data read and split, transform and conditions fitted, a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from sciffusion.conditions import Conditions, field_of, has_bad_pixels
from sciffusion.config import RunConfig
from sciffusion.contrastive import ContrastiveObjective
from sciffusion.dataset import FieldDataset, groups_of, split_by_group
from sciffusion.field import Field, get_field
from sciffusion.generate import build_denoiser, find_checkpoint, pick_device
from sciffusion.nn.embed import MASK
from sciffusion.nn.matcher import SpectrumMatcher
from sciffusion.statistics.choice import measurable
from sciffusion.statistics.grid import grid_dims
from sciffusion.symmetry import Symmetry, symmetries
from sciffusion.train import DenoisingObjective, Objective, Trainer
from sciffusion.transform import chain

__all__ = ["Prepared", "prepare"]

_LEAST_TEST = 4  # two halves of two samples make the smallest floor
ERRORS = "log_error"
_HELD_BYTES = 2**29


@dataclass
class Prepared:
    """Data and model of a run, ready to train."""

    data: xr.DataArray | xr.Dataset
    split: dict[str, np.ndarray]
    train: FieldDataset
    validation: FieldDataset
    trainer: Trainer
    objective: Objective

    @property
    def field(self) -> xr.DataArray:
        """The field itself, without its contexts."""
        return field_of(self.data)


def prepare(config: RunConfig) -> Prepared:
    """Read and split the data, fit the transform on the training part, build network and trainer.

    Raises
    ------
    ValueError
        For settings or data that do not fit together; the message names the data.
    """
    kind = get_field(config.field)
    source = ", ".join(config.data) or f"the packaged set of {kind.name}"
    data = _held(_sourced(kind.read(config.data, **config.reading()), source))
    field = field_of(data)
    if not isinstance(field.attrs.get("units"), str):
        raise ValueError(f"{source}: {field.name!r} has no units; set attrs['units'] ('' if dimensionless)")
    measurable(kind.diagnostics, field)  # an unknown name is told before training, not after
    split = split_by_group(field, config.split.validation, config.split.test, config.seed)
    if len(split["test"]) < _LEAST_TEST:
        raise ValueError(
            f"{len(split['test'])} held-out samples are too few to judge a model, {_LEAST_TEST} are the least; "
            "bring more data or raise split.test"
        )
    if config.model == "matcher" and len(np.unique(groups_of(field)[split["test"]])) < 2:
        raise ValueError("all held-out samples are of one group (object), and no stranger is among them; hold out more")
    transform = chain(kind.transform if config.transform is None else config.transform)
    transform = _named(source, transform.fit, field.isel(sample=split["train"]))
    names = _named(source, _condition_names, config, kind, data)
    conditions = _named(source, Conditions.of, data.isel(sample=split["train"]), names)
    boundary = tuple(field[dim].attrs["boundary"] for dim in grid_dims(field))
    moves = symmetries(kind.symmetries if config.symmetries is None else config.symmetries, boundary)
    turned = _invariances(config, kind, conditions)
    parts = {
        name: FieldDataset(data, split[name], transform, conditions, moves, config.seed, turned)
        for name in ("train", "validation")
    }
    torch.manual_seed(config.seed)
    device = pick_device(config.device)
    objective = _objective(config, boundary, parts["train"].channels, conditions)
    module = objective.module.to(device)
    if not config.resume:
        if config.init_from:
            _initialize(module, config.init_from, conditions)
        if config.encoder_from:
            _initialize(module, config.encoder_from, conditions, "encoders.")
    trainer = Trainer(objective, parts["train"], config.training, device)
    return Prepared(data, split, parts["train"], parts["validation"], trainer, objective)


def _sourced(data: xr.DataArray | xr.Dataset, source: str) -> xr.DataArray | xr.Dataset:
    """Number the samples as the file does, and name it, for messages."""
    data = data.assign_coords(sample=np.arange(data.sizes["sample"]))
    if isinstance(data, xr.DataArray):
        return data.assign_attrs(source=source)
    field = field_of(data)
    return data.assign({str(field.name): field.assign_attrs(source=source)})


def _held(data: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    """Read the field and its bad pixels if they are small: several passes over them follow, each of which computes."""
    field = field_of(data)
    if field.nbytes > _HELD_BYTES:
        return data
    # Variables alone: an array would read all that hangs on its pixels.
    for variable in (field.variable, *([field[MASK].variable] if MASK in field.coords else [])):
        variable.load()
    return field if isinstance(data, xr.DataArray) else data.assign({str(field.name): field})


def _condition_names(config: RunConfig, kind: Field, data: xr.DataArray | xr.Dataset) -> list[str]:
    """Return what the model is conditional on.

    The field's own conditions are taken as far as the data have them: a bare array has none. A matcher looks at errors
    where they are known; the map of bad pixels is never left out.
    """
    there = data.coords if isinstance(data, xr.DataArray) else data.variables
    names = config.conditions
    if names is None:
        own = kind.conditions if config.model == "diffusion" else (*kind.conditions, ERRORS)
        names = [name for name in dict.fromkeys(own) if name in there]
    return [*names, MASK] if has_bad_pixels(field_of(data)) else list(names)


def _invariances(config: RunConfig, kind: Field, conditions: Conditions) -> dict[str, tuple[Symmetry, ...]]:
    """Return the symmetries of each context that has a grid."""
    names = kind.invariances if config.invariances is None else config.invariances
    shapes = conditions.shapes
    return {name: symmetries(names, shape.boundary) for name, shape in shapes.items() if shape.grid and names}


def _objective(config: RunConfig, boundary: tuple[str, ...], channels: int, conditions: Conditions) -> Objective:
    """Return what is minimized, with its untrained network."""
    known = conditions.scalars, conditions.maps, conditions.shapes
    if config.model == "matcher":
        matcher = SpectrumMatcher(len(boundary), channels, boundary, *known, config=config.matcher)
        return ContrastiveObjective(matcher, config.seed)
    denoiser = build_denoiser(config.diffusion, config.network, boundary, channels, *known)
    # Noise levels and network need one device.
    return DenoisingObjective(denoiser.to(pick_device(config.device)), config.diffusion, config.seed)


def _named(source: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function`; its errors name the data."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _initialize(network: torch.nn.Module, path: str, conditions: Conditions, part: str = "") -> None:
    """Copy the weights of another checkpoint, all or those of `part`, or say why they do not fit."""
    from sciffusion.checkpoint import Checkpoint

    checkpoint = Checkpoint.open(find_checkpoint(path))
    for name, theirs in Conditions.stored(checkpoint.conditions, checkpoint.header).contexts.items():
        own = conditions.contexts.get(name)
        if own and own.labels != theirs.labels:  # weights know channels by their place
            raise ValueError(f"{path}: its {name!r} has the channels {theirs.labels}, these data have {own.labels}")
    stored = checkpoint.weights
    weights = {name: value for name, value in stored.items() if name.startswith(part)}
    own = {name: value for name, value in network.state_dict().items() if name.startswith(part)}
    odd = sorted(set(weights) ^ set(own)) or [name for name in own if own[name].shape != weights[name].shape]
    if odd or not own:
        found = f"differs from this run's in {odd[0]!r}" if odd else "has no encoder of a context, nor has this run's"
        advice = "the same network.encoder and matcher.encoder" if part else "the same network"
        raise ValueError(f"{path}: its network {found}; use {advice} and conditions")
    network.load_state_dict(weights, strict=not part)
