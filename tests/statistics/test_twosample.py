"""Distances of distributions beside closed forms, sums over all pairs and other packages; p-values under the null."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from sciffusion.statistics import (
    classifier_test,
    energy_distance,
    frechet_distance,
    maximum_mean_discrepancy,
    permutation_test,
    pqm_test,
)

ALL = (frechet_distance, energy_distance, maximum_mean_discrepancy, permutation_test, classifier_test, pqm_test)


def with_moments(mean, std, axes, count, rng):
    """Samples whose mean and covariance are exactly those of axes of given standard deviations."""
    white = rng.normal(size=(count, len(std)))
    white -= white.mean(axis=0)
    root = np.linalg.cholesky(np.linalg.inv(np.cov(white.T)))
    return mean + (white @ root * std) @ axes.T


def kernel_distance(x, y, kernel):
    """Sum over all pairs of different samples, one by one."""

    def mean(a, b, same):
        pairs = [kernel(p, q) for i, p in enumerate(a) for j, q in enumerate(b) if not (same and i == j)]
        return np.mean(pairs)

    return 2 * mean(x, y, False) - mean(x, x, True) - mean(y, y, True)


def test_frechet_distance_of_covariances_with_the_same_axes():
    """|mean difference|² + sum of (difference of standard deviations)²."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    means, stds = rng.normal(size=(2, 6)), rng.uniform(0.1, 3, (2, 6))
    x, y = (with_moments(m, s, axes, n, rng) for m, s, n in zip(means, stds, (50, 70)))
    exact = ((means[0] - means[1]) ** 2).sum() + ((stds[0] - stds[1]) ** 2).sum()
    assert frechet_distance(x, y) == pytest.approx(exact, rel=1e-10)


def test_frechet_distance_of_any_covariances():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)), 1 + rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5))
    product = np.cov(x.T) @ np.cov(y.T)
    root = np.sqrt(np.linalg.eigvals(product).real).sum()
    shift = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    exact = shift + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * root
    assert frechet_distance(x, y) == pytest.approx(exact, rel=1e-9)


def test_frechet_distance_of_fewer_samples_than_features():
    """Pairs of samples along different axes: their covariances have nothing in common; copies have no distance."""
    x, y = np.zeros((2, 100)), np.zeros((3, 100))
    x[:, 0], y[:, 1] = (-1, 1), (-2, 0, 2)
    assert frechet_distance(x, y) == pytest.approx(2 + 4, rel=1e-12)
    far = 1e4 + np.random.default_rng(0).normal(size=(20, 100))
    assert frechet_distance(far, far[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(np.ones((3, 4)), np.ones((5, 4))) == 0


def test_frechet_distance_of_gaussian_sets_comes_near_that_of_their_distributions():
    rng = np.random.default_rng(2)
    x, y = rng.normal(0, 1, (40_000, 3)), rng.normal([1, 0, 0], [1, 2, 1], (40_000, 3))
    assert frechet_distance(x, y) == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize(("n", "m", "d"), [(2, 2, 1), (7, 12, 3), (15, 9, 40)])
def test_distances_are_sums_over_all_pairs(n, m, d):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, d)), rng.normal(0.5, 2, (m, d))
    brute = kernel_distance(x, y, lambda p, q: np.linalg.norm(p - q))
    assert energy_distance(x, y) == pytest.approx(brute, rel=1e-10, abs=1e-12)
    pooled = np.concatenate([x, y])
    median = np.median(cdist(pooled, pooled)[np.triu_indices(n + m, 1)])
    for scale in (None, 0.7):
        width = scale or median
        brute = kernel_distance(x, y, lambda p, q, w=width: -np.exp(-((p - q) ** 2).sum() / (2 * w**2)))
        assert maximum_mean_discrepancy(x, y, scale) == pytest.approx(brute, rel=1e-10, abs=1e-12)


def test_energy_distance_of_many_samples_is_that_of_all_at_once():
    x, y = np.random.default_rng(0).normal(size=(2, 1500, 2))  # several blocks of distances
    within = [cdist(a, a).sum() / (1500 * 1499) for a in (x, y)]
    assert energy_distance(x, y) == pytest.approx(2 * cdist(x, y).mean() - sum(within), abs=1e-12)


def test_maximum_mean_discrepancy_of_gaussians_is_the_closed_form():
    """Kernels and Gaussians convolve: E k = (s² / (s² + 2))^(1/2) exp(-shift² / 2 (s² + 2)) in one dimension."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 3000, 1))
    width = (1 / 3) ** 0.5
    exact = 2 * width * (1 - np.exp(-1 / 6))
    assert maximum_mean_discrepancy(x, y + 1, scale=1.0) == pytest.approx(exact, rel=0.1)


def test_energy_distance_agrees_with_pted():
    pted = pytest.importorskip("pted")
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(80, 5)), rng.normal(0.25, 1, (60, 5))
    theirs, _, p = pted.pted(x, y, permutations=2000, return_all=True, two_tailed=False, rng=0)
    found = permutation_test(x, y, permutations=2000)
    theirs = float(theirs) * (80 + 60) / (80 * 60)  # theirs is scaled for tests
    assert energy_distance(x, y) == pytest.approx(theirs, rel=1e-6)
    assert float(found.distance) == pytest.approx(theirs, rel=1e-6)
    assert float(found.p_value) == pytest.approx(float(p), abs=0.02)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 6), st.floats(0.01, 100), st.integers(0, 99))
def test_distances_are_symmetric_and_know_units(n, m, d, factor, seed):
    rng = np.random.default_rng(seed)
    x, y, shift = rng.normal(size=(n, d)), rng.normal(size=(m, d)), rng.normal(size=d)
    for function, power in ((frechet_distance, 2), (energy_distance, 1), (maximum_mean_discrepancy, 0)):
        found = function(x, y)
        assert function(y, x) == pytest.approx(found, rel=1e-7, abs=1e-9)
        moved = function(shift + factor * x, shift + factor * y)
        assert moved == pytest.approx(factor**power * found, rel=1e-7, abs=1e-9 * max(1, factor**2))


def null_p_values(test, draws, seed):
    rng = np.random.default_rng(seed)
    return np.array([test(*rng.normal(size=(2, 24, 2)), i) for i in range(draws)])


@pytest.mark.parametrize(
    "test",
    [
        lambda x, y, i: permutation_test(x, y, "energy", permutations=99, seed=i).p_value,
        lambda x, y, i: permutation_test(x, y, "mmd", permutations=99, seed=i).p_value,
        lambda x, y, i: classifier_test(x, y, permutations=99, seed=i).p_value,
        lambda x, y, i: pqm_test(x, y, regions=6, tessellations=3, seed=i).p_value,
    ],
    ids=["energy", "mmd", "classifier", "pqm"],
)
def test_p_values_are_uniform_if_the_distributions_are_equal(test):
    found = null_p_values(test, 200, 5)
    # steps of 1 / 100 are too fine for 200 draws to see
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01
    assert 0.005 < (found <= 0.05).mean() < 0.11


def test_chi2_of_one_tessellation_has_its_degrees_of_freedom():
    rng = np.random.default_rng(6)
    found = [pqm_test(*rng.normal(size=(2, 100, 2)), regions=8, tessellations=1, seed=i) for i in range(150)]
    assert all(float(each.dof[0]) in (5, 6, 7) for each in found)  # a region at the edge may hold its reference alone
    assert np.mean([float(each.chi2[0] - each.dof[0]) for each in found]) == pytest.approx(0, abs=4 * (14 / 150) ** 0.5)
    p = np.array([float(each.chi2_p_value[0]) for each in found])
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_chi2_is_that_of_the_contingency_table():
    from sciffusion.statistics.regions import table_chi2

    a, b = np.random.default_rng(0).integers(1, 30, (2, 4, 12)).astype(float)
    a[0, 3] = b[0, 3] = 0
    chi2, dof = table_chi2(a, b)
    for i in range(4):
        used = a[i] + b[i] > 0
        oracle = scipy.stats.chi2_contingency(np.stack([a[i], b[i]])[:, used], correction=False)
        assert chi2[i] == pytest.approx(oracle.statistic, rel=1e-12)
        assert dof[i] == oracle.dof


def test_regions_agree_with_pqm():
    pqm = pytest.importorskip("pqm")
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(800, 3)), rng.normal(0.2, 1.2, (800, 3))
    np.random.seed(0)  # noqa: NPY002 - the package draws from the global generator
    theirs = np.array(pqm.pqm_chi2(x, y, num_refs=40, re_tessellation=200))
    ours = pqm_test(x, y, regions=40, tessellations=200).chi2.values
    error = (theirs.var() / 200 + ours.var() / 200) ** 0.5
    assert abs(ours.mean() - theirs.mean()) < 4 * error
    assert error < 0.03 * theirs.mean()


@pytest.mark.parametrize("change", [lambda y: y + 0.6, lambda y: 1.6 * y], ids=["shift", "variance"])
def test_a_difference_is_found(change):
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(2, 150, 3))
    other = change(y)
    assert permutation_test(x, other, permutations=199).p_value <= 0.01
    assert permutation_test(x, other, "mmd", permutations=199).p_value <= 0.01
    found = classifier_test(x, other, permutations=199)
    assert found.p_value <= 0.01
    assert found.auc > 0.6
    assert found.accuracy > 0.58
    assert pqm_test(x, other, regions=30).p_value <= 0.01


def test_the_classifier_sees_a_correlation():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(2, 400, 2))
    y[:, 1] = 0.5 * y[:, 0] + 0.75**0.5 * y[:, 1]
    assert classifier_test(x, y, permutations=199).p_value <= 0.01


def test_the_classifier_is_as_good_as_the_best_one():
    """Gaussians two σ apart: the middle between them is right in 84 % of cases, and AUC is Φ(√2) = 0.921."""
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(2, 1000, 4))
    found = classifier_test(x, y + np.array([2, 0, 0, 0]), permutations=19)
    assert float(found.accuracy) == pytest.approx(scipy.stats.norm.cdf(1), abs=0.02)
    assert float(found.auc) == pytest.approx(scipy.stats.norm.cdf(2**0.5), abs=0.02)


def test_copies_within_groups_are_no_evidence():
    """Twelve objects a set, ten copies each: as independent samples the sets differ, as objects they do not."""
    rng = np.random.default_rng(11)
    p = {"alone": [], "energy": [], "mmd": [], "classifier": [], "pqm": []}
    for seed in range(40):
        x, y = (rng.normal(size=(12, 2)).repeat(10, axis=0) + 0.01 * rng.normal(size=(120, 2)) for _ in range(2))
        groups = (np.arange(120) // 10, 12 + np.arange(120) // 10)
        p["alone"].append(permutation_test(x, y, permutations=99).p_value)
        for metric in ("energy", "mmd"):
            p[metric].append(permutation_test(x, y, metric, groups, 99, seed).p_value)
        p["classifier"].append(classifier_test(x, y, groups, 99, seed).p_value)
        p["pqm"].append(pqm_test(x, y, groups, 12, 3, seed).p_value)
    shares = {name: float(np.mean(np.array(each) <= 0.05)) for name, each in p.items()}
    assert shares.pop("alone") > 0.5
    assert max(shares.values()) <= 0.2  # 7 of 40 at 5 % have a chance of 0.3 %


def test_exact_copies_leave_the_energy_test_as_it_was():
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(2, 15, 2))
    groups = (np.arange(15), 15 + np.arange(15))
    once = permutation_test(x, y + 0.5, groups=groups)
    copied = permutation_test(
        x.repeat(4, axis=0), y.repeat(4, axis=0) + 0.5, groups=tuple(each.repeat(4) for each in groups)
    )
    assert float(copied.p_value) == pytest.approx(float(once.p_value), abs=0.05)


def test_partners_only_change_places_with_one_another():
    """Objects differ by far more than the sets do; drawn for the same objects, the small difference is found."""
    rng = np.random.default_rng(13)
    objects = 10 * rng.normal(size=(60, 1))
    x, y = objects + 0.1 * rng.normal(size=(60, 1)), objects + 0.3 + 0.1 * rng.normal(size=(60, 1))
    same = np.arange(60)
    assert permutation_test(x, y, groups=(same, same), permutations=199).p_value <= 0.01
    assert permutation_test(x, y, groups=(same, same + 60), permutations=199).p_value > 0.5


def test_results_repeat_and_permutations_are_counted():
    x, y = np.random.default_rng(14).normal(size=(2, 30, 2))
    found = [permutation_test(x, y + 9, permutations=49, seed=3) for _ in range(2)]
    xr.testing.assert_identical(*found)
    assert float(found[0].p_value) == 1 / 50


def test_labelled_features_are_flattened():
    values = np.random.default_rng(15).normal(size=(2, 20, 3, 4))
    x, y = (xr.DataArray(v, dims=("sample", "a", "b"), name="s2").transpose("a", "sample", "b") for v in values)
    for function in (frechet_distance, energy_distance, maximum_mean_discrepancy):
        assert function(x, y) == pytest.approx(function(*values.reshape(2, 20, 12)), rel=1e-12)


@pytest.mark.parametrize("function", ALL)
def test_unfit_sets_are_refused(function):
    x = np.random.default_rng(0).normal(size=(20, 3))
    broken = x.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match="sample 7 of y has 1 values that are not finite, out of 3"):
        function(x, broken)
    with pytest.raises(ValueError, match="x has 3 features of each sample, y has 2"):
        function(x, x[:, :2])
    with pytest.raises(ValueError, match=r"y has the shape \(1, 3\); expected .* at least 2 samples"):
        function(x, x[:1])
    with pytest.raises(ValueError, match="'s1' has the dims"):
        function(xr.DataArray(x, dims=("map", "s"), name="s1"), x)


def test_unfit_options_are_refused():
    x = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match="unknown metric 'w2'; known are 'energy' and 'mmd'"):
        permutation_test(x, x, "w2")
    with pytest.raises(ValueError, match="a group for each of the 20 samples of y"):
        permutation_test(x, x, groups=(np.arange(20), np.arange(19)))
    with pytest.raises(ValueError, match="the scale of the kernel is -1"):
        maximum_mean_discrepancy(x, x, scale=-1)
    with pytest.raises(ValueError, match="most pairs of 40 samples are equal"):
        maximum_mean_discrepancy(np.ones((20, 3)), np.ones((20, 3)))
    with pytest.raises(ValueError, match="choose `regions` up to 13"):
        pqm_test(x, x)
    with pytest.raises(ValueError, match="x has 1 groups, y has 20; a classifier needs at least 2"):
        classifier_test(x, x, groups=(np.zeros(20), 1 + np.arange(20)))
    with pytest.raises(ValueError, match="all 40 samples have the same features"):
        classifier_test(np.ones((20, 3)), np.ones((20, 3)))
