"""Displays: pictures of what an estimator does, each from an estimator or from arrays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
