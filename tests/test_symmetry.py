"""Symmetries keep what they must keep, and reach all they can reach."""

import numpy as np
import pytest
import torch

from sciffusion.symmetry import Flip, Roll, Rotate90, symmetries


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_values_and_periodic_power_are_kept(ndim):
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, *[6] * ndim)))
    rng = np.random.default_rng(1)
    axes = list(range(1, ndim + 1))
    for symmetry in (Roll(), Flip(), Rotate90()):
        y = symmetry(x, rng)
        assert y.shape == x.shape
        torch.testing.assert_close(y.flatten(1).sort().values, x.flatten(1).sort().values)
        total = torch.fft.fftn(x, dim=axes).abs().pow(4).sum()
        torch.testing.assert_close(torch.fft.fftn(y, dim=axes).abs().pow(4).sum(), total)


def test_eight_orientations_of_a_square_all_appear():
    x = torch.arange(9.0).reshape(1, 3, 3)
    rng = np.random.default_rng(0)
    seen = {tuple(Rotate90()(Flip()(x, rng), rng).flatten().tolist()) for _ in range(200)}
    assert len(seen) == 8


def test_every_shift_appears_and_open_axes_stay():
    x = torch.arange(12.0).reshape(1, 4, 3)
    rng = np.random.default_rng(0)
    seen = {tuple(Roll((True, False))(x, rng)[0, :, 0].tolist()) for _ in range(100)}
    assert len(seen) == 4
    assert {row[0] % 3 for row in seen} == {0.0}
    assert torch.equal(Roll((False, False))(x, rng), x)


def test_oblong_fields_are_not_turned():
    x = torch.zeros(1, 4, 6)
    assert all(Rotate90()(x, np.random.default_rng(s)).shape == x.shape for s in range(8))


def test_axes_of_different_boundaries_are_not_exchanged():
    x = torch.arange(16.0).reshape(1, 4, 4)
    rotate = Rotate90(("periodic", "zero"))
    assert all(torch.equal(rotate(x, np.random.default_rng(s)), x) for s in range(8))


def test_names():
    assert symmetries(["roll"], ["zero"]) == (Roll((False,)),)
    with pytest.raises(ValueError, match="unknown symmetry 'mirror'; known are roll, flip, rotate90"):
        symmetries(["mirror"], ["periodic"])
