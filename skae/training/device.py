"""Where a fit runs: the best device there is, found when fit is called."""

import torch

from skae.training.processes import current_team


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn ``"auto"`` into cuda, mps or cpu, whichever is there first, and check any other name.

    Among several processes ``"auto"`` is the one that Accelerate chose for this process.

    Raises
    ------
    ValueError
        If the device is unknown or not there.
    """
    if device == "auto":
        if (own := current_team().device) is not None:
            return own
        if torch.cuda.is_available():  # pragma: other device
            return torch.device("cuda")
        if torch.backends.mps.is_available():  # pragma: other device
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device={str(device)!r} cannot be used here; use device='auto' for the best one there is, "
            f"or 'cpu'. (torch says: {str(error).splitlines()[0]})"
        ) from error
    return resolved
