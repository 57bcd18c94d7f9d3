"""The version of this package, which every part of it may know."""

__version__ = "0.2.0"
