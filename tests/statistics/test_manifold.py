"""Precision, recall, density and coverage beside known answers, the sum over all balls, and the package prdc."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sciffusion.statistics import precision_recall
from sciffusion.statistics.manifold import Whitening

NAMES = ("precision", "recall", "density", "coverage")


def clusters(centers, size, rng, scatter=1.0):
    return np.concatenate([center + scatter * rng.normal(size=(size, 2)) for center in centers])


def brute_force(real, generated, k):
    def radius(points, i):
        return sorted(np.linalg.norm(points - points[i], axis=1))[k]

    def inside(points, others):
        return np.array(
            [[np.linalg.norm(o - p) <= radius(points, i) for i, p in enumerate(points)] for o in others], dtype=bool
        )

    in_real, in_generated = inside(real, generated), inside(generated, real)
    return {
        "precision": in_real.any(axis=1).mean(),
        "recall": in_generated.any(axis=1).mean(),
        "density": in_real.sum() / (k * len(generated)),
        "coverage": in_real.any(axis=0).mean(),
    }


@pytest.mark.parametrize(("n", "m", "d", "k"), [(12, 12, 1, 1), (20, 13, 2, 3), (9, 30, 6, 5)])
def test_they_are_sums_over_all_balls(n, m, d, k):
    rng = np.random.default_rng(n)
    real, generated = rng.normal(size=(n, d)), rng.normal(0.3, 1.2, (m, d))
    found = precision_recall(real, generated, k)
    for name, number in brute_force(real, generated, k).items():
        assert float(found[name]) == pytest.approx(number, rel=1e-12), name


@pytest.mark.parametrize(("n", "m", "d", "k"), [(200, 200, 3, 5), (150, 260, 20, 3)])
def test_they_agree_with_prdc(n, m, d, k):
    prdc = pytest.importorskip("prdc")
    rng = np.random.default_rng(d)
    real, generated = rng.normal(size=(n, d)), rng.normal(0.2, 0.8, (m, d))
    theirs = prdc.compute_prdc(real_features=real, fake_features=generated, nearest_k=k)
    found = precision_recall(real, generated, k)
    for name in NAMES:
        assert float(found[name]) == pytest.approx(theirs[name], abs=1e-12), name


def test_equal_distributions_have_density_one_and_the_coverage_of_the_closed_form():
    rng = np.random.default_rng(0)
    found = xr.concat([precision_recall(*rng.normal(size=(2, 300, 2))) for _ in range(10)], dim="draw").mean("draw")
    assert float(found.density) == pytest.approx(1, abs=0.04)
    # of the 600 nearest samples of a real one, all k nearest are real: (299 ... 295) / (599 ... 595)
    k = np.arange(1, 6)
    assert float(found.coverage) == pytest.approx(1 - np.prod((300 - k) / (600 - k)), abs=0.01)
    assert float(found.precision) > 0.95
    assert float(found.recall) > 0.95


def test_clusters_that_are_apart_share_nothing():
    rng = np.random.default_rng(1)
    found = precision_recall(clusters([(0, 0)], 100, rng), clusters([(99, 0)], 100, rng))
    assert all(float(found[name]) == 0 for name in NAMES)


def test_a_dropped_mode_halves_recall_and_coverage_and_leaves_precision():
    rng = np.random.default_rng(2)
    found = precision_recall(clusters([(0, 0), (50, 0)], 200, rng), clusters([(0, 0)], 400, rng))
    assert float(found.recall) == pytest.approx(0.5, abs=0.02)
    assert float(found.coverage) == pytest.approx(0.5, abs=0.02)
    assert float(found.precision) > 0.97


def test_an_invented_mode_halves_precision_and_leaves_recall():
    rng = np.random.default_rng(3)
    found = precision_recall(clusters([(0, 0)], 400, rng), clusters([(0, 0), (50, 0)], 200, rng))
    assert float(found.precision) == pytest.approx(0.5, abs=0.02)
    assert float(found.density) == pytest.approx(0.5, abs=0.1)
    assert float(found.recall) > 0.95


def test_samples_where_balls_overlap_have_a_density_above_one():
    found = precision_recall(np.array([-1.0, 1.0]), np.zeros(2), k=1)
    assert [float(found[name]) for name in NAMES] == [1, 0, 2, 1]
    rng = np.random.default_rng(4)
    real, generated = rng.normal(size=(2, 300, 20))
    found = precision_recall(real, 0.7 * generated)
    assert float(found.density) > 2
    assert float(found.recall) < 0.6


def test_copies_of_few_samples_have_no_recall():
    """Their balls have no size; coverage tells how few they are."""
    rng = np.random.default_rng(5)
    real, few = rng.normal(size=(300, 2)), rng.normal(size=(10, 2))
    found = precision_recall(real, np.repeat(few, 30, axis=0))
    assert float(found.precision) > 0.7
    assert float(found.recall) == 0
    assert float(found.coverage) < 0.35


def test_an_exact_copy_lies_in_the_balls():
    real = np.random.default_rng(6).normal(1e6, 1, (30, 3))
    found = precision_recall(real, real.copy())
    assert all(float(found[name]) == 1 for name in ("precision", "recall", "coverage"))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.floats(0.01, 100), st.integers(0, 99))
def test_they_do_not_change_with_units_and_order(k, factor, seed):
    rng = np.random.default_rng(seed)
    real, generated = rng.normal(size=(12, 2)), rng.normal(size=(15, 2))
    one = precision_recall(real, generated, k)
    other = precision_recall(factor * rng.permutation(real), factor * rng.permutation(generated), k)
    for name in NAMES:
        assert float(other[name]) == pytest.approx(float(one[name]), abs=1e-12)
        assert one[name].attrs["units"] == ""


def test_unfit_sets_are_refused():
    x = np.random.default_rng(0).normal(size=(6, 2))
    with pytest.raises(ValueError, match="k is 6, with 6 real and 9 generated samples"):
        precision_recall(x, np.ones((9, 2)), 6)
    with pytest.raises(ValueError, match="k is 0"):
        precision_recall(x, x, 0)
    with pytest.raises(ValueError, match="real has 2 features of each sample, generated has 1"):
        precision_recall(x, x[:, :1])


def test_whitening_makes_unit_variance_and_drops_what_does_not_vary():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(400, 4)) * [1, 1e6, 1e-6, 1] + [0, 1, 2, 1e3]
    x = np.concatenate([x, x[:, :1] - 3 * x[:, 3:], np.full((400, 1), 7.0)], axis=1)
    z = Whitening.of(x).apply(x)
    assert z.shape == (400, 4)
    np.testing.assert_allclose(np.cov(z.T), np.eye(4), atol=1e-8)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-8)


def test_whitening_keeps_no_more_directions_than_samples_can_tell():
    x = np.random.default_rng(8).normal(size=(50, 80))
    assert Whitening.of(x).apply(x).shape == (50, 5)
    assert Whitening.of(np.tile(x, (20, 1))).apply(x).shape == (50, 32)
    assert Whitening.of(x[:4]).apply(x).shape == (50, 1)


def test_whitening_in_units_of_other_samples():
    rng = np.random.default_rng(9)
    real, other = rng.normal(size=(200, 3)), 50 + 9 * rng.normal(size=(200, 3))
    z = Whitening.of(np.concatenate([real, other])).scaled(real)
    np.testing.assert_allclose(z.apply(real).std(axis=0, ddof=1), 1, rtol=1e-9)
    np.testing.assert_allclose(z.apply(real).mean(axis=0), 0, atol=1e-9)
    assert z.apply(other).std(axis=0).mean() == pytest.approx(9, rel=0.1)
    with pytest.raises(ValueError, match="all 5 samples have the same features"):
        Whitening.of(other).scaled(np.ones((5, 3)))
    with pytest.raises(ValueError, match="all 200 samples have the same features"):
        Whitening.of(np.ones((200, 3)))
