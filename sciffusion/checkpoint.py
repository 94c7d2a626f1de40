"""Files of a model: one to use and one to resume, both safetensors with JSON in the header, safe to open from anyone.

The checkpoint alone is enough to draw samples in physical units in a new process: weights, settings, fitted
transform, coordinates, units, the conditions of the training set and provenance.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_loaders.files import replacing

__all__ = ["FORMAT_VERSION", "Checkpoint", "load_state", "save_state"]

FORMAT_VERSION = 2  # 2: conditions on the grid, and the scale of each
_KEY = "sciffusion"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Parameters
    ----------
    weights : dict of str to Tensor
        Parameters of the network.
    coords : xarray.Coordinates
        Coordinates of the grid, with units and boundaries.
    conditions : dict of str to numpy.ndarray
        Values of each condition over samples of the training set: ``(num,)``, of maps ``(num, *grid)``.
    header : dict
        ``config``, ``field`` (name, dims, attrs; ``channels``, ``network_dims`` and ``network_labels`` as the network
        sees it), ``transform``, ``conditions`` (units), ``scales`` and ``contexts`` (of the conditions), ``split``,
        ``ema``, ``scores``, ``provenance``.
    """

    weights: dict[str, Tensor]
    coords: Mapping[str, xr.DataArray]
    conditions: dict[str, np.ndarray]
    header: dict[str, Any] = field(default_factory=dict)

    @property
    def grid(self) -> list[str]:
        """Names of the grid's dims."""
        return [dim for dim in self.header["field"]["dims"] if dim not in ("sample", "channel")]

    @property
    def boundary(self) -> tuple[str, ...]:
        """Rule of each grid axis."""
        return tuple(self.coords[dim].attrs["boundary"] for dim in self.grid)

    @property
    def kind(self) -> str:
        """What was trained: ``diffusion`` or ``matcher``."""
        return str(self.header["config"].get("model", "diffusion"))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of weights and transform: what decides about samples.

        Scores and dates may be added to a file without changing it.
        """
        digest = hashlib.sha256(json.dumps(self.header.get("transform"), sort_keys=True).encode())
        for name in sorted(self.weights):
            digest.update(name.encode() + self.weights[name].detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | Path, *, overwrite: bool = False, dtype: torch.dtype | None = None) -> None:
        """Write the checkpoint beside `path` and rename it.

        Parameters
        ----------
        path : str or pathlib.Path
            Usually ``checkpoint.safetensors``.
        overwrite : bool
            Replace an existing file.
        dtype : torch.dtype, optional
            Precision of the stored weights; float16 halves the file.
        """
        header = {**self.header, "format_version": FORMAT_VERSION}
        header["coords"] = {str(dim): coord.attrs for dim, coord in self.coords.items()}
        weights = {name: value.to(dtype) if dtype else value for name, value in self.weights.items()}
        tensors = {
            **{f"network/{name}": value for name, value in weights.items()},
            **{f"coords/{dim}": torch.tensor(c.values, dtype=torch.float64) for dim, c in self.coords.items()},
            **{f"conditions/{name}": torch.tensor(value) for name, value in self.conditions.items()},
        }
        _write(path, tensors, header, overwrite)

    @classmethod
    def open(cls, path: str | Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, no checkpoint of ours, or of a newer format.
        """
        tensors, header = _read(path)
        version = header.get("format_version")
        if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
            raise ValueError(
                f"{path}: checkpoint format {version}; this sciffusion reads up to {FORMAT_VERSION}: update sciffusion"
            )
        try:
            return cls._of(tensors, header)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: a checkpoint whose parts do not fit together ({error!r})") from error

    @classmethod
    def _of(cls, tensors: dict[str, Tensor], header: dict[str, Any]) -> Checkpoint:
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "coords": {}, "conditions": {}}
        for name, value in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = value
        coords = {
            dim: xr.DataArray(parts["coords"][dim].numpy(), dims=(dim,), attrs=attrs)
            for dim, attrs in header.pop("coords").items()
        }
        table = {name: parts["conditions"][name].numpy() for name in header["conditions"]}
        return cls({name: value.float() for name, value in parts["network"].items()}, coords, table, header)


def save_state(path: str | Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write all that an exact resumption needs, replacing the state before it in one rename."""
    _write(path, tensors, {**numbers, "format_version": FORMAT_VERSION}, overwrite=True)


def load_state(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote; raises like `Checkpoint.open`."""
    tensors, numbers = _read(path)
    if numbers.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path}: state format {numbers.get('format_version')}; resume with the sciffusion that wrote it"
        )
    return tensors, numbers


def _write(path: str | Path, tensors: dict[str, Tensor], header: dict[str, Any], overwrite: bool) -> None:
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, overwrite=overwrite) as temporary:
        save_file(tensors, str(temporary), metadata={_KEY: json.dumps(header)})


def _read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as stored:
            header = (stored.metadata() or {}).get(_KEY)
            if header is None:
                raise ValueError(f"{path}: a safetensors file, but not of sciffusion (no {_KEY!r} in its header)")
            return {name: stored.get_tensor(name) for name in stored.keys()}, json.loads(header)  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a safetensors file, or damaged ({error})") from error
