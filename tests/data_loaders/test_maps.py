"""Maps of the Lagrangian sheet: mass, geometry, and no empty pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_loaders.simulate.cosmology import RHO_CRIT, Cosmology
from data_loaders.simulate.maps import surface_density, tracer_counts
from data_loaders.simulate.nbody import ParticleMesh, Particles, simulate


def particles_at(displacement, box_size=25.0):
    displacement = np.asarray(displacement, np.float32)
    return Particles(displacement, np.zeros_like(displacement), box_size, 1.0)


def smooth(n, amplitude, seed):
    """Displacements of long waves alone."""
    rng = np.random.default_rng(seed)
    phase = 2 * np.pi * np.arange(n) / n
    waves = [np.sin(phase + rng.uniform(0, 2 * np.pi)) for _ in range(9)]
    terms = [waves[3 * axis][:, None, None] + waves[3 * axis + 1][:, None] + waves[3 * axis + 2] for axis in range(3)]
    return amplitude * np.stack(terms)


@settings(max_examples=15, deadline=None)
@given(amplitude=st.floats(0, 5), seed=st.integers(0, 2**31), omega=st.floats(0.1, 0.5))
def test_the_slabs_of_an_axis_average_to_the_mean_density(amplitude, seed, omega):
    maps = surface_density(particles_at(smooth(16, amplitude, seed)), omega, grid=16)
    thickness = 25.0 / 5
    assert maps.shape == (3, 5, 16, 16)
    assert maps.min() > 0
    np.testing.assert_allclose(maps.mean(axis=(1, 2, 3), dtype=float), omega * RHO_CRIT * thickness, rtol=1e-5)


def test_particles_at_rest_give_a_uniform_map():
    maps = surface_density(particles_at(np.zeros((3, 20, 20, 20))), 0.3, grid=20)
    np.testing.assert_allclose(maps, 0.3 * RHO_CRIT * 5.0, rtol=1e-6)


def test_every_tracer_is_counted_once_along_every_axis():
    counts = tracer_counts(particles_at(smooth(12, 3.0, 1)), grid=8, slabs=5, tracers=3)
    np.testing.assert_array_equal(counts.sum(axis=(1, 2, 3)), (12 * 3) ** 3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shifting_the_particles_by_a_pixel_rolls_the_maps(axis):
    """Grid of 20 pixels, 5 slabs: a slab is 4 pixels thick, and a shift by one slab rolls pixels by 4."""
    field = smooth(20, 2.0, 7)
    moved = field.copy()
    moved[axis] += 25.0 / 5
    # Away from the edges of pixels, where rounding would decide.
    field, moved = (each + 0.0137 for each in (field, moved))
    before, after = (tracer_counts(particles_at(each), 20, 5, 2) for each in (field, moved))
    for projected in range(3):
        others = [each for each in range(3) if each != projected]
        rolled = (
            np.roll(before[projected], 1, axis=0)
            if projected == axis
            else np.roll(before[projected], 4, axis=1 + others.index(axis))
        )
        assert np.abs(after[projected] - rolled).sum() <= 1e-3 * rolled.sum()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_wall_appears_where_it_stands(axis):
    """A sheet drawn towards one coordinate: the heaviest slab along its axis, a bright row or column across."""
    n, box_size, wall = 20, 25.0, 8.0
    q = np.arange(n) * box_size / n
    pull = -0.9 * box_size / (2 * np.pi) * np.sin(2 * np.pi * (q - wall) / box_size)
    displacement = np.zeros((3, n, n, n))
    displacement[axis] = pull.reshape([-1 if a == axis else 1 for a in range(3)])
    maps = surface_density(particles_at(displacement), 0.3, grid=20)
    assert maps[axis].mean(axis=(1, 2)).argmax() == int(wall / 5)
    for projected in set(range(3)) - {axis}:
        others = [each for each in range(3) if each != projected]
        profile = maps[projected].mean(axis=(0, 2 - others.index(axis)))
        assert profile.argmax() == int(wall / box_size * 20)


def test_no_pixel_is_empty_where_few_particles_meet_many_pixels():
    end = simulate(Cosmology(Omega_m=0.1, sigma_8=1.0), ParticleMesh(particles=16, mesh=32, steps=5), seed=2)
    maps = surface_density(end, 0.1, grid=64)
    assert maps.min() > 0
    assert np.isfinite(np.log10(maps)).all()


def test_plain_particles_would_leave_empty_pixels():
    """The reason for the sheet: one tracer a particle leaves pixels without mass."""
    end = simulate(Cosmology(), ParticleMesh(particles=32, mesh=64, steps=5), seed=2)
    assert (tracer_counts(end, 64, 5, tracers=1) == 0).any()
    assert surface_density(end, 0.3).min() > 0
