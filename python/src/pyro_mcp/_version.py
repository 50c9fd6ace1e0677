"""The version of this package, and of the pyro that is built from the same tree."""

__version__ = "5.0.0"
