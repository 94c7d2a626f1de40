"""The power-function average against its definition."""

import numpy as np
import pytest
import torch

from sciffusion.ema import PowerAverage, exponent


@pytest.mark.parametrize("width", [0.03, 0.05, 0.1, 0.2])
def test_the_window_has_the_width_that_was_asked_for(width):
    gamma = exponent(width)
    t = np.linspace(0, 1, 200_001)[1:]
    weight = t**gamma / np.sum(t**gamma)
    mean = np.sum(weight * t)
    assert np.sqrt(np.sum(weight * (t - mean) ** 2)) == pytest.approx(width, rel=1e-3)


def test_average_equals_the_weighted_sum():
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    average = PowerAverage({"w": torch.zeros(1)}, 0.1)
    for step, value in enumerate(values):
        average.update({"w": torch.tensor([value])}, step, step + 1)
    edges = (np.arange(51) / 50) ** (average.gamma + 1)
    assert average.tensors["w"].item() == pytest.approx(np.sum(np.diff(edges) * values), rel=1e-4)


def test_the_first_update_copies():
    average = PowerAverage({"w": torch.full((3,), 9.0)}, 0.05)
    average.update({"w": torch.ones(3)}, 0, 16)
    assert torch.equal(average.tensors["w"], torch.ones(3))


@pytest.mark.parametrize("width", [0.0, 0.29, -1.0])
def test_impossible_widths(width):
    with pytest.raises(ValueError, match="relative width"):
        exponent(width)
