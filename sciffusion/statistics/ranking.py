r"""How well pairs are found again: the rank of the true partner in pools of a given size, and what chance would give.

A query's partner lies in a pool with others of other groups. Of M such others g are more similar than the partner; in a
pool of P drawn from them its rank is 1 + X with X hypergeometric. So the mean over all pools is known exactly,

.. math:: P(\mathrm{rank} \le k) = \sum_{x < k} \binom{g}{x} \binom{M - g}{P - 1 - x} \Big/ \binom{M}{P - 1},

and nothing is drawn. Chance has g uniform in 0 ... M: recall k / P, mean reciprocal rank :math:`H_P / P`, median
(P + 1) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import Column, Table
from scipy.special import gammaln

from sciffusion.statistics.resampling import bootstrap_weights, group_numbers

__all__ = ["Ranks", "ranks", "redshift_bins", "retrieval_scores", "within_bins"]

_BLOCK = 1024
_DRAWS = 200
_RECALL = (1, 5, 10)


@dataclass(frozen=True)
class Ranks:
    """Where the true partners stand.

    Attributes
    ----------
    above : ndarray of int (query,)
        How many others are more similar to the query than its partner.
    others : ndarray of int (query,)
        How many there are, of other groups than the query's.
    """

    above: np.ndarray
    others: np.ndarray


def ranks(left: np.ndarray, right: np.ndarray, group: np.ndarray | None = None, seed: int = 0) -> Ranks:
    """Return where the partner of each query stands among all others, by the scalar product of embeddings.

    Parameters
    ----------
    left, right : ndarray (n, d)
        Queries, and what is searched; rows of one number are partners. For a matrix of similarities (n, n) give it and
        the identity: ``ranks(similarity, np.eye(n))``.
    group : ndarray (n,), optional
        Others of the query's group (the same object seen again) are no wrong answers and not counted.
    seed : int
        Those exactly as similar as the partner stand above it or below at random, so that equal embeddings give chance.

    Returns
    -------
    Ranks

    Raises
    ------
    ValueError
        If shapes differ, or a value is not finite.

    Examples
    --------
    >>> ranks(np.array([[3, 2, 1], [3, 2, 1], [3, 2, 1]]), np.eye(3)).above.tolist()
    [0, 1, 2]
    """
    left, right = (np.asarray(each, np.float64) for each in (left, right))
    if left.ndim != 2 or left.shape != right.shape:
        raise ValueError(f"expected two arrays of embeddings (n, d), got the shapes {left.shape} and {right.shape}")
    for name, each in (("left", left), ("right", right)):
        if not np.isfinite(each).all():
            raise ValueError(f"row {int(np.argmin(np.isfinite(each).all(axis=1)))} of {name} is not finite")
    number = group_numbers(group, len(left))
    rng = np.random.default_rng(seed)
    above, others = np.zeros((2, len(left)), np.int64)
    for start in range(0, len(left), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(left)))
        similar = left[rows] @ right.T
        own = similar[np.arange(len(rows)), rows][:, None]
        wrong = number[rows][:, None] != number
        ties = ((similar == own) & wrong).sum(axis=1)
        above[rows] = ((similar > own) & wrong).sum(axis=1) + rng.integers(0, ties + 1)
        others[rows] = wrong.sum(axis=1)
    return Ranks(above, others)


def retrieval_scores(
    left: np.ndarray, right: np.ndarray, pool: int | None = 500, *, group: np.ndarray | None = None, seed: int = 0
) -> Table:
    """Return recall, mean reciprocal rank and median rank in pools of a given size.

    Parameters
    ----------
    left, right : ndarray (n, d)
        Queries and what is searched, such as embeddings of images and of spectra of held-out objects; of unit length
        for the cosine. Exchanged, the search goes the other way.
    pool : int or None
        Number of objects in a pool, the partner among them; None for the largest possible.
    group : ndarray (n,), optional
        Objects of the query's group are in none of its pools; errors are of groups.
    seed : int
        Of the order of ties, and of the bootstrap.

    Returns
    -------
    Table
        Rows ``recall@1``, ``recall@5``, ``recall@10``, ``mean_reciprocal_rank``, ``median_rank``; columns ``score``,
        ``value`` (mean over all pools), ``error`` (bootstrap over the queries), ``chance``. ``meta``: pool, queries.

    Raises
    ------
    ValueError
        As `ranks`, and if there are not enough objects for a pool.

    Examples
    --------
    >>> table = retrieval_scores(np.eye(30), np.eye(30), pool=20)
    >>> table["value"].tolist(), table["chance"].round(3).tolist()
    ([1.0, 1.0, 1.0, 1.0, 1.0], [0.05, 0.25, 0.5, 0.18, 10.5])
    """
    return _table(ranks(left, right, group, seed), pool, group_numbers(group, len(left)), seed)


def redshift_bins(redshift: np.ndarray, bins: int | np.ndarray = 8) -> np.ndarray:
    """Return the number of the bin of each object, -1 outside or where not known.

    Parameters
    ----------
    redshift : ndarray (n,)
    bins : int or ndarray
        Number of bins with as many objects in each, or their edges.

    Examples
    --------
    >>> redshift_bins(np.array([0.1, 0.4, 0.2, 0.3]), 2).tolist()
    [0, 1, 0, 1]
    """
    redshift = np.asarray(redshift, np.float64)
    known = np.isfinite(redshift)
    if np.ndim(bins) == 0:
        found = np.full(len(redshift), -1)
        order = np.flatnonzero(known)[np.argsort(redshift[known], kind="stable")]
        for i, part in enumerate(np.array_split(order, int(np.asarray(bins)))):
            found[part] = i
        return found
    edges = np.asarray(bins, np.float64)
    found = np.searchsorted(edges, np.where(known, redshift, -np.inf), side="right") - 1
    return np.where(found < len(edges) - 1, found, -1)


def within_bins(
    left: np.ndarray,
    right: np.ndarray,
    bins: np.ndarray,
    pool: int | None = None,
    *,
    group: np.ndarray | None = None,
    seed: int = 0,
) -> Table:
    """Return the scores of `retrieval_scores` in pools of objects of the query's bin alone.

    A matcher that finds the redshift and nothing else gives chance within narrow bins of it.

    Parameters
    ----------
    left, right, group, seed
        As for `retrieval_scores`.
    bins : ndarray of int (n,)
        The bin of each object, from `redshift_bins`; those of -1, and bins of a single group, are left out.
    pool : int, optional
        By default as many as the smallest bin has.

    Returns
    -------
    Table
        As of `retrieval_scores`; ``meta["pool"]`` tells how large the pools are, ``meta["bins"]`` how many there are.

    Raises
    ------
    ValueError
        As `retrieval_scores`, or if no object is in a bin, or none with a stranger.
    """
    bins = np.asarray(bins)
    if bins.shape != (len(left),) or not (bins >= 0).any():
        raise ValueError(f"expected the bin of each of {len(left)} objects, some of them not -1; got {bins.shape}")
    number = group_numbers(group, len(left))
    members = [np.flatnonzero(bins == each) for each in np.unique(bins[bins >= 0])]
    members = [rows for rows in members if len(np.unique(number[rows])) > 1]
    if not members:
        raise ValueError("all objects of each bin are of one group, and no stranger is among them; take wider bins")
    found = [ranks(left[rows], right[rows], number[rows], seed) for rows in members]
    joined = Ranks(np.concatenate([each.above for each in found]), np.concatenate([each.others for each in found]))
    rows = np.concatenate(members)
    return _table(joined, pool, group_numbers(number[rows], len(rows)), seed, bins=len(members))


def _table(found: Ranks, pool: int | None, group: np.ndarray, seed: int, **meta: int) -> Table:
    largest = int(found.others.min()) + 1
    pool = largest if pool is None else pool
    if not 1 < pool <= largest:
        raise ValueError(f"expected pools of 2 to {largest} objects (the fewest of other groups, and one), got {pool}")
    chances = _distribution(found, pool)
    place = np.arange(1, pool + 1)
    names = [*(f"recall@{k}" for k in _RECALL), "mean_reciprocal_rank"]
    gain = np.stack([*((place <= k).astype(np.float64) for k in _RECALL), 1 / place], axis=1)
    each = chances @ gain
    weights = bootstrap_weights(group, _DRAWS, seed)
    weights /= weights.sum(axis=1, keepdims=True)
    value = [*each.mean(axis=0), _median(chances.mean(axis=0, keepdims=True))[0]]
    error = [*(weights @ each).std(axis=0, ddof=1), _median(weights @ chances).std(ddof=1)]
    chance = [*(gain.mean(axis=0)), (pool + 1) / 2]
    numbers = {"value": value, "error": error, "chance": chance}
    columns = [Column(values, name, format=".4g") for name, values in numbers.items()]
    names = Column([*names, "median_rank"], "score")
    return Table([names, *columns], meta={"pool": pool, "queries": len(found.above), **meta})


def _distribution(found: Ranks, pool: int) -> np.ndarray:
    """Return the probability of each rank 1 ... pool of each query's partner (query, rank), over all pools."""
    factorial = gammaln(np.arange(int(found.others.max()) + 2) + 1.0)

    def log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
        possible = (k >= 0) & (k <= n)
        k = np.where(possible, k, 0)
        return np.where(possible, factorial[n] - factorial[k] - factorial[n - k], -np.inf)

    cases, which = np.unique(np.stack([found.above, found.others]), axis=1, return_inverse=True)
    above, others = cases[:, :, None]
    before = np.arange(pool)
    log = log_choose(above, before) + log_choose(others - above, pool - 1 - before)
    return np.exp(log - log_choose(others, np.full_like(others, pool - 1)))[which.reshape(-1)]


def _median(chances: np.ndarray) -> np.ndarray:
    """Return the middle of the lowest and highest median of distributions over ranks 1, 2, ... (row, rank)."""
    sums = np.cumsum(chances, axis=1)
    low, high = ((sums < edge).sum(axis=1) + 1.0 for edge in (0.5 - 1e-9, 0.5 + 1e-9))
    return 0.5 * (low + high)
