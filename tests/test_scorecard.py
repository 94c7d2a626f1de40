"""Limits that a perfect set keeps, all at once; levels by the numbers of the scorecard."""

import numpy as np
import pytest

from sciffusion.scorecard import LEVELS, calibrate, criterion, level_number, overall


def line(name, score, floor, k_min=None, p_value=None):
    numbers = {"median": float(np.median(floor)), "p95": float(np.quantile(floor, 0.95)), "own": None}
    return {"name": name, "k_min": k_min, "score": score, "floor": numbers, "p_value": p_value}


def judged(name, score, floor=None, **labels):
    floor = np.linspace(0, 0.01, 200) if floor is None else floor
    row = line(name, score, floor, **labels)
    calibrate([row], [floor])
    return row


@pytest.mark.parametrize("lines", [1, 5, 40])
@pytest.mark.parametrize("kind", ["normal", "many modes", "mixed"])
def test_real_halves_keep_all_limits_in_95_of_100_splits(lines, kind):
    """Whatever the number of lines and the shapes of their distributions, and where these are correlated."""
    rng = np.random.default_rng(3)

    def draw(splits):
        common = rng.normal(size=(splits, 1))
        one = np.abs(0.5 * common + rng.normal(size=(splits, lines)))
        chi = np.abs(rng.normal(size=(splits, lines, 12))).mean(axis=2)
        odd = np.arange(lines) % 2 == 1
        return {"normal": one, "many modes": chi, "mixed": np.where(odd, one, chi)}[kind]

    kept = []
    for _ in range(20):
        floors = list(draw(200).T)
        rows = [line("unknown", 0.0, floor) for floor in floors]
        factor = calibrate(rows, floors)
        highest = [each["median"] + factor * (each["p95"] - each["median"]) for each in (row["floor"] for row in rows)]
        kept.append((draw(2000) <= np.array(highest)).all(axis=1).mean())
    assert np.mean(kept) == pytest.approx(0.95, abs=0.015)


def test_limits_of_single_lines_would_fail_two_thirds_of_perfect_sets():
    floors = np.abs(np.random.default_rng(0).normal(size=(400, 20)))
    rows = [line("unknown", 0.0, floor) for floor in floors.T]
    factor = calibrate(rows, list(floors.T))
    alone = np.array([row["floor"]["p95"] for row in rows])
    middle, limits = (np.array([row["floor"][key] for row in rows]) for key in ("median", "limit"))
    assert 0.5 < (floors > alone).any(axis=1).mean() < 0.75
    assert (floors > middle + factor * (alone - middle)).any(axis=1).mean() <= 0.05
    np.testing.assert_allclose(limits, middle + 0.8 * factor * (alone - middle))
    assert factor > 1.5


@pytest.mark.parametrize(
    ("name", "score", "level"),
    [
        ("power", 0.019, "gold"),
        ("power", 0.03, "silver"),
        ("power", 0.08, "bronze"),
        ("power", 0.12, "none"),
        ("wasserstein", 0.019, "silver"),  # gold is the floor alone
        ("wasserstein", 0.04, "bronze"),
        ("power_variance", 0.15, "silver"),
        ("power_variance", 0.6, "bronze"),  # bronze asks for nothing
        ("minkowski_V1", 0.06, "bronze"),
        ("color_J_H", 0.08, "silver"),
        ("never heard of", 0.5, "bronze"),
    ],
)
def test_levels_are_those_of_the_scorecard(name, score, level):
    assert judged(name, score)["level"] == level


def test_the_second_band_has_numbers_of_its_own():
    assert judged("log_power", 0.08, k_min=3.0)["level"] == "silver"
    assert judged("log_power", 0.08, k_min=0.0)["level"] == "bronze"
    assert criterion({"name": "power", "k_min": 2.0}).bronze == 0.25


def test_more_than_what_tells_real_halves_apart_is_asked_of_nobody():
    floor = np.linspace(0, 0.3, 200)
    row = judged("power", 0.25, floor)
    assert (row["level"], row["differs"], row["resolved"]) == ("gold", False, False)
    fine = judged("power", 0.25)
    assert (fine["level"], fine["differs"], fine["resolved"]) == ("none", True, True)


def test_a_small_difference_is_gold_and_yet_differs():
    row = judged("power", 0.018)
    assert (row["level"], row["differs"]) == ("gold", True)


def test_multiples_of_the_floor_and_probabilities():
    floor = np.linspace(0.9, 1.1, 200)
    levels = [judged("frechet_scattering", score, floor)["level"] for score in (1.9, 4.0, 6.0)]
    assert levels == ["gold", "silver", "bronze"]
    assert judged("energy_scattering", 0.5, p_value=0.01)["level"] == "silver"
    assert judged("energy_scattering", 0.5, p_value=0.0005)["level"] == "bronze"


def test_lines_without_numbers_have_no_level_and_spoil_nothing():
    floors = [np.full(200, np.nan), np.zeros(200), np.abs(np.random.default_rng(0).normal(size=200))]
    rows = [
        {
            "name": "a",
            "k_min": None,
            "score": None,
            "floor": {"median": None, "p95": None, "own": None},
            "p_value": None,
        },
        line("tied", 0.0, floors[1]),
        line("b", 0.1, floors[2]),
    ]
    factor = calibrate(rows, floors)
    assert np.isfinite(factor)
    assert [row["level"] for row in rows] == [None, "gold", "gold"]
    assert rows[1]["differs"] is False
    assert judged("tied", 0.01, np.zeros(200))["level"] == "bronze"


def test_the_noise_of_the_generated_set_widens_a_limit_as_in_welch_s_test():
    floor = np.linspace(0, 1, 201)
    plain, wide, narrow = (line("unknown", 0.9, floor) for _ in range(3))
    wide["floor"]["own"], narrow["floor"]["own"] = 2 * wide["floor"]["p95"], 0.5 * wide["floor"]["p95"]
    rows = [plain, wide, narrow]
    calibrate(rows, [floor] * 3)
    limits = [row["floor"]["limit"] for row in rows]
    assert limits[1] == pytest.approx(limits[0] * np.sqrt(2.5))
    assert limits[2] == limits[0]


def test_few_groups_widen_limits_as_student_s_quantiles():
    floor = np.linspace(0, 1, 201)
    limits = {}
    for groups in (2, 5, 11, 12, 500):
        row = line("unknown", 0.9, floor)
        calibrate([row], [floor], groups)
        limits[groups] = row["floor"]["limit"]
    # t(0.9975) of 4 and 10 degrees of freedom is 5.598 and 3.581, that of a Gaussian 2.807
    assert limits[5] / limits[500] == pytest.approx(5.598 / 2.807, rel=1e-3)
    assert limits[11] / limits[500] == pytest.approx(3.581 / 2.807, rel=1e-3)
    assert limits[2] > limits[5] > limits[12] == limits[500]


def test_a_number_that_is_nearly_always_the_same_may_be_as_far_off_as_once_in_the_floor():
    floor = np.zeros(200)
    floor[:4] = 0.1  # in 2 of 100 splits, so that median and 95th percentile are 0
    assert judged("coverage_scattering", 0.002, floor)["differs"] is False
    assert judged("coverage_scattering", 0.3, floor)["differs"] is True


def test_the_lowest_line_decides():
    rows = [{"level": level} for level in ("gold", None, "silver", "gold")]
    assert overall(rows) == "silver"
    assert [level_number(level) for level in LEVELS] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="unknown level 'platinum'; known are none, bronze, silver, gold"):
        level_number("platinum")
