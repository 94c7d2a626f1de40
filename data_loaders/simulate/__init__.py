"""Simulations that make fields where no file is at hand."""
