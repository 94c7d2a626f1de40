"""Rebinning against spectres, against conservation of flux, and against noise that is drawn and measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_loaders.spectra import covariance, effective_ivar, overlap, pixel_edges, rebin

LOG = 10 ** np.arange(3.58, 3.95, 1e-4)


def spectrum(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 1, n), rng.uniform(0.01, 0.5, n)


@pytest.mark.parametrize("step", [0.3, 1.0, 2.7, 40.0])
def test_flux_and_error_are_those_of_spectres(step):
    spectres = pytest.importorskip("spectres")
    flux, err = spectrum(len(LOG))
    grid = np.arange(4000.0, 8000, step)
    wanted = spectres.spectres(grid, LOG, flux, err)
    found, ivar, mask = rebin(LOG, grid, flux, 1 / err**2)
    assert np.allclose(found, wanted[0], rtol=1e-10)
    assert np.allclose(ivar**-0.5, wanted[1], rtol=1e-10)
    assert not mask.any()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(2, 60), m=st.integers(2, 60))
def test_flux_is_conserved_on_any_grid(seed, n, m):
    rng = np.random.default_rng(seed)
    old = np.cumsum(rng.uniform(0.1, 2, n)) + 10
    flux = rng.normal(size=n)
    edges = pixel_edges(old)
    inner = np.concatenate([[edges[0]], np.sort(rng.uniform(edges[0], edges[-1], m)), [edges[-1]]])
    shared = overlap(edges, inner)
    assert np.allclose((shared @ flux).sum(), (flux * np.diff(edges)).sum())
    assert np.allclose(shared.sum(axis=1), np.diff(inner))
    assert np.allclose(shared.sum(axis=0), np.diff(edges))


def test_a_constant_stays_and_the_same_grid_changes_nothing():
    flux, err = spectrum(len(LOG))
    same = rebin(LOG, LOG, flux, err**-2)
    assert np.allclose(same[0], flux, rtol=1e-12)
    assert np.allclose(same[1], err**-2, rtol=1e-10)
    assert np.allclose(rebin(LOG, np.arange(4000.0, 8000, 3.3), np.full(len(LOG), 7.0))[0], 7)


def test_bad_pixels_contribute_nothing():
    flux, err = spectrum(200)
    old, grid = np.arange(200.0) + 4000, np.arange(4002.0, 4196, 2.5)
    mask = np.random.default_rng(1).random(200) < 0.3
    poisoned = np.where(mask, np.where(np.arange(200) % 2, np.nan, 1e30), flux)
    found, ivar, bad = rebin(old, grid, poisoned, np.where(mask, 1e30, err**-2), mask)
    lengths = overlap(pixel_edges(old), pixel_edges(grid)).toarray()
    good = lengths * ~mask
    assert np.array_equal(bad, good.sum(axis=1) < 0.5 * 2.5)
    kept = ~bad
    weights = good[kept] / good[kept].sum(axis=1, keepdims=True)
    assert np.allclose(found[kept], weights @ flux)
    assert np.allclose(ivar[kept], 1 / (weights**2 @ err**2))
    assert np.all(found[bad] == 0)
    assert np.all(ivar[bad] == 0)
    assert 0 < bad.sum() < len(bad)


def test_what_lies_outside_is_masked():
    flux, ivar, mask = rebin(np.arange(10.0) + 100, np.arange(90.0, 120, 1), np.ones(10), np.ones(10))
    assert np.array_equal(np.flatnonzero(~mask), np.arange(10, 20))
    assert flux[mask].any() == ivar[mask].any() == False  # noqa: E712


def test_an_unknown_error_stays_unknown_and_its_flux_counts():
    ivar = np.array([1.0, 0, 1, 1])
    found, new, mask = rebin(np.arange(4.0), np.array([0.5, 2.5]), np.array([1.0, 3, 5, 5]), ivar, np.zeros(4, bool))
    assert found.tolist() == [2, 5]
    assert new.tolist() == [0, 2]
    assert not mask.any()


@pytest.mark.parametrize("step", [0.45, 1.7, 5.0])
def test_covariance_is_that_of_noise(step):
    rng = np.random.default_rng(2)
    old, grid = np.arange(60.0), np.arange(3.0, 56, step)
    sigma = rng.uniform(0.5, 2, 60)
    mask = rng.random(60) < 0.1
    noise = rng.normal(size=(40_000, 60)) * sigma
    drawn, _, bad = rebin(old, grid, noise, np.broadcast_to(sigma**-2, noise.shape), np.broadcast_to(mask, noise.shape))
    kept = ~bad[0]
    wanted = covariance(old, grid, sigma**-2, mask).toarray()[np.ix_(kept, kept)]
    measured = np.cov(drawn[:, kept], rowvar=False)
    scatter = np.sqrt((np.outer(np.diag(wanted), np.diag(wanted)) + wanted**2) / 40_000)
    assert np.abs((measured - wanted) / scatter).max() < 5.5
    assert np.allclose(np.diag(wanted), 1 / rebin(old, grid, np.zeros(60), sigma**-2, mask)[1][kept])


@pytest.mark.parametrize("step", [0.3, 0.5, 2.0, 3.6])
def test_effective_ivar_keeps_the_information_on_a_constant(step):
    old = np.arange(200.0)
    grid = np.arange(5.0, 195, step)
    ivar = np.full(200, 4.0)
    effective = effective_ivar(old, grid, ivar)
    diagonal = rebin(old, grid, np.zeros(200), ivar)[1]
    assert np.all(effective <= diagonal * (1 + 1e-12))
    assert effective.sum() == pytest.approx(4 * len(grid) * step, rel=0.03)
    exact = covariance(old, grid, ivar).toarray()
    ones = np.ones(len(grid))
    assert effective.sum() == pytest.approx(ones @ np.linalg.pinv(exact) @ ones, rel=0.04)
    if step < 1:
        assert diagonal.sum() > 1.4 * effective.sum()  # what the correction is for


def test_covariance_of_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="1 good pixels is 0"):
        covariance(np.arange(3.0), np.arange(3.0), np.array([1.0, 0, 1]), np.zeros(3, bool))


@pytest.mark.parametrize("centers", [[3.0, 2, 1], [1.0, 1], [1.0], [1.0, np.nan]])
def test_grids_that_do_not_rise(centers):
    with pytest.raises(ValueError, match="rise strictly"):
        pixel_edges(np.array(centers))
