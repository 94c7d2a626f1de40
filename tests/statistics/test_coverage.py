"""Intervals of few candidates hold what they promise, exactly; too narrow ones hold less."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, norm

from sciffusion.statistics import interval_coverage, rank_histogram
from sciffusion.statistics.resampling import bootstrap_weights, paired_test


def sets(samples=600, count=25, pixels=40, width=1.0, bias=0.0, seed=0):
    """Truth and candidates about a center of their own in every pixel, as of a posterior."""
    rng = np.random.default_rng(seed)
    center = 5 * rng.normal(size=(samples, 1, pixels))
    truth = (center + rng.normal(size=(samples, 1, pixels)))[:, 0]
    every = center + bias + width * rng.normal(size=(samples, count, pixels))
    return xr.DataArray(truth, dims=("sample", "wavelength")), xr.DataArray(
        every, dims=("sample", "candidate", "wavelength")
    )


@pytest.mark.parametrize("count", [6, 7, 25])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.68])
def test_draws_of_one_distribution_cover_the_level_with_any_number_of_candidates(count, level):
    found = interval_coverage(*sets(count=count), level)
    assert float(found.overall) == pytest.approx(level, abs=4 * float(found.overall_error))
    assert found.overall_error < 0.01
    pull = (found.coverage - level) / found.coverage_error
    assert float(pull.std()) == pytest.approx(1, abs=0.4)
    assert found.attrs["level"] == level


def test_too_narrow_candidates_cover_less_and_too_wide_ones_more():
    for width, least, most in ((0.7, 0, 0.55), (1.5, 0.8, 1)):
        found = interval_coverage(*sets(width=width))
        # a truth at t has as many candidates below as heads fall with the probability that one is below t
        t = np.linspace(-6, 6, 2001)
        ranks = binom.pmf(np.arange(26)[:, None], 25, norm.cdf(t / width)) @ norm.pdf(t) * (t[1] - t[0])
        expected = ranks[5:21].sum() + 0.84 * ranks[[4, 21]].sum()  # 16 + 2 × 0.84 of 26 ranks are 68 %
        assert least < expected < most
        assert float(found.overall) == pytest.approx(expected, abs=4 * float(found.overall_error))


def test_the_error_knows_that_the_pixels_of_an_object_belong_together():
    truth, candidates = sets(pixels=1)
    wide = [each.isel(wavelength=np.zeros(50, int)) for each in (truth, candidates)]
    one, fifty = interval_coverage(truth, candidates), interval_coverage(*wide)
    assert float(fifty.overall_error) == pytest.approx(float(one.overall_error), rel=1e-9)
    siblings = truth.isel(sample=np.repeat(np.arange(600), 2)), candidates.isel(sample=np.repeat(np.arange(600), 2))
    grouped = siblings[0].assign_coords(group=("sample", np.repeat(np.arange(600), 2)))
    assert float(interval_coverage(grouped, siblings[1]).overall_error) == pytest.approx(
        float(one.overall_error), rel=0.1
    )


def test_bad_pixels_do_not_count():
    truth, candidates = sets()
    mask = np.zeros(truth.shape, bool)
    mask[:, 7] = True
    mask[::3, 9] = True
    damaged = truth.where(~mask, 1e6).assign_coords(mask=(truth.dims, mask))
    found = interval_coverage(damaged, candidates)
    assert np.isnan(found.coverage[7])
    assert float(found.coverage[9]) == pytest.approx(0.68, abs=4 * float(found.coverage_error[9]))
    assert float(found.overall) == pytest.approx(0.68, abs=4 * float(found.overall_error))


def test_ranks_are_flat_or_tell_what_is_wrong():
    flat = rank_histogram(*sets(count=9))
    assert flat.share.sizes == {"rank": 10}
    assert float(flat.share.sum()) == pytest.approx(1)
    assert (np.abs(flat.share - flat.expected) < 4 * flat.error).all()
    narrow = rank_histogram(*sets(count=9, width=0.5))
    assert (narrow.share[[0, 9]] > 0.2).all()
    biased = rank_histogram(*sets(count=9, bias=1.0))
    assert biased.share[0] > 3 * biased.share[9]


def test_candidates_equal_to_the_truth_have_ranks_at_random():
    truth, candidates = sets()
    same = candidates * 0 + truth
    assert float(interval_coverage(truth, same).overall) == pytest.approx(0.68, abs=0.02)


def test_what_does_not_fit_is_refused_in_words():
    truth, candidates = sets(samples=5, count=4)
    with pytest.raises(ValueError, match=r"4 candidates have intervals up to 0\.6, the level is 0\.68"):
        interval_coverage(truth, candidates)
    with pytest.raises(ValueError, match="'candidate': 0"):
        rank_histogram(truth, truth)
    with pytest.raises(ValueError, match="'wavelength': 39"):
        rank_histogram(truth, candidates.isel(wavelength=slice(39)))


def test_the_paired_test_has_the_level_that_it_says():
    rng = np.random.default_rng(0)
    p = [paired_test(rng.normal(size=60), np.arange(60), draws=400, seed=i)[1] for i in range(400)]
    assert np.mean(np.array(p) < 0.1) == pytest.approx(0.1, abs=0.05)
    shifted = rng.normal(0.5, 1, 200)
    error, significance = paired_test(shifted, np.arange(200))
    assert error == pytest.approx(1 / 200**0.5, rel=0.2)
    assert significance < 1e-3
    # ten copies of each object are worth one
    group = np.repeat(np.arange(20), 10)
    copies = np.repeat(shifted[:20], 10)
    alone = paired_test(shifted[:20], np.arange(20))
    assert paired_test(copies, group) == pytest.approx(alone)
    assert bootstrap_weights(group).sum(axis=1).tolist() == [200.0] * 500
