"""Libraries that skae can do without: an extra installs each."""

from importlib import import_module
from types import ModuleType


def optional(what: str, extra: str, *names: str) -> list[ModuleType]:
    """Import the modules that something needs, or say which extra of skae installs them."""
    try:
        return [import_module(name) for name in names]
    except ImportError as error:
        raise ImportError(f"{what} needs {error.name}: pip install skae[{extra}].") from error
