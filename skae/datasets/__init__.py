"""Generators and readers of physical data."""

from skae.datasets.jets import load_jets, make_jets

__all__ = ["load_jets", "make_jets"]
