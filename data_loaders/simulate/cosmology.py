"""Linear theory of a flat LCDM universe: expansion, growth of structure and the power spectrum of matter.

The expansion rate is ``E(a) = H / H_0 = sqrt(Omega_m a^-3 + 1 - Omega_m)``. A density contrast of small amplitude
keeps its shape and grows as ``delta(k, a) = D(a) delta(k, 1)``, with the power spectrum today

    P(k) = A k^n_s T(k)^2,   sigma_8^2 = 1/(2 pi^2) int P(k) W(8 k)^2 k^2 dk,   W(x) = 3 (sin x - x cos x) / x^3,

where T is the transfer function of Eisenstein & Hu (1998) and the amplitude A follows from sigma_8.
Lengths are in Mpc/h and wavenumbers in h/Mpc throughout.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

RHO_CRIT = 2.77536627e11
"""Critical density today, 3 H_0^2 / (8 pi G), in (Msun/h)/(Mpc/h)^3."""

_EARLY = 1e-4  # the scale factor from which the growth is integrated, deep in matter domination


@dataclass(frozen=True)
class Cosmology:
    """A flat LCDM universe of cold dark matter and baryons, without neutrinos' mass and without radiation.

    The defaults are the fiducial cosmology of CAMELS (Villaescusa-Navarro et al. 2021, ApJ 915, 71).

    Parameters
    ----------
    Omega_m : float
        Total matter density today in units of the critical density [dimensionless].
    sigma_8 : float
        Root mean square of the linear density contrast today in spheres of 8 Mpc/h [dimensionless].
    Omega_b : float
        Baryon density today in units of the critical density [dimensionless].
    h : float
        Hubble constant [100 km/s/Mpc].
    n_s : float
        Slope of the primordial power spectrum [dimensionless].
    T_cmb : float
        Temperature of the microwave background today [K].

    Raises
    ------
    ValueError
        If a parameter lies where the model has no meaning.

    Examples
    --------
    >>> fiducial = Cosmology(Omega_m=0.3, sigma_8=0.8)
    >>> round(float(fiducial.growth(0.5)[0]), 3)
    0.612
    """

    Omega_m: float = 0.3
    sigma_8: float = 0.8
    Omega_b: float = 0.049
    h: float = 0.6711
    n_s: float = 0.9624
    T_cmb: float = 2.7255

    def __post_init__(self) -> None:
        if not 0 < self.Omega_m <= 1:
            raise ValueError(f"Omega_m of a flat universe lies in (0, 1], not at {self.Omega_m}: choose it there")
        if not 0 < self.Omega_b < self.Omega_m:
            raise ValueError(
                f"Omega_b lies in (0, Omega_m = {self.Omega_m}), not at {self.Omega_b}: baryons are part of the matter"
            )
        for name in ("sigma_8", "h", "T_cmb"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")

    def expansion(self, a: ArrayLike) -> NDArray[np.float64]:
        """Expansion rate E(a) = H(a) / H_0 at the scale factor `a` [dimensionless]."""
        return np.sqrt(self.Omega_m * np.asarray(a, float) ** -3 + 1 - self.Omega_m)

    def growth(self, a: ArrayLike) -> NDArray[np.float64]:
        """Growth factors of first and second order, normalized by ``D_1(1) = 1``.

        They solve, with primes for d/dln a and ``w = 3/2 Omega_m(a)`` (Bouchet et al. 1995, A&A 296, 575),

            D_1'' + (2 - w) D_1' = w D_1,      D_2'' + (2 - w) D_2' = w (D_2 - D_1^2),

        so that ``D_1 = a`` and ``D_2 = -3/7 a^2`` early on.

        Parameters
        ----------
        a : array_like, any shape
            Scale factor, in [1e-4, 1].

        Returns
        -------
        ndarray, shape (4, *a.shape)
            ``D_1``, ``dD_1/dln a``, ``D_2`` and ``dD_2/dln a`` [dimensionless].
        """
        log_a = np.log(np.asarray(a, float))
        today = self._growth_solution(0.0)[0]
        normalization = np.array([today, today, today**2, today**2])
        solution = self._growth_solution(np.atleast_1d(log_a)) / normalization[:, None]
        return solution.reshape(4, *log_a.shape)

    @cached_property
    def _growth_solution(self):
        def derivative(log_a, state):
            first, first_rate, second, second_rate = state
            a = np.exp(log_a)
            w = 1.5 * self.Omega_m * a**-3 / self.expansion(a) ** 2
            return [
                first_rate,
                w * first - (2 - w) * first_rate,
                second_rate,
                w * (second - first**2) - (2 - w) * second_rate,
            ]

        a = _EARLY
        start = [a, a, -3 / 7 * a**2, -6 / 7 * a**2]
        span = (np.log(a), 0.0)
        return solve_ivp(derivative, span, start, "DOP853", dense_output=True, rtol=1e-10, atol=1e-16).sol

    def transfer(self, k: ArrayLike) -> NDArray[np.float64]:
        """Transfer function of cold dark matter and baryons with acoustic oscillations.

        Eisenstein & Hu (1998, ApJ 496, 605), equations 2 to 24. The power spectrum lies within 5 % of a Boltzmann code
        for Omega_m from 0.2 to 0.5; where baryons are half of the matter (Omega_m = 0.1) it differs by up to 19 %.

        Parameters
        ----------
        k : array_like, any shape
            Wavenumber [h/Mpc], positive.

        Returns
        -------
        ndarray, the shape of `k`
            T(k), one for k -> 0 [dimensionless].
        """
        return _eisenstein_hu(np.asarray(k, float) * self.h, self)

    def linear_power(self, k: ArrayLike, redshift: float = 0.0) -> NDArray[np.float64]:
        """Linear power spectrum of matter, normalized to `sigma_8` at redshift zero.

        Parameters
        ----------
        k : array_like, any shape
            Wavenumber [h/Mpc], positive.
        redshift : float
            Redshift [dimensionless].

        Returns
        -------
        ndarray, the shape of `k`
            P(k) [(Mpc/h)^3].

        Examples
        --------
        >>> round(float(Cosmology().linear_power(0.1)))
        5483
        """
        k = np.asarray(k, float)
        growth = self.growth(1 / (1 + redshift))[0]
        return growth**2 * self._amplitude * k**self.n_s * self.transfer(k) ** 2

    @cached_property
    def _amplitude(self) -> float:
        k = np.geomspace(1e-5, 1e2, 20_000)
        unnormalized = k**self.n_s * self.transfer(k) ** 2
        return float(self.sigma_8**2 / top_hat_variance(k, unnormalized, 8.0))


def top_hat_variance(k: NDArray, power: NDArray, radius: float) -> float:
    """Variance of the density contrast in spheres.

    ``1/(2 pi^2) int P(k) W(k R)^2 k^2 dk``, by the trapezoidal rule in ln k.

    Parameters
    ----------
    k : ndarray, shape (n,)
        Wavenumber [h/Mpc], rising.
    power : ndarray, shape (n,)
        Power spectrum [(Mpc/h)^3].
    radius : float
        Radius of the spheres [Mpc/h].

    Returns
    -------
    float
        The variance [dimensionless].

    Examples
    --------
    >>> cosmology, k = Cosmology(sigma_8=0.9), np.geomspace(1e-5, 1e2, 5000)
    >>> round(top_hat_variance(k, cosmology.linear_power(k), 8.0) ** 0.5, 4)
    0.9
    """
    x = k * radius
    # The closed form cancels to nothing at small arguments: its series takes over.
    window = np.where(x < 1e-2, 1 - x**2 / 10, 3 * (np.sin(x) - x * np.cos(x)) / x**3)
    return float(np.trapezoid(power * window**2 * k**3, np.log(k)) / (2 * np.pi**2))


def _eisenstein_hu(k: NDArray, cosmology: Cosmology) -> NDArray:
    """Evaluate the fit at `k` in 1/Mpc; equation numbers are those of Eisenstein & Hu (1998)."""
    matter = cosmology.Omega_m * cosmology.h**2
    baryon = cosmology.Omega_b * cosmology.h**2
    fraction = cosmology.Omega_b / cosmology.Omega_m
    theta = cosmology.T_cmb / 2.7

    z_equality = 2.5e4 * matter * theta**-4  # 2
    k_equality = 7.46e-2 * matter * theta**-2  # 3
    b1 = 0.313 * matter**-0.419 * (1 + 0.607 * matter**0.674)
    b2 = 0.238 * matter**0.223
    z_drag = 1291 * matter**0.251 / (1 + 0.659 * matter**0.828) * (1 + b1 * baryon**b2)  # 4
    r_drag, r_equality = (31.5e3 * baryon * theta**-4 / z for z in (z_drag, z_equality))  # 5
    horizon = (  # 6
        2 / (3 * k_equality) * np.sqrt(6 / r_equality)
        * np.log((np.sqrt(1 + r_drag) + np.sqrt(r_drag + r_equality)) / (1 + np.sqrt(r_equality)))
    )  # fmt: skip
    k_silk = 1.6 * baryon**0.52 * matter**0.73 * (1 + (10.4 * matter) ** -0.95)  # 7
    q, ks = k / (13.41 * k_equality), k * horizon  # 10

    def pressureless(alpha, beta):  # 19, 20
        logarithm = np.log(np.e + 1.8 * beta * q)
        return logarithm / (logarithm + (14.2 / alpha + 386 / (1 + 69.9 * q**1.08)) * q**2)

    a1 = (46.9 * matter) ** 0.670 * (1 + (32.1 * matter) ** -0.532)
    a2 = (12.0 * matter) ** 0.424 * (1 + (45.0 * matter) ** -0.582)
    alpha_c = a1**-fraction * a2 ** -(fraction**3)  # 11
    b1 = 0.944 / (1 + (458 * matter) ** -0.708)
    b2 = (0.395 * matter) ** -0.0266
    beta_c = 1 / (1 + b1 * ((1 - fraction) ** b2 - 1))  # 12
    weight = 1 / (1 + (ks / 5.4) ** 4)  # 18
    cold = weight * pressureless(1, beta_c) + (1 - weight) * pressureless(alpha_c, beta_c)  # 17

    y = (1 + z_equality) / (1 + z_drag)
    root = np.sqrt(1 + y)
    g = y * (-6 * root + (2 + 3 * y) * np.log((root + 1) / (root - 1)))  # 15
    alpha_b = 2.07 * k_equality * horizon * (1 + r_drag) ** -0.75 * g  # 14
    beta_b = 0.5 + fraction + (3 - 2 * fraction) * np.sqrt((17.2 * matter) ** 2 + 1)  # 24
    node = 8.41 * matter**0.435  # 23
    shifted = horizon / (1 + (node / ks) ** 3) ** (1 / 3)  # 22
    plasma = pressureless(1, 1) / (1 + (ks / 5.2) ** 2)  # 21
    plasma += alpha_b / (1 + (beta_b / ks) ** 3) * np.exp(-((k / k_silk) ** 1.4))
    plasma *= np.sinc(k * shifted / np.pi)
    return fraction * plasma + (1 - fraction) * cold  # 16
