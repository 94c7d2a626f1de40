"""What is wrong, in sentences: each family of lines from numbers that are known, their levels and their order."""

import numpy as np
import pytest
import xarray as xr

from sciffusion.diagnosis import findings

GRID = {"dims": {"y": 24, "x": 24}, "lengths": [12.0, 12.0], "units": "Mpc/h", "nyquist": 6.0, "k_units": "h/Mpc"}
SCORES = {"grid": GRID, "units": "K"}
LOW, HIGH = (0.0, 3.0), (3.0, 4.8)


def line(name, score=0.3, real=1.0, generated=1.0, *, band=(None, None), level="bronze", limit=0.1, p=None):
    """A line that differs."""
    floor = {"median": 0.5 * limit, "p95": 0.8 * limit, "own": None, "limit": limit}
    row = {"name": name, "label": f"label of {name}", "k_min": band[0], "k_max": band[1], "score": score, "p_value": p}
    return row | {"real": real, "generated": generated, "floor": floor, "level": level, "differs": True}


def said(*rows, **results):
    return [found["text"] for found in findings(rows, results, SCORES)]


def power(name, of="contrast", ratio=None, excess=None):
    """Curves of P(k) = 1 / k², times a ratio, or with an excess."""
    k = np.linspace(0.25, 5.75, 23)
    real = k**-2.0
    generated = real * (1 if ratio is None else ratio(k)) + (0 if excess is None else excess(k))
    curves = {f"{name}_real": real, f"{name}_generated": generated, f"{name}_ratio": generated / real}
    found = xr.Dataset({key: ("k", each) for key, each in curves.items()}, coords={"k": ("k", k, {"units": "h/Mpc"})})
    return found.assign_attrs({"nyquist": 6.0, f"{name}_of": of})


def pdf(real, generated, long_name="log10"):
    """Densities of values, given as functions of x."""
    x = np.linspace(-8, 8, 801)
    densities = {"real": ("value", real(x)), "generated": ("value", generated(x))}
    return xr.Dataset(densities, coords={"value": ("value", x, {"long_name": long_name})})


def normal(mean=0.0, sigma=1.0):
    return lambda x: np.exp(-0.5 * ((x - mean) / sigma) ** 2) / sigma / np.sqrt(2 * np.pi)


def test_what_does_not_differ_is_not_told():
    silent = line("power", band=LOW) | {"differs": False, "level": "gold"}
    unknown = line("color_J_H") | {"differs": None, "level": None}
    assert findings([silent, unknown], {}, SCORES) == []


@pytest.mark.parametrize(
    ("band", "ratio", "expected"),
    [
        (LOW, lambda k: 0.88 + 0 * k, "large scales lack 12 % of the power (contrast)"),
        (HIGH, lambda k: 0.953 + 0 * k, "small scales (k > 3 h/Mpc) lack 4.7 % of the power (contrast)"),
        (LOW, lambda k: 1.5 + 0 * k, "large scales have 50 % too much power (contrast)"),
        (
            HIGH,
            lambda k: np.where(k > 3.9, 0.8, 1.21),
            "the power spectrum of the contrast has another shape on small scales (k > 3 h/Mpc): generated over real "
            "from 0.80 to 1.21",
        ),
    ],
)
def test_power_is_told_band_by_band(band, ratio, expected):
    assert said(line("power", band=band), power=power("power", ratio=ratio)) == [expected]


@pytest.mark.parametrize(("of", "units"), [("log10", " dex"), ("contrast", " of the mean"), ("field", "")])
def test_an_excess_that_does_not_depend_on_k_is_white_noise(of, units):
    name = "log_power" if of == "log10" else "power"
    # σ² times the area of a pixel, 0.25
    found = power(name, of, excess=lambda k: 0.04**2 * 0.25 + 0 * k)
    (text,) = said(line(name, band=HIGH), power=found)
    assert text.endswith(f", the same at all scales, as if white noise of σ = 0.04{units} had been added")
    steep = power(name, of, excess=lambda k: 0.04**2 * 0.25 * k**3)
    assert "white noise" not in said(line(name, band=HIGH), power=steep)[0]


def test_both_bands_of_a_spectrum_have_a_sentence():
    curves = power("power", ratio=lambda k: 0.8 + 0 * k)
    texts = said(line("power", band=LOW), line("power", band=HIGH), power=curves)
    assert [text.split(" lack ")[0] for text in texts] == ["large scales", "small scales (k > 3 h/Mpc)"]


def test_scatter_between_samples_is_told_once_at_the_more_telling_line():
    spread = line("log_power_spread", 0.163, real=-2.0, generated=-2.0 + np.log(0.85))
    variance = line("power_variance", real=0.5, generated=0.4, band=LOW)
    assert said(variance, spread) == ["variance between samples is 15 % low: the set is too alike"]
    assert said(spread | {"generated": -2.0 + np.log(1.3)}) == [
        "variance between samples is 30 % high: its samples differ too much"
    ]
    # the relative scatter falls to 0.8 of it, the variance to 0.64
    assert said(variance) == ["variance of P(k) between samples is 36 % low: the set is too alike (large scales)"]
    worst = line("log_power_variance", 0.9, real=0.1, generated=0.2, band=HIGH)
    assert said(variance, worst) == ["variance of P(k) between samples is 300 % high (small scales)"]


def test_the_worst_line_speaks_for_a_family():
    """In units of its limit, not by its number."""
    loose = line("power_chi2", 0.9, limit=0.8)
    (found,) = findings([loose, line("log_power_chi2", np.log(1.6))], {}, SCORES)
    assert found["text"].endswith("reduced χ² of log P is off by a factor of 1.6")
    assert found["statistics"] == ["power_chi2", "log_power_chi2"]


def test_correlations_between_scales():
    assert said(line("power_correlation", 0.4)) == [
        "P(k) is correlated differently between scales, by 40 % of the coefficients"
    ]


@pytest.mark.parametrize(
    ("factor", "told"),
    [
        (0.6774, ": units off by h (h = 0.677)?"),
        (1 / 0.6774, ": units off by h^-1 (h = 0.677)?"),
        (0.7**2, ": units off by h^2 (h = 0.7)?"),
        (0.7**-2, ": units off by h^-2 (h = 0.7)?"),
        (0.7**3, ": units off by h^3 (h = 0.7)?"),
        (10.0, ": units or a scale are off"),
    ],
)
def test_a_factor_between_all_values_is_recognized(factor, told):
    rows = [line("wasserstein"), line("maximum", generated=2.0)]
    shifted = pdf(normal(sigma=0.4), normal(np.log10(factor), 0.4))
    (text,) = said(*rows, pdf=shifted)
    assert text == f"all values are {factor:.3g} times the real ones{told}"


def test_a_factor_of_fields_with_a_sign():
    (text,) = said(line("wasserstein"), pdf=pdf(normal(sigma=2.0), normal(sigma=1.36), "field"))
    assert text == "all values are 0.68 times the real ones: units off by h (h = 0.68)?"


@pytest.mark.parametrize(("factor", "told"), [(1000.0, "1e+03"), (0.001, "0.001")])
def test_a_factor_beyond_the_histogram_is_told_by_maxima_and_power(factor, told):
    """The histogram has the range of real values: of a large factor it holds nothing, of a small one a single bin."""
    sentence = f"all values are about {told} times the real ones: units or a scale are off"
    rows = [line("wasserstein", 99.0), line("maximum", 99.0, 3.0, 3.1 * factor)]
    curves = power("power", "field", ratio=lambda k: factor**2 + 0 * k)
    far = pdf(normal(), normal(0.1 * factor, min(factor, 1e-3)) if factor < 1 else lambda x: 0 * x + 1e-6, "field")
    assert said(*rows, pdf=far, power=curves) == [sentence]
    tilted = power("power", "field", ratio=lambda k: factor**2 * k)
    assert "times" not in said(*rows, pdf=far, power=tilted)[0]
    logs = [line("wasserstein", 99.0), line("maximum", 99.0, 0.5, 0.5 + np.log10(factor))]
    shifted = pdf(normal(sigma=0.4), lambda x: 0 * x + 1e-6)
    assert said(*logs, pdf=shifted, power=power("log_power", "log10")) == [sentence]


def test_large_numbers_are_factors():
    much = said(line("power", 999.0, band=LOW), power=power("power", ratio=lambda k: 1000 + 0 * k))
    assert much == ["large scales have 1e+03 times the power (contrast)"]
    assert said(line("bispectrum_squeezed", 1e9, 1.0, 1e9)) == ["the bispectrum (squeezed) is off by a factor of 1e+09"]
    assert said(line("peaks_3_sigma", 80.0, 1.0, 81.0)) == ["a factor of 80 too many peaks above 3 σ"]


def test_the_variance_of_the_power_changes_with_the_power_itself():
    """Half the power with the relative scatter of real samples: a quarter of the variance, and no set too alike."""
    rows = line("power", 0.5, 2.0, 1.0, band=LOW), line("power_variance", 1.2, 0.5, 0.5, band=LOW)
    texts = said(*rows, power=power("power", ratio=lambda k: 0.5 + 0 * k))
    assert texts[1] == "variance of P(k) between samples is 75 % low (large scales)"
    unknown = line("power_variance", 2.0, 0.5, None, band=LOW)
    assert said(unknown) == ["variance of P(k) between samples: 2, where real halves stay within 0.1 (large scales)"]


@pytest.mark.parametrize("long_name", ["log10", "field"])
def test_another_distribution_is_no_factor(long_name):
    rows = [
        line("wasserstein", 0.074),
        line("quantile_0.001", 0.2, 1.0, 1.4),
        line("quantile_0.999", 0.31, 3.0, 2.5),
        line("maximum", 0.42, 3.0, 2.5),
    ]
    broader = pdf(normal(), lambda x: 0.5 * (normal(-1)(x) + normal(1.5, 0.5)(x)), long_name)
    assert said(*rows, pdf=broader) == [
        "the distribution of the values is off by 0.074 σ",
        "the lowest values are 0.2 σ too high; the highest values are 0.31 σ too low; "
        "the highest peaks are 0.42 σ too low",
    ]
    # a shift in a field with a sign is no factor either
    (text,) = said(rows[0], pdf=pdf(normal(), normal(0.5), "field"))
    assert text.startswith("the distribution")


def test_clipped_pixels_peaks_and_minima():
    rows = [
        line("tied", 0.003, 0.0, 0.003),
        line("peaks_1_sigma", 0.12, 30, 34),
        line("peaks_3_sigma", 0.5, 4, 2),
        line("minima_1_sigma", 0.2, 30, 36),
    ]
    assert said(*rows) == [
        "pixels are clipped: 0.3 % share the highest or lowest value of their sample",
        "50 % too few peaks above 3 σ",
        "20 % too many minima below −1 σ",
    ]


def test_contours():
    assert said(line("minkowski_V1", 0.21), line("minkowski_V2", 0.4)) == [
        "the morphology of the contours differs: V1 (contour length) by 21 % of its maximum, V2 (curvature "
        "(connectivity)) by 40 % of its maximum"
    ]


def test_a_low_bispectrum_tells_of_phases():
    low = [line("bispectrum_squeezed", 0.9, -1.4, 0.1, band=HIGH), line("bispectrum_isosceles", 0.2, 1.0, 0.9)]
    told = "the bispectrum is 93 % too low: the phases carry too little structure"
    assert said(*low) == [f"{told}, as in a Gaussian field of the same power spectrum"]
    curves = power("power", ratio=lambda k: 0.8 + 0 * k)
    assert said(*low, line("power", band=LOW), power=curves)[1] == told
    off = [line("bispectrum_squeezed", 0.4, 1.0, 1.4), line("log_bispectrum_equilateral", 0.2, 1.0, 0.8)]
    assert said(*off) == ["the bispectrum (equilateral, squeezed) is off by 40 %"]


def test_missing_modes_and_odd_samples():
    """The real set beside itself has no such number; whoever fills it in, the sentence stays."""
    rows = [
        line("precision_scattering", 0.4, None, 0.6),
        line("recall_scattering", 0.7, None, 0.3),
        line("coverage_features", 0.5, None, 0.5),
    ]
    precision, recall, coverage = said(*rows)
    assert precision.startswith("precision 0.6 beside ")
    assert precision.endswith(": some generated samples are unlike any real one")
    assert recall.startswith("recall 0.3 beside ")
    assert recall.endswith("has no counterpart among the generated samples: modes are missing")
    assert coverage.endswith("part of the real set has no generated sample near it")


def test_shares_are_those_of_subsets_in_the_size_of_the_halves():
    """Of all samples coverage may be 1 while that of subsets is not."""
    (text,) = said(line("coverage_scattering", 0.2, None, 1.0, limit=0.1))
    assert text.startswith("coverage 0.8 beside 0.95 of real halves")
    (text,) = said(line("density_scattering", 0.4, None, 1.3, limit=0.1))
    assert text.startswith("density 1.4 beside 0.95 of real halves")


def test_tests_of_two_samples_have_one_sentence():
    rows = [line("energy_scattering", 0.5, limit=0.02), line("frechet_scattering", 3.0, limit=2.0)]
    assert said(*rows) == ["label of energy_scattering: 0.5, where real halves stay within 0.02"]
    texts = said(*rows, line("classifier_scattering", 0.25))
    assert len(texts) == 1
    assert texts[0].startswith("a classifier tells generated samples from real ones")
    assert "75 %" in texts[0]


def copied(*numbers):
    return xr.Dataset({"copied": ("copy", np.array(numbers, int))})


def test_copies_have_their_numbers():
    row = line("copies", 3.0, 0.0, 3.0, level="none", limit=0.0)
    near = line("nearest", None, 1.1, 0.8, p=1e-5)
    (found,) = findings([row, near], {"nearest": copied(4, 17, 11)}, SCORES)
    assert found["text"] == "3 samples are near copies of training samples (number 4, 17, 11)"
    assert (found["level"], found["statistics"]) == ("none", ["copies"])
    (one,) = said(row | {"score": 1.0}, nearest=copied(8))
    assert one == "1 sample is a near copy of training samples (number 8)"
    (many,) = said(row | {"score": 7.0}, nearest=copied(*range(7)))
    assert many.endswith("(number 0, 1, 2, 3, 4, …)")
    _, leaked = said(row | {"real": 2.0}, nearest=copied(1, 2, 3))
    assert leaked.startswith("2 held-out real samples are near copies of training samples too")
    assert said(row | {"real": 2.0, "score": 0.0, "differs": False, "level": "gold"}) == [leaked]


def test_samples_that_lie_too_near_without_being_copies():
    nearest, dense = line("nearest", None, p=0.0012), line("nearest_by_density", None, p=0.004)
    assert said(nearest, dense) == ["samples are nearer to training samples than held-out ones are (p = 0.0012)"]
    assert said(dense) == [
        "samples are nearer to training samples than held-out ones are where these lie dense (p = 0.004)"
    ]


def test_conditions():
    rows = [
        line("response_Omega_m", 0.25),
        line("response_sigma_8", 0.4),
        line("recovery_Omega_m_slope", 0.3, 0.95, 0.6),
        line("recovery_Omega_m_bias", 0.71, 0.0, 0.7),
        line("recovery_sigma_8_coverage", 0.2),
    ]
    assert said(*rows) == [
        "P(k) responds to Omega_m differently, by 25 %",
        "P(k) responds to sigma_8 differently, by 40 %",
        "generated fields do not follow Omega_m: its recovery from them has a slope of 0.60 beside 0.95",
        "Omega_m recovered from generated fields is biased by 0.71 σ",
        "sigma_8 recovered from generated fields scatters differently than from real ones",
    ]


@pytest.mark.parametrize("name", ["color_J_H", "ew_H_alpha", "coherence", "structure_function", "never heard of"])
def test_every_other_line_speaks_for_itself(name):
    assert said(line(name, 0.35)) == [f"label of {name}: 0.35, where real halves stay within 0.1"]


def test_the_gravest_is_told_first_and_every_line_once():
    rows = [
        line("tied", level="silver"),
        line("coherence", level="gold"),
        line("minkowski_V0", level="bronze"),
        line("minkowski_V1", level="none"),
        line("peaks_2_sigma", level="bronze"),
        line("color_J_H", level="none"),
    ]
    found = findings(rows, {}, SCORES)
    assert [each["level"] for each in found] == ["none", "none", "bronze", "silver", "gold"]
    assert found[0]["statistics"] == ["minkowski_V0", "minkowski_V1"]  # the lowest of its lines
    told = [name for each in found for name in each["statistics"]]
    assert sorted(told) == sorted(row["name"] for row in rows)
