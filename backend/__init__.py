"""Maskloop's service: the only package that knows Label Studio, HTTP, the disk and the clock."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("maskloop")
except PackageNotFoundError:  # run from a folder that was never installed
    __version__ = "0+unknown"
