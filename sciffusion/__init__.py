"""Diffusion models of scientific fields and spectra that a referee would trust."""

__version__ = "0.1.0"
