"""Transformers that prepare physical data for the estimators, and one that fits a formula to them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
