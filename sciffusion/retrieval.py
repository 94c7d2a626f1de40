"""A library of spectra searched by embedding: the nearest unit vectors, exact, by matrix products and top-k.

Cosines are computed in float32 block by block, whatever the precision of what is stored, so that memory is bounded.
Equal cosines are given in the order of the library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data_loaders.files import replacing

__all__ = ["FORMAT_VERSION", "Neighbors", "SpectrumIndex"]

FORMAT_VERSION = 1
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

_KEY = "sciffusion_index"
_ROWS, _QUERIES = 2**17, 128  # of the library and of the queries compared at once: 64 MiB each


class Neighbors(NamedTuple):
    """The nearest entries of a library to each query, the nearest first."""

    index: np.ndarray
    """Their places in the library ``(query, num)``, int64."""
    cosine: np.ndarray
    """Cosine of the angle to the query ``(query, num)``, float32."""


@dataclass(frozen=True)
class SpectrumIndex:
    """Unit vectors with their ids, searched by brute force.

    Parameters
    ----------
    vectors : Tensor
        Shape (num, dim), of length 1, in float32, float16 or bfloat16.
    ids : numpy.ndarray
        Name of each ``(num,)``: integers, which stay 64-bit, or text.
    attrs : dict
        What is known of the library, as JSON writes it; ``checkpoint`` is the fingerprint of the matcher.

    Examples
    --------
    >>> index = SpectrumIndex.of(np.eye(4), ids=[11, 12, 13, 14])
    >>> found = index.search(np.array([[0.0, 0.6, 0.8, 0.0]]), num=2)
    >>> index.ids[found.index]
    array([[13, 12]])
    >>> found.cosine
    array([[0.8, 0.6]], dtype=float32)
    """

    vectors: Tensor
    ids: np.ndarray
    attrs: dict[str, Any]

    @classmethod
    def of(
        cls,
        vectors: Tensor | np.ndarray,
        ids: Sequence[Any] | np.ndarray | None = None,
        *,
        dtype: str = "float32",
        attrs: dict[str, Any] | None = None,
    ) -> SpectrumIndex:
        """Index `vectors`, brought to length 1.

        Parameters
        ----------
        vectors : Tensor or numpy.ndarray
            Shape (num, dim).
        ids : sequence or numpy.ndarray, optional
            Integers or text, one for each; by default their places, from 0.
        dtype : str
            How they are held: ``float32``, or ``float16`` or ``bfloat16`` in half the memory, whose cosines are
            wrong by about 1e-4 and 1e-3.
        attrs : dict, optional
            What is known of the library.

        Raises
        ------
        ValueError
            If a vector is zero or not finite, the number of ids differs, they are neither integers nor text, or the
            dtype is unknown.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r}: known are {', '.join(DTYPES)}")
        units = _unit(torch.as_tensor(vectors), "vector").to(DTYPES[dtype])
        names = np.arange(len(units)) if ids is None else np.asarray(ids)
        if names.shape != (len(units),):
            raise ValueError(f"expected {len(units)} ids, one for each vector, got an array {names.shape}")
        if names.dtype.kind not in "iuUT":
            raise ValueError(f"ids: expected integers or text, got {names.dtype}")
        return cls(units, names.astype(np.int64 if names.dtype.kind in "iu" else str), dict(attrs or {}))

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, query: Tensor | np.ndarray, num: int) -> Neighbors:
        """Find the nearest entries to each query.

        Parameters
        ----------
        query : Tensor or numpy.ndarray
            Shape (query, dim), or (dim,) for a single one; brought to length 1.
        num : int
            How many for each.

        Raises
        ------
        ValueError
            If the dimensions differ, a query is zero or not finite, or the library has fewer entries than `num`.
        """
        queries = self._directions(query)
        if not 1 <= num <= len(self):
            raise ValueError(f"num: expected 1 to {len(self)} neighbors (the size of the library), got {num}")
        found = [self._nearest(some, num) for some in queries.split(_QUERIES)]
        cosine, index = (torch.cat(parts).cpu().numpy() for parts in zip(*found))
        return Neighbors(index, cosine)

    def log_sum(self, query: Tensor | np.ndarray, scale: float) -> np.ndarray:
        """Return ``log sum_j exp(scale cos_j)`` over the whole library: what normalizes a softmax of the cosines.

        Parameters
        ----------
        query : Tensor or numpy.ndarray
            Shape (query, dim); brought to length 1.
        scale : float
            Inverse temperature.

        Returns
        -------
        numpy.ndarray
            Shape (query,), float64.
        """
        sums = []
        for some in self._directions(query).split(_QUERIES):
            blocks = [(scale * some @ block.float().T).logsumexp(1) for block in self.vectors.split(_ROWS)]
            sums.append(torch.stack(blocks).double().logsumexp(0))
        return torch.cat(sums).cpu().numpy()

    def _directions(self, query: Tensor | np.ndarray) -> Tensor:
        """Bring queries to length 1, where the library is."""
        queries = _unit(torch.atleast_2d(torch.as_tensor(query)), "query")
        if queries.shape[1] != self.vectors.shape[1]:
            raise ValueError(
                f"the queries have {queries.shape[1]} dimensions, the library {self.vectors.shape[1]}: "
                "they must come from the same matcher"
            )
        return queries.to(self.vectors.device)

    def _nearest(self, queries: Tensor, num: int) -> tuple[Tensor, Tensor]:
        best = queries.new_empty(len(queries), 0), queries.new_empty(len(queries), 0, dtype=torch.int64)
        for start in range(0, len(self), _ROWS):
            cosine, place = _top(queries @ self.vectors[start : start + _ROWS].float().T, num)
            # What came before stands first, so that among equals it stays first.
            values, chosen = _top(torch.cat([best[0], cosine], 1), num)
            best = values, torch.cat([best[1], place + start], 1).gather(1, chosen)
        return best

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the library as safetensors, beside `path` and renamed."""
        text = self.ids.dtype.kind == "U"
        ids = np.frombuffer(json.dumps(self.ids.tolist()).encode(), np.uint8) if text else self.ids
        tensors = {"vectors": self.vectors.cpu().contiguous(), "ids": torch.from_numpy(ids.copy())}
        header = {"format_version": FORMAT_VERSION, "text": text, "attrs": self.attrs}
        with replacing(path, overwrite=overwrite) as temporary:
            save_file(tensors, str(temporary), metadata={_KEY: json.dumps(header)})

    @classmethod
    def open(cls, path: str | Path) -> SpectrumIndex:
        """Open a library; its vectors stay in the file and are read where they are looked at.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, no library of ours, or of a newer format.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            with safe_open(str(path), framework="pt") as stored:
                metadata = stored.metadata() or {}
                if _KEY not in metadata:
                    raise ValueError(f"{path}: a safetensors file, but no library of embeddings; make one by "
                                     "SpectrumIndex.of(...).save(...)")  # fmt: skip
                header = json.loads(metadata[_KEY])
                if header["format_version"] != FORMAT_VERSION:
                    raise ValueError(f"{path}: library format {header['format_version']}; this sciffusion reads "
                                     f"{FORMAT_VERSION}: update sciffusion")  # fmt: skip
                vectors, ids = stored.get_tensor("vectors"), stored.get_tensor("ids").numpy()
            names = np.array(json.loads(ids.tobytes()), dtype=str) if header["text"] else ids
        except (SafetensorError, OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a library of embeddings, or damaged ({error})") from error
        if vectors.ndim != 2 or names.shape != (len(vectors),) or vectors.dtype not in DTYPES.values():
            raise ValueError(
                f"{path}: {names.shape} ids for vectors {tuple(vectors.shape)} of {vectors.dtype}; it is damaged"
            )
        return cls(vectors, names, header["attrs"])


def _unit(vectors: Tensor, what: str) -> Tensor:
    """Give the rows length 1 in float32."""
    if vectors.ndim != 2:
        raise ValueError(f"expected an array ({what}, dim), got {tuple(vectors.shape)}")
    units = F.normalize(vectors.float(), dim=1, eps=torch.finfo(torch.float32).tiny)
    bad = torch.nonzero(~((units.square().sum(1) - 1).abs() < 1e-3))
    if len(bad):
        raise ValueError(f"{what} {int(bad[0])} is zero or not finite: it has no direction")
    return units


def _top(values: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Return the `num` largest of each row, or all there are, and their places; among equals the first ones."""
    num = min(num, values.shape[1])
    more = min(num + 1, values.shape[1])
    largest, place = values.topk(more, 1)
    if more > num:
        # Which of several equals top-k takes is not defined: where the cut falls among them all are put in order.
        split = torch.nonzero(largest[:, num - 1] == largest[:, num]).flatten()
        if len(split):
            in_order = values[split].sort(dim=1, descending=True, stable=True)
            largest[split], place[split] = in_order.values[:, :more], in_order.indices[:, :more]
    place, by_place = place.sort(dim=1)
    largest, by_value = largest.gather(1, by_place).sort(dim=1, descending=True, stable=True)
    return largest[:, :num], place.gather(1, by_value)[:, :num]
