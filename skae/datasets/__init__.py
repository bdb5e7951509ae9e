"""Generators and readers of physical data."""

from skae.datasets.jets import load_jets, make_jets
from skae.datasets.pulses import make_pulses

__all__ = ["load_jets", "make_jets", "make_pulses"]
