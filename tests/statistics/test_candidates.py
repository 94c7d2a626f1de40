"""Choices among candidates whose errors are known, and paired differences with errors."""

import numpy as np
import pytest
import xarray as xr
from known_galaxies import UNITS, galaxies

from sciffusion.statistics import candidate_errors, compare_choices, line_fluxes, redshift_templates
from sciffusion.statistics.candidates import CHOICES, Measure, spectrum_measures


@pytest.fixture(scope="module")
def truth():
    return galaxies(80, noise=0.2, seed=1)


def with_errors(truth, levels, seed=0):
    """Candidates (sample, candidate, wavelength): the truth with white errors of a standard deviation each."""
    rng = np.random.default_rng(seed)
    shape = (truth.sizes["sample"], len(levels), truth.sizes["wavelength"])
    values = truth.values[:, None] + np.asarray(levels)[None, :, None] * rng.normal(size=shape)
    coords = {"wavelength": truth.wavelength}
    return xr.DataArray(values, dims=("sample", "candidate", "wavelength"), coords=coords, attrs={"units": UNITS})


LEVELS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])


def test_square_errors_of_every_choice_are_those_of_the_levels(truth):
    candidates = with_errors(truth, LEVELS)
    scores = np.tile(-np.abs(LEVELS - 0.3), (80, 1))  # the matcher likes the third best, then those beside it
    nearest = truth + 2.0
    errors = candidate_errors(truth, candidates, scores, nearest=nearest, measures={})
    assert errors.choice.values.tolist() == list(CHOICES)
    assert errors.measure.values.tolist() == ["square error / noise", "square error"]
    found = errors.sel(measure="square error").mean("sample")
    top = LEVELS[np.argsort(np.abs(LEVELS - 0.3), kind="stable")[:5]]
    expected = [(LEVELS**2).mean(), (LEVELS**2).sum() / 64, 0.09, (top**2).sum() / 25, 0.01, 4.0]
    np.testing.assert_allclose(found, expected, rtol=0.02)
    in_noise = errors.sel(measure="square error / noise").mean("sample")
    np.testing.assert_allclose(in_noise, np.array(expected) / 0.04, rtol=0.02)
    assert errors.units.values.tolist() == ["", f"({UNITS})^2"]
    oracle = errors.sel(measure="square error", choice="oracle best")
    assert (oracle <= errors.sel(measure="square error", choice="top-1")).all()


def test_bad_pixels_of_the_truth_count_nowhere(truth):
    mask = np.zeros(truth.shape, bool)
    mask[:, 100:103] = True
    damaged = truth.where(~mask, 1e5).assign_coords(mask=(truth.dims, mask)).assign_attrs(truth.attrs)
    candidates = with_errors(truth, LEVELS)
    scores = np.tile(-LEVELS, (80, 1))
    errors = candidate_errors(damaged, candidates, scores, measures={})
    assert float(errors.sel(measure="square error", choice="top-1").mean()) == pytest.approx(0.01, rel=0.02)


def test_lines_breaks_colors_and_redshift_are_measured_of_every_choice(truth):
    candidates = with_errors(truth, LEVELS)
    templates = redshift_templates(galaxies(300, seed=3))
    measures = spectrum_measures(truth, templates)
    errors = candidate_errors(truth, candidates, np.tile(-LEVELS, (80, 1)), measures=measures)
    names = errors.measure.values.tolist()
    assert {"line flux Halpha", "line flux OIII_5007", "Dn4000", "color g_r", "color r_i", "redshift"} <= set(names)
    units = dict(zip(names, errors.units.values))
    assert (units["line flux Halpha"], units["color g_r"], units["redshift"]) == ("scatter", "mag", "")
    best, random = (errors.sel(choice=choice) for choice in ("top-1", "random"))
    assert (best.mean("sample") < random.mean("sample")).all()
    # the error of H alpha of the best candidate, by hand
    fluxes = line_fluxes(truth, lines=["Halpha"])[:, 0]
    ours = line_fluxes(candidates[:, 0].assign_coords(redshift=truth.redshift), lines=["Halpha"])[:, 0]
    scatter = 0.5 * np.subtract(*np.quantile(fluxes, [0.8413, 0.1587]))
    expected = np.abs(ours - fluxes) / scatter
    np.testing.assert_allclose(errors.sel(measure="line flux Halpha", choice="top-1"), expected, rtol=1e-9)
    assert float(errors.sel(measure="redshift", choice="top-1").median()) < 1e-3


def test_lines_of_candidates_are_measured_at_their_own_redshift(truth):
    """Candidates of another redshift with lines as strong: right at their own redshift, wrong at the truth's."""
    other = truth.redshift.values + 0.03
    moved = galaxies(80, noise=0.01, seed=1, redshift=other)
    still = galaxies(80, noise=0.01, seed=1, redshift=truth.redshift.values)
    candidates = with_errors(moved, [0.01, 0.01])
    measures = {"line flux": Measure(lambda flux: line_fluxes(flux, lines=["Halpha"]), scaled=True)}
    scores = np.zeros((80, 2))
    own = candidates.assign_coords(redshift=(("sample", "candidate"), np.stack([other, other], axis=1)))
    right, wrong = (
        candidate_errors(still, each, scores, measures=measures).sel(measure="line flux Halpha", choice="top-1")
        for each in (own, candidates)
    )
    assert right.mean() < 0.1 * wrong.mean()


def test_the_table_says_whether_one_choice_is_better_and_how_sure_that_is(truth):
    candidates = with_errors(truth, np.full(8, 0.3))
    scores = np.random.default_rng(0).normal(size=(80, 8))
    blind = compare_choices(candidate_errors(truth, candidates, scores))
    assert (blind["p_value"] > 1e-3).all()
    assert (np.abs(blind["difference"]) < 4 * blind["difference error"]).all()
    seeing = candidate_errors(truth, with_errors(truth, LEVELS), np.tile(-LEVELS, (80, 1)))
    table = compare_choices(seeing)
    row = table[table["measure"] == "line flux Hbeta"][0]
    assert row["difference"] < -4 * row["difference error"]
    assert row["p_value"] < 1e-3
    assert row["difference"] == pytest.approx(row["top-1"] - row["random"])
    assert row["objects"] == 80
    turned = compare_choices(seeing, "random", "top-1")
    np.testing.assert_allclose(turned["difference"], -table["difference"])
    oxygen = table[table["measure"] == "line flux OII_3727"][0]
    assert 0 < oxygen["objects"] < 80  # below z = 0.09 the line is outside
    with pytest.raises(ValueError, match="no choice 'nearest training spectrum'; there are random"):
        compare_choices(seeing, "nearest training spectrum")


def test_what_does_not_fit_is_refused_in_words(truth):
    candidates = with_errors(truth, LEVELS)
    with pytest.raises(ValueError, match=r"of the sizes \(80, 8, 563\)"):
        candidate_errors(truth, candidates.isel(sample=slice(9)), np.zeros((9, 8)))
    with pytest.raises(ValueError, match=r"expected finite scores of the shape \(80, 8\)"):
        candidate_errors(truth, candidates, np.full((80, 8), np.nan))
    with pytest.raises(ValueError, match="convert them to one"):
        candidate_errors(truth, candidates.assign_attrs(units=""), np.zeros((80, 8)))
