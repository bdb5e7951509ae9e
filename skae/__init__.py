"""skae: scikit-learn-compatible deep-learning estimators for physics."""

import lazy_loader

# Each name is imported when it is first used, so that a transformer brings no torch. The names stand in
# __init__.pyi, here and in the packages inside.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
