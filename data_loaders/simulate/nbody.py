"""A particle-mesh simulation of gravitational clustering from Gaussian initial conditions.

Particles sit at ``x = q + s(q)``, with q a regular grid and s the comoving displacement. With the momentum
``p = a^3 E(a) dx/da`` they obey ``dp/da = 3/2 Omega_m g / (a^2 E)``, ``g = grad lap^-1 (-delta)``, in a periodic box.
The steps are kick-drift-kick with the factors of FastPM (Feng et al. 2016, MNRAS 463, 2273, section 2.3), which make
the growth of linear modes exact in any number of steps: with ``G = a^2 E dD_1/dln a``, so that ``p = G psi_1`` and
``g = D_1 psi_1`` in linear theory,

    kick   from a to b with the force at c:     p += g (G(b) - G(a)) / D_1(c)
    drift  from a to b with the momentum at c:  s += p (D_1(b) - D_1(a)) / G(c).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_loaders.simulate.cosmology import Cosmology
from data_loaders.simulate.initial import lagrangian_start, linear_density_modes
from data_loaders.simulate.mesh import Gravity


@dataclass(frozen=True)
class ParticleMesh:
    """The numerical settings of a simulation.

    Parameters
    ----------
    box_size : float
        Side of the periodic box [Mpc/h].
    particles : int
        Particles along a side; the simulation has ``particles**3``.
    mesh : int
        Cells of the force mesh along a side, a multiple of `particles`. The mesh sets the smallest scale that
        clusters: choose it at least twice as fine as the particles.
    steps : int
        Time steps, of equal length in the scale factor.
    redshift_start : float
        Redshift of the Lagrangian start [dimensionless].
    redshift : float
        Redshift of the end [dimensionless].

    Raises
    ------
    ValueError
        If a number is not positive, odd where it must be even, or the start does not precede the end.

    Examples
    --------
    >>> ParticleMesh().cell_size
    0.1953125
    """

    box_size: float = 25.0
    particles: int = 64
    mesh: int = 128
    steps: int = 30
    redshift_start: float = 19.0
    redshift: float = 0.0

    def __post_init__(self) -> None:
        for name in ("box_size", "particles", "mesh", "steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("particles", "mesh"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name} must be even, not {getattr(self, name)}: take one more")
        if self.mesh % self.particles:
            raise ValueError(
                f"mesh must be a multiple of particles, so that all start alike between mesh points, but {self.mesh} "
                f"is none of {self.particles}: take {2 * self.particles}"
            )
        if not self.redshift_start > self.redshift >= 0:
            raise ValueError(f"redshift_start = {self.redshift_start} must lie above redshift = {self.redshift} >= 0")

    @property
    def cell_size(self) -> float:
        """Side of a cell of the force mesh [Mpc/h]."""
        return self.box_size / self.mesh


@dataclass
class Particles:
    """The state of a simulation.

    Parameters
    ----------
    displacement : ndarray, shape (3, n, n, n), float32
        Comoving displacement from the grid point ``q = i box_size / n`` [Mpc/h]; never wrapped around the box.
    momentum : ndarray, shape (3, n, n, n), float32
        ``p = a^3 E dx/da`` = a^2 dx/dt / H_0 [Mpc/h].
    box_size : float
        Side of the box [Mpc/h].
    a : float
        Scale factor [dimensionless].
    """

    displacement: NDArray[np.float32]
    momentum: NDArray[np.float32]
    box_size: float
    a: float


def simulate(cosmology: Cosmology, settings: ParticleMesh, seed: int, workers: int = 1) -> Particles:
    """Run a simulation to its end.

    Parameters
    ----------
    cosmology : Cosmology
        The universe.
    settings : ParticleMesh
        The numerical settings.
    seed : int
        Seed of the initial phases. They are the same at every number of particles, see `initial.white_noise_modes`.
    workers : int
        Threads of the Fourier transforms.

    Returns
    -------
    Particles
        The state at ``settings.redshift``.

    Examples
    --------
    >>> end = simulate(Cosmology(), ParticleMesh(particles=16, mesh=32, steps=3), seed=1)
    >>> end.displacement.shape, round(end.a, 6)
    ((3, 16, 16, 16), 1.0)
    """
    *_, end = evolve(start(cosmology, settings, seed, workers), cosmology, settings, workers)
    return end


def start(cosmology: Cosmology, settings: ParticleMesh, seed: int, workers: int = 1) -> Particles:
    """Draw the particles at ``settings.redshift_start``; parameters as of `simulate`."""
    delta = linear_density_modes(cosmology, settings.particles, settings.box_size, seed)
    redshift = settings.redshift_start
    displacement, momentum = lagrangian_start(cosmology, delta, settings.box_size, redshift, workers)
    return Particles(displacement, momentum, settings.box_size, 1 / (1 + redshift))


def evolve(state: Particles, cosmology: Cosmology, settings: ParticleMesh, workers: int = 1) -> Iterator[Particles]:
    """Move `state` in place from its scale factor to the end, and yield it after every step.

    Displacement and momentum of a yielded state belong to the same time. Other parameters as of `simulate`.
    """
    a = np.linspace(state.a, 1 / (1 + settings.redshift), settings.steps + 1)
    middle = np.sqrt(a[:-1] * a[1:])
    growth = _FastPM(cosmology)
    gravity = Gravity(settings.box_size, settings.mesh, workers)
    force = gravity(state.displacement)
    for before, half, after in zip(a[:-1], middle, a[1:]):
        state.momentum += force * growth.kick(before, half, at=before)
        state.displacement += state.momentum * growth.drift(before, after, at=half)
        force = gravity(state.displacement)
        state.momentum += force * growth.kick(half, after, at=after)
        state.a = float(after)
        yield state


class _FastPM:
    """Kick and drift factors (see the module)."""

    def __init__(self, cosmology: Cosmology):
        self.cosmology = cosmology

    def growth(self, a: float) -> float:
        return float(self.cosmology.growth(a)[0])

    def momentum(self, a: float) -> float:
        return float(a**2 * self.cosmology.expansion(a) * self.cosmology.growth(a)[1])

    def kick(self, a: float, b: float, at: float) -> np.float32:
        return np.float32((self.momentum(b) - self.momentum(a)) / self.growth(at))

    def drift(self, a: float, b: float, at: float) -> np.float32:
        return np.float32((self.growth(b) - self.growth(a)) / self.momentum(at))
