"""The version of skae in what outlives a process: pickles and files."""

from typing import Any

from skae._version import __version__
from skae._warn import warn
from skae.exceptions import VersionWarning

_VERSION = "_skae_version"


class RecordsVersion:
    """Records skae's version when an object is pickled or saved, and warns when another one reads it.

    As scikit-learn does for its own estimators.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), _VERSION: __version__}  # type: ignore[dict-item]

    def __setstate__(self, state: dict[str, Any]) -> None:
        version = state.pop(_VERSION, None)
        if version != __version__:
            warn(
                f"This {type(self).__name__} was pickled or saved by skae {version}, and this is skae "
                f"{__version__}. Its results may differ: compare some, or fit it again.",
                VersionWarning,
            )
        super().__setstate__(state)  # type: ignore[misc]
