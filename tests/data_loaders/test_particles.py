import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_loaders.particles import add_particles
from data_loaders.simulate.mesh import cloud_in_cell

BOX = 25.0


def test_a_particle_at_the_center_of_a_cell_is_in_it_alone():
    grid = add_particles(np.zeros((5, 5, 5)), np.array([[0.5, 2.5, 3.5]]) * BOX / 5, 7.0, BOX)
    assert grid[3, 2, 0] == pytest.approx(7.0, rel=1e-12)
    assert grid.sum() == pytest.approx(7.0, rel=1e-12)
    assert np.count_nonzero(grid > 1e-12) == 1


def test_a_particle_on_a_corner_is_shared_by_eight_cells_across_the_border():
    grid = add_particles(np.zeros((4, 4, 4)), np.zeros((1, 3)), 8.0, BOX)
    assert np.allclose(grid[np.ix_([0, 3], [0, 3], [0, 3])], 1.0)
    assert grid.sum() == pytest.approx(8.0)


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 9),
    number=st.integers(1, 50),
    shift=st.integers(-3, 3),
)
def test_mass_is_conserved_and_the_box_is_periodic(seed, n, number, shift):
    rng = np.random.default_rng(seed)
    position, mass = rng.uniform(0, BOX, (number, 3)), rng.uniform(0.1, 5, number)
    grid = add_particles(np.zeros((n, n, n)), position, mass, BOX)
    assert grid.sum() == pytest.approx(mass.sum(), rel=1e-12)
    assert grid.min() >= 0
    again = add_particles(np.zeros((n, n, n)), position + shift * BOX, mass, BOX)
    np.testing.assert_allclose(again, grid, atol=1e-9 * mass.sum())


@given(seed=st.integers(0, 2**32 - 1), cells=st.integers(0, 6))
def test_shifted_by_cells_the_grid_is_rolled(seed, cells):
    position = np.random.default_rng(seed).uniform(0, BOX, (20, 3))
    grid = add_particles(np.zeros((7, 7, 7)), position, 1.0, BOX)
    moved = add_particles(np.zeros((7, 7, 7)), position + np.array([cells * BOX / 7, 0, 0]), 1.0, BOX)
    np.testing.assert_allclose(moved, np.roll(grid, cells, axis=2), atol=1e-9)


def test_the_center_of_mass_is_that_of_the_particles():
    # Cloud-in-cell weights are linear: away from the border they keep the first moment.
    rng = np.random.default_rng(1)
    position, mass = rng.uniform(0.3 * BOX, 0.7 * BOX, (200, 3)), rng.uniform(0.5, 2, 200)
    grid = add_particles(np.zeros((16, 16, 16)), position, mass, BOX)
    centers = (np.arange(16) + 0.5) * BOX / 16
    for axis in range(3):
        along = grid.sum(axis=tuple({0, 1, 2} - {2 - axis}))
        assert along @ centers == pytest.approx(mass @ position[:, axis], rel=1e-12)


def test_it_agrees_with_the_weights_of_the_simulation():
    n, mesh = 6, 8
    displacement = np.random.default_rng(2).normal(scale=3, size=(3, n, n, n)).astype(np.float32)
    weights = cloud_in_cell(displacement, BOX, mesh)
    expected = (weights.T @ np.ones(n**3, np.float32)).reshape(mesh, mesh, mesh)
    at_rest = np.stack(np.meshgrid(*[np.arange(n) * BOX / n] * 3, indexing="ij"))
    position = (at_rest + displacement).reshape(3, -1).T
    grid = add_particles(np.zeros((mesh, mesh, mesh)), position, 1.0, BOX)
    # The points of that mesh lie at (i - 1/2) cells, and its axes are x, y, z.
    np.testing.assert_allclose(np.roll(grid.transpose(2, 1, 0), 1, axis=(0, 1, 2)), expected, atol=1e-4)
