r"""Whether two sets of feature vectors have their share of the samples in every region of space.

The regions are Voronoi cells of some of the samples: small where samples are dense, in any number of features.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.spatial.distance import cdist
from scipy.special import chdtrc

from sciffusion.statistics.classifier import PERMUTATIONS, Blocks, Groups, p_values
from sciffusion.statistics.manifold import feature_sets

__all__ = ["pqm_test", "table_chi2", "tessellate"]

_SAMPLES_A_REGION = 3


def pqm_test(
    x: np.ndarray | xr.DataArray,
    y: np.ndarray | xr.DataArray,
    groups: Groups | None = None,
    regions: int = 100,
    tessellations: int = 20,
    seed: int = 0,
) -> xr.Dataset:
    r"""Return whether both sets have their share of the samples in all regions of space.

    Regions are the Voronoi cells of `regions` samples drawn from both sets, which do not count themselves. The table of
    the numbers of samples, two sets by regions, has

    .. math:: \chi^2 = \frac{N^2}{n_x n_y} \sum_r \frac{(n_{xr} - n_x n_r / N)^2}{n_r}

    of one degree of freedom less than there are regions with samples, if both sets are of one distribution (Pearson
    1900; Lemos et al. 2024, section 2).

    Parameters
    ----------
    x, y : ndarray or DataArray (sample, feature...)
        Finite.
    groups : pair of ndarray (sample,), optional
        As in `permutation_test`; ``chi2_p_value`` takes all samples as independent nevertheless.
    regions : int
        At least 2, and at most a third of the samples of both sets; ``chi2_p_value`` wants some ten in each.
    tessellations : int
        Sets of regions.
    seed : int
        Of regions and permutations.

    Returns
    -------
    Dataset
        Along ``tessellation`` ``chi2``, ``dof`` and ``chi2_p_value``. The tessellations are of the same samples and not
        independent: ``p_value`` is that of the mean of chi2 / dof, by 999 permutations of whole groups.

    Raises
    ------
    ValueError
        As `frechet_distance`, or if there are too few samples for so many regions, or groups do not fit.

    Examples
    --------
    >>> x, y = np.random.default_rng(0).normal(size=(2, 300, 3))
    >>> found = pqm_test(x, y, regions=30)
    >>> bool(found.p_value > 0.05), bool(pqm_test(x, 1.5 * y, regions=30).p_value < 0.01)
    (True, True)
    """
    first, second = feature_sets(x, y)
    points, rng = np.concatenate([first, second]), np.random.default_rng(seed)
    if not 2 <= regions <= len(points) // _SAMPLES_A_REGION or tessellations < 1:
        raise ValueError(
            f"{regions} regions, {tessellations} times, of {len(points)} samples; expected at least 2 regions of at "
            f"least {_SAMPLES_A_REGION} samples each on average, once or more: choose `regions` up to "
            f"{len(points) // _SAMPLES_A_REGION}"
        )
    labels = Blocks((len(first), len(second)), groups).labels(PERMUTATIONS, rng)
    found = []
    for region in tessellate(points, regions, tessellations, rng):
        cells = (region[:, None] == np.arange(regions)).astype(np.float64)
        ours = labels.astype(np.float64) @ cells
        found.append(table_chi2(ours, cells.sum(axis=0) - ours))
    reduced = np.mean([chi2 / dof for chi2, dof in found], axis=0)
    chi2, dof = (np.array([each[i][0] for each in found]) for i in (0, 1))
    along = {"chi2": chi2, "dof": dof, "chi2_p_value": chdtrc(dof, chi2)}
    variables = {name: ("tessellation", values, {"units": ""}) for name, values in along.items()}
    attrs = {"regions": regions, "permutations": PERMUTATIONS}
    return xr.Dataset(variables | {"p_value": ((), p_values(reduced), {"units": ""})}, attrs=attrs)


def tessellate(points: np.ndarray, regions: int, tessellations: int, rng: np.random.Generator) -> np.ndarray:
    """Return the region of each sample (tessellation, sample): its nearest reference; -1 of the references."""
    found = np.empty((tessellations, len(points)), np.int64)
    for row in found:
        reference = rng.choice(len(points), regions, replace=False)
        row[:] = cdist(points, points[reference]).argmin(axis=1)
        row[reference] = -1
    return found


def table_chi2(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return χ² and its degrees of freedom (row,), at least 1, of the numbers of samples (row, region) of two sets."""
    total, mine = a + b, a.sum(axis=1, keepdims=True)
    everything = total.sum(axis=1, keepdims=True)
    share = mine / everything
    square = ((a - share * total) ** 2 / np.maximum(total, 1)).sum(axis=1, keepdims=True)
    chi2 = square / np.maximum(share * (1 - share), 1e-12)
    return chi2[:, 0], np.maximum((total > 0).sum(axis=1) - 1, 1)
