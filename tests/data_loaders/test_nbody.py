"""The particle mesh against linear theory, an exact plane wave, conservation laws, finer runs and halofit."""

import itertools

import numpy as np
import pytest
import scipy.fft
from camb_oracle import camb_power
from hypothesis import given, settings
from hypothesis import strategies as st

from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.initial import linear_density_modes, white_noise_modes
from data_loaders.simulate.maps import surface_density
from data_loaders.simulate.mesh import Gravity, cloud_in_cell, density_contrast
from data_loaders.simulate.nbody import ParticleMesh, Particles, evolve, simulate

FIDUCIAL = Cosmology()


def k_norm(n, box_size):
    full, half = np.fft.fftfreq(n, box_size / n), np.fft.rfftfreq(n, box_size / n)
    return 2 * np.pi * np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half**2)


def density_modes(end, n):
    """Modes of the particles' density on their own grid's frequencies, with the mesh point 1/2 undone."""
    mesh = 2 * n
    modes = scipy.fft.rfftn(density_contrast(end.displacement, end.box_size, mesh)) / 8
    keep = np.r_[0 : n // 2, mesh - n // 2 : mesh]
    modes = modes[np.ix_(keep, keep, np.arange(n // 2 + 1))]
    full, half = np.fft.fftfreq(n, 1 / n), np.arange(n // 2 + 1)
    return modes * np.exp(1j * np.pi / mesh * (full[:, None, None] + full[None, :, None] + half))


class TestWhiteNoise:
    def test_is_the_transform_of_a_real_field(self):
        modes = white_noise_modes(16, seed=3)
        field = scipy.fft.irfftn(modes, s=(16,) * 3)
        np.testing.assert_allclose(scipy.fft.rfftn(field), modes, atol=1e-12)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**31), st.sampled_from([(4, 8), (8, 12), (6, 16)]))
    def test_a_finer_grid_holds_the_modes_of_a_coarser_one(self, seed, sizes):
        coarse, fine = (white_noise_modes(n, seed) for n in sizes)
        half = sizes[0] // 2
        low = np.r_[0:half, -half + 1 : 0]
        np.testing.assert_array_equal(
            fine[np.ix_(low, low, np.arange(half))], coarse[np.ix_(low, low, np.arange(half))]
        )

    def test_modes_have_unit_mean_square_and_seeds_differ(self):
        modes = white_noise_modes(32, seed=0)
        drawn = np.abs(modes[np.abs(modes) > 0]) ** 2
        assert drawn.mean() == pytest.approx(1, abs=4 / np.sqrt(len(drawn)))
        assert not np.any(np.isclose(white_noise_modes(8, 0), white_noise_modes(8, 1)) & (white_noise_modes(8, 0) != 0))

    def test_density_has_the_linear_power(self):
        n, box_size = 48, 200.0
        modes, k = linear_density_modes(FIDUCIAL, n, box_size, seed=1), k_norm(n, box_size)
        inside = (np.abs(modes) > 0) & (k > 0.1)
        ratio = np.abs(modes[inside]) ** 2 * box_size**3 / n**6 / FIDUCIAL.linear_power(k[inside])
        assert ratio.mean() == pytest.approx(1, abs=4 / np.sqrt(inside.sum() / 2))


class TestMesh:
    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**31), st.floats(0.01, 30.0))
    def test_weights_carry_unit_mass_to_the_place_of_the_particle(self, seed, scale):
        mesh, box_size = 8, 2.0
        displacement = (np.random.default_rng(seed).normal(0, scale, (3, 4, 4, 4))).astype(np.float32)
        weights = cloud_in_cell(displacement, box_size, mesh)
        np.testing.assert_allclose(weights @ np.ones(mesh**3, np.float32), 1, rtol=1e-5)
        # The circular mean of the mesh points in every cell pair points at the particle.
        lagrangian = np.arange(4) * 0.5
        points = (np.arange(mesh) - 0.5) * box_size / mesh
        x = (lagrangian[:, None, None] + displacement[0]).ravel()
        offset = (points[np.newaxis, :] - x[:, None] + box_size / 2) % box_size - box_size / 2
        along_x = np.asarray(weights.todense()).reshape(64, mesh, -1).sum(-1)
        # Rounding of positions that have crossed the box many times limits the accuracy.
        np.testing.assert_allclose((along_x * offset).sum(1), 0, atol=1e-4 * max(1, scale))

    def test_mass_is_conserved(self):
        end = simulate(FIDUCIAL, ParticleMesh(particles=32, mesh=64, steps=3), seed=0)
        assert density_contrast(end.displacement, end.box_size, 64).mean(dtype=float) == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize("multiple", [1, 2, 3, 4])
    def test_force_on_a_small_wave_is_its_displacement(self, multiple):
        """In linear theory g = D_1 psi_1, whatever the offset of particles and mesh."""
        n, box_size = 32, 100.0
        wave = 0.1 * np.sin(2 * np.pi * np.arange(n) / n)
        displacement = np.zeros((3, n, n, n), np.float32)
        displacement[1] = wave[:, None]
        for shift in (0.0, 0.3, 1.7):
            force = Gravity(box_size, multiple * n)(displacement + np.float32(shift))
            ratio = (force[1] * displacement[1]).sum() / (displacement[1] ** 2).sum()
            assert ratio == pytest.approx(1, abs=0.02), (multiple, shift)
            assert np.abs(force[[0, 2]]).max() < 0.02 * wave.max()


def test_plane_wave_is_the_exact_solution_of_zeldovich():
    """One dimension before shell crossing: s = D_1(a) psi exactly (Zel'dovich 1970)."""
    n, box_size, a = 32, 64.0, 0.05
    numerics = ParticleMesh(box_size=box_size, particles=n, mesh=2 * n, steps=20, redshift=1.0)
    final = float(FIDUCIAL.growth(0.5)[0])
    # The wave would cross at D_1 = 1 / (k amplitude): here it has half that contrast at the end.
    psi = np.zeros((3, n, n, n), np.float32)
    psi[0] = (0.5 / final * box_size / (2 * np.pi) * np.sin(2 * np.pi * np.arange(n) / n))[:, None, None]
    first, rate = FIDUCIAL.growth(a)[:2]
    factor = a**2 * FIDUCIAL.expansion(a) * rate
    state = Particles(np.float32(first) * psi, np.float32(factor) * psi, box_size, a)
    *_, end = evolve(state, FIDUCIAL, numerics)
    assert np.abs(end.displacement - np.float32(final) * psi).max() < 0.02 * final * psi.max()


def test_long_modes_grow_as_in_linear_theory():
    n, box_size, seed = 64, 1000.0, 3
    numerics = ParticleMesh(box_size=box_size, particles=n, mesh=2 * n, steps=10)
    end = simulate(FIDUCIAL, numerics, seed)
    k = k_norm(n, box_size)
    inside = (k > 0) & (k < 0.025)
    found = density_modes(end, n)[inside]
    linear = linear_density_modes(FIDUCIAL, n, box_size, seed)[inside]
    growth = (found * linear.conj()).real.sum() / (np.abs(linear) ** 2).sum()
    correlation = growth * np.sqrt((np.abs(linear) ** 2).sum() / (np.abs(found) ** 2).sum())
    assert growth == pytest.approx(1, abs=0.02)
    assert correlation > 0.999


def test_momentum_is_conserved():
    end = simulate(FIDUCIAL, ParticleMesh(particles=32, mesh=64, steps=10), seed=5)
    scale = end.momentum.std()
    assert np.all(np.abs(end.momentum.mean(axis=(1, 2, 3), dtype=float)) < 1e-5 * scale)
    assert end.a == pytest.approx(1)


def test_same_seed_same_universe_and_threads_do_not_matter():
    numerics = ParticleMesh(particles=16, mesh=32, steps=2)
    runs = [simulate(FIDUCIAL, numerics, seed, workers) for seed, workers in ((4, 1), (4, 2), (5, 1))]
    np.testing.assert_array_equal(runs[0].displacement, runs[1].displacement)
    assert np.corrcoef(runs[0].displacement.ravel(), runs[2].displacement.ravel())[0, 1] < 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"box_size": 0.0}, "box_size must be positive"),
        ({"steps": 0}, "steps must be positive"),
        ({"particles": 33, "mesh": 66}, "particles must be even"),
        ({"particles": 64, "mesh": 96}, "take 128"),
        ({"redshift": 30.0}, "must lie above"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(wrong, message):
    with pytest.raises(ValueError, match=message):
        ParticleMesh(**wrong)


def map_power(maps, box_size, edges):
    n = maps.shape[-1]
    contrast = maps / maps.mean((-2, -1), keepdims=True) - 1
    k = 2 * np.pi * np.fft.fftfreq(n, box_size / n)
    norm = np.hypot(k[:, None], k)
    squares = (np.abs(scipy.fft.fft2(contrast.astype(float))) ** 2).mean((0, 1))
    return np.array([squares[(norm >= low) & (norm < high)].mean() for low, high in itertools.pairwise(edges)])


@pytest.mark.slow
def test_maps_have_converged():
    """P(k) of the maps for k < 2 h/Mpc within 10 % of a finer mesh and more steps, same phases and box."""
    edges = [0.2, 0.4, 0.7, 1.0, 1.5, 2.0]
    default = ParticleMesh()
    finer = ParticleMesh(particles=128, mesh=256, steps=45)
    assert finer.mesh > default.mesh
    assert finer.steps > default.steps
    powers = [
        map_power(surface_density(simulate(FIDUCIAL, numerics, 1), FIDUCIAL.Omega_m), 25.0, edges)
        for numerics in (default, finer)
    ]
    np.testing.assert_allclose(powers[0], powers[1], rtol=0.1)


@pytest.mark.slow
def test_boost_over_linear_theory_is_that_of_halofit():
    """The ratio to the linear power of the same phases, in a box that holds the long modes, where the mesh resolves."""
    n, box_size = 128, 200.0
    numerics = ParticleMesh(box_size=box_size, particles=n, mesh=2 * n, steps=20)
    k = k_norm(n, box_size)
    edges = np.array([0.1, 0.15, 0.2, 0.3, 0.4, 0.5])
    bins = [(k >= low) & (k < high) for low, high in itertools.pairwise(edges)]
    found, linear = np.zeros((2, len(bins)))
    for seed in (1, 2, 3):
        end = density_modes(simulate(FIDUCIAL, numerics, seed), n)
        start = linear_density_modes(FIDUCIAL, n, box_size, seed)
        found += [(np.abs(end[inside]) ** 2).mean() for inside in bins]
        linear += [(np.abs(start[inside]) ** 2).mean() for inside in bins]
    kc, nonlinear = camb_power(FIDUCIAL, nonlinear=True)
    _, expected = camb_power(FIDUCIAL, nonlinear=False)
    boost = [np.interp(k[inside], kc, nonlinear / expected).mean() for inside in bins]
    np.testing.assert_allclose(found / linear, boost, rtol=0.1)
