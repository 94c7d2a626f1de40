"""Has a model memorized its training set? Distances to the nearest training sample tell.

A model that copies draws samples closer to a training sample than a held-out real one ever is. Where the distribution
of a field does not change when it is rolled, mirrored or turned, neither may the distance: name the symmetries, or a
copy in another position is not found.

The held-out samples are the measure. They must share no group (simulation, object, block of sky) with the training set:
siblings lie close to it for a reason that is no copying, and hide what a model copies. The p-values take samples as
independent; where several held-out samples are of one group they are too small.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
import xarray as xr

from sciffusion.statistics.duplicates import copies
from sciffusion.statistics.grid import name_of
from sciffusion.statistics.neighbors import Search

__all__ = ["copies", "memorization_test", "nearest", "self_copies"]

_BINS = 10
_FEWEST = 20


def nearest(
    generated: xr.DataArray,
    training: xr.DataArray,
    heldout: xr.DataArray,
    *,
    symmetries: Sequence[str] = (),
    shortlist: int | None = 64,
) -> xr.Dataset:
    r"""Return the distances of generated, and of held-out real, samples to the nearest training sample.

    The distance of two samples is the root of the mean squared difference over the pixels that are good in both, in
    units of the standard deviation of the training set, and the least one over all positions that the symmetries allow.
    Give fields as the network sees them (transformed): in a linear field the highest peak decides alone. Two
    independent Gaussian samples of white noise are :math:`\sqrt 2` apart, less in the best of many positions. The
    brightness is no symmetry.

    Parameters
    ----------
    generated, heldout : DataArray (sample, [channel,] *grid)
        Sets in one size are compared best. Pixels with a true coordinate ``mask`` do not count; in rolled positions
        at least half of the good ones must be common (or as many as can be).
    training : DataArray (sample, [channel,] *grid)
        Lazy fields are read a few samples at a time, some times over.
    symmetries : sequence of {"roll", "flip", "rotate90"}
        Those of the field: rolls by whole pixels along the axes whose coordinate says ``boundary = "periodic"``;
        mirror images along any axis; rotations by 90 degrees in planes of two axes of one length, spacing and boundary.
        The default compares samples as they lie.
    shortlist : int or None
        Where fields roll, each sample is held against so many training samples, those with the most similar invariant
        descriptors (quantiles at five scales, power in shells). A copy has the same descriptor, so it is on the list;
        of a sample that is no copy the distance is an upper bound, for generated and held-out ones alike. None, a bad
        pixel, or fields that do not roll: all pairs, exactly.

    Returns
    -------
    Dataset
        ``generated`` and ``heldout``: the distances (along ``sample_generated`` and ``sample_heldout``), and
        ``generated_index``, ``heldout_index``: the numbers of the nearest training samples. Attributes: ``p_value``,
        of the two-sample Kolmogorov-Smirnov test against generated samples that lie closer (Hodges 1958), and
        ``symmetries``, the positions tried.

    Raises
    ------
    ValueError
        If dims or sizes differ, a value is not finite, all training values are equal, a symmetry is unknown, or the
        shortlist is empty.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=(3, 40, 16))
    >>> copied, training, heldout = (xr.DataArray(v, dims=("sample", "x")) for v in values)
    >>> copied[0] = training[7]
    >>> found = nearest(copied, training, heldout)
    >>> float(found.generated[0]), int(found.generated_index[0]), float(found.heldout.min().round(2))
    (0.0, 7, 0.65)

    A copy rolled by 5 pixels and mirrored:

    >>> training = training.assign_coords(x=("x", np.arange(16.0), {"boundary": "periodic"}))
    >>> copied[0] = np.roll(training[7], 5)[::-1]
    >>> found = nearest(copied, training, heldout, symmetries=["roll", "flip"])
    >>> float(found.generated[0]), int(found.generated_index[0])
    (0.0, 7)
    """
    search = _search(training, symmetries, shortlist, generated, heldout)
    return _distances(search, generated, heldout)


def memorization_test(
    generated: xr.DataArray,
    training: xr.DataArray,
    heldout: xr.DataArray,
    *,
    symmetries: Sequence[str] = (),
    shortlist: int | None = 64,
    false_alarm: float = 0.01,
) -> xr.Dataset:
    r"""Test whether a model copies its training set: distances, by density too, and the copies themselves.

    Where training samples lie dense, all distances are small, and a model copies there unseen by a test of all samples
    together. So the distances of generated and held-out samples are also compared among samples of like density. It is
    told by the distance to the tenth nearest training sample in descriptors (see `nearest`), small where the set is
    dense. Bins hold equal shares of both sets together: ten, or as many as leave 20 samples of either set in each.

    Parameters
    ----------
    generated, training, heldout, symmetries, shortlist
        As `nearest`. Held-out samples must share no group with the training set; those shared are counted.
    false_alarm : float
        As `copies`.

    Returns
    -------
    Dataset
        What `nearest` and `copies` return, and

        - ``generated_decile``, ``heldout_decile``: the bin of each sample, 0 the densest;
        - along ``decile``: ``decile_p``, the p-value of the Kolmogorov-Smirnov test of `nearest` in each bin;
          ``decile_generated`` and ``decile_heldout``, the median distances; ``generated_count``, ``heldout_count``;
        - attributes ``decile_p_value``, the smallest p-value times the number of bins (at most 1; Bonferroni, and the
          first step of Holm 1979), and ``shared_groups``, the number of groups that are in both the training and the
          held-out set (-1: unknown, without coordinate ``group``). It should be 0.

    Raises
    ------
    ValueError
        As `nearest` and `copies`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> training, heldout, drawn = (xr.DataArray(rng.normal(size=(n, 32)), dims=("sample", "x")) for n in (99, 50, 50))
    >>> drawn[:5] = training[:5] + 0.05 * rng.normal(size=(5, 32))
    >>> found = memorization_test(drawn, training, heldout)
    >>> sorted(found.copied.values.tolist()), found.attrs["copies"], found.sizes["decile"]
    ([0, 1, 2, 3, 4], 5, 2)
    """
    search = _search(training, symmetries, shortlist, generated, heldout)
    described = {"generated": search.describe(generated), "heldout": search.describe(heldout)}
    found = _distances(search, generated, heldout, described)
    near = copies(found, false_alarm=false_alarm)
    deciles = _deciles(found, {which: search.radius(each) for which, each in described.items()})
    attrs = {**found.attrs, **near.attrs, **deciles.attrs, "shared_groups": _shared(training, heldout)}
    return found.merge(near).merge(deciles).assign_attrs(attrs)


def self_copies(
    generated: xr.DataArray,
    heldout: xr.DataArray,
    *,
    symmetries: Sequence[str] = (),
    shortlist: int | None = 64,
    false_alarm: float = 0.01,
) -> xr.Dataset:
    """Find generated samples that repeat one another: a collapse onto a few modes, or one seed drawn twice.

    Each generated sample is held against all other generated ones, and each held-out real one against the generated
    ones too, which is how far a sample from another source lies. A model without collapse whose samples are like the
    real ones has both alike.

    Parameters
    ----------
    generated, heldout, symmetries, shortlist
        As `nearest`, with the generated set in place of the training set.
    false_alarm : float
        As `copies`.

    Returns
    -------
    Dataset
        What `nearest` and `copies` return; ``original`` and ``generated_index`` are numbers of generated samples. Of a
        pair each is a copy of the other.

    Raises
    ------
    ValueError
        As `nearest` and `copies`.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(size=(2, 40, 16))
    >>> drawn, heldout = (xr.DataArray(v, dims=("sample", "x")) for v in values)
    >>> drawn[3] = drawn[12]
    >>> self_copies(drawn, heldout).copied.values
    array([ 3, 12])
    """
    if generated.sizes["sample"] < 2:
        raise ValueError(f"{name_of(generated)} has one sample; two are needed to repeat one another")
    search = _search(generated, symmetries, shortlist, heldout)
    found = _distances(search, generated, heldout, itself=True)
    near = copies(found, false_alarm=false_alarm)
    return found.merge(near).assign_attrs({**found.attrs, **near.attrs})


def _search(training: xr.DataArray, symmetries: Sequence[str], shortlist: int | None, *fields: xr.DataArray) -> Search:
    for field in fields:
        sizes = [{dim: size for dim, size in each.sizes.items() if dim != "sample"} for each in (field, training)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"{name_of(field)} has the sizes {dict(field.sizes)}, the training set {dict(training.sizes)}; all but "
                "'sample' must agree"
            )
    return Search.of(training, symmetries, shortlist)


def _distances(
    search: Search,
    generated: xr.DataArray,
    heldout: xr.DataArray,
    described: dict[str, np.ndarray] | None = None,
    itself: bool = False,
) -> xr.Dataset:
    found: dict[str, Any] = {}
    for name, field in (("generated", generated), ("heldout", heldout)):
        distance, index = search(field, (described or {}).get(name), itself and name == "generated")
        what = "other generated" if itself else "training"
        attrs = {"units": "", "long_name": f"distance of {name} to the nearest {what} sample, in σ"}
        found[name] = (f"sample_{name}", distance, attrs)
        found[f"{name}_index"] = (f"sample_{name}", index)
    p_value = _closer(found["generated"][1], found["heldout"][1])
    return xr.Dataset(found, attrs={"p_value": p_value, "symmetries": search.alignment.text})


def _closer(generated: np.ndarray, heldout: np.ndarray) -> float:
    with warnings.catch_warnings():
        # large sets: the exact sum overflows, and the asymptotic one, which is then taken, is as good
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        test: Any = scipy.stats.ks_2samp(generated, heldout, alternative="greater")
    return float(test.pvalue)


def _deciles(distances: xr.Dataset, radius: dict[str, np.ndarray]) -> xr.Dataset:
    """Compare the distances in bins of the radius that holds ten training samples."""
    pooled = np.concatenate([radius[which] for which in ("generated", "heldout")])
    for number in range(_BINS, 0, -1):
        edges = np.quantile(pooled, np.arange(1, number) / number)
        place = {which: np.searchsorted(edges, each) for which, each in radius.items()}
        count = {which: np.bincount(each, minlength=number) for which, each in place.items()}
        if min(each.min() for each in count.values()) >= _FEWEST:
            break
    values = {which: [distances[which].values[place[which] == i] for i in range(number)] for which in place}
    p = np.array([_closer(*pair) for pair in zip(values["generated"], values["heldout"])])
    found: dict[str, Any] = {"decile_p": ("decile", p, {"units": "", "long_name": "p-value, generated closer"})}
    for which in ("generated", "heldout"):
        text = {"units": "", "long_name": f"median distance of {which} to the nearest training sample, in σ"}
        found[f"{which}_decile"] = (f"sample_{which}", place[which])
        found[f"decile_{which}"] = ("decile", np.array([np.median(each) for each in values[which]]), text)
        found[f"{which}_count"] = ("decile", count[which])
    return xr.Dataset(found, attrs={"decile_p_value": float(min(1.0, number * p.min()))})


def _shared(training: xr.DataArray, heldout: xr.DataArray) -> int:
    if not all("group" in field.coords for field in (training, heldout)):
        return -1
    return len(np.intersect1d(training["group"].values, heldout["group"].values))
