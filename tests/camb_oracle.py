"""The matter power spectrum of camb, normalized to sigma_8, on the conventions of `Cosmology`."""

import pytest


def camb_power(cosmology, *, nonlinear):
    """Wavenumber [h/Mpc] and P(k) [(Mpc/h)^3] at redshift zero; skips where camb is missing."""
    camb = pytest.importorskip("camb")
    h2 = cosmology.h**2
    parameters = camb.CAMBparams(WantCls=False, DoLensing=False)
    parameters.set_cosmology(
        H0=100 * cosmology.h,
        ombh2=cosmology.Omega_b * h2,
        omch2=(cosmology.Omega_m - cosmology.Omega_b) * h2,
        mnu=0.0,
        TCMB=cosmology.T_cmb,
    )
    parameters.InitPower.set_params(ns=cosmology.n_s, As=2e-9)
    parameters.set_matter_power(redshifts=[0.0], kmax=20.0)
    unscaled = camb.get_results(parameters).get_sigma8_0()
    parameters.InitPower.set_params(ns=cosmology.n_s, As=2e-9 * (cosmology.sigma_8 / unscaled) ** 2)
    both = camb.model.NonLinear_both if nonlinear else camb.model.NonLinear_none
    parameters.NonLinear = both
    k, _, power = camb.get_results(parameters).get_matter_power_spectrum(1e-4, 15.0, npoints=400)
    return k, power[0]
