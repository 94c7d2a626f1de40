"""Readers and writers of files of fields: file -> labelled `xarray.Dataset`, and back.

These are readers of files, not torch DataLoaders: neither torch nor sciffusion is imported here.
"""
