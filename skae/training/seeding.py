"""Random numbers that come from one seed, and from no global random state but for that seed."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn
from torch.overrides import TorchFunctionMode

from skae.modules.seeded import SeededModule, Share

# torch's layers draw their first weights from the global generator and take no other, so only one
# thread at a time may seed it, build a module and put the state back.
_INITIALISATION = threading.RLock()

# No fork in between either: a child would find the state of a seed, and the lock held by nobody there.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_INITIALISATION.acquire,
        after_in_parent=_INITIALISATION.release,
        after_in_child=_INITIALISATION.release,
    )


def draw_seed(random_state: int | np.random.RandomState | None) -> int:
    """Turn scikit-learn's ``random_state`` into one seed.

    An integer gives itself. A ``RandomState`` gives (and advances by) one draw, and so does None of
    NumPy's global one: ``np.random.seed`` works as it does in scikit-learn.
    """
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


# What layers make their weights with: functions that take torch's default dtype if they are told none.
_FACTORIES = {
    torch.empty,
    torch.eye,
    torch.linspace,
    torch.ones,
    torch.rand,
    torch.randn,
    torch.zeros,
}


class _Float32(TorchFunctionMode):
    """Let layers be made in float32, in this thread alone: torch's default dtype is the process's."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in _FACTORIES and kwargs.get("dtype") is None:
            kwargs = {**kwargs, "dtype": torch.float32}
        return function(*args, **kwargs)


@contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Build a module inside this context: its weights follow ``seed``, the global state is restored."""
    with _INITIALISATION, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        with nullcontext() if torch.get_default_dtype() is torch.float32 else _Float32():
            yield


def attach_generator(
    module: nn.Module, generator: torch.Generator | None, share: Share | None = None
) -> None:
    """Hand one generator to every :class:`SeededModule` inside ``module`` (None takes it away).

    With ``share`` they see that part of each minibatch, which may change from one to the next.
    """
    for layer in module.modules():
        if isinstance(layer, SeededModule):
            layer.generator = generator
            vars(layer).pop("share", None)
            if share is not None:
                layer.share = share


class RandomStreams:
    """The generators of one fit, reseeded at each epoch from the fit's seed and the epoch's number.

    Nothing but the seed has to be kept to go on after a pickle or a resume: the draws of epoch k are
    the same whatever came before.

    Parameters
    ----------
    seed : int
        Seed of the fit.
    device : torch.device
        Where noise and dropout masks are drawn. Permutations are drawn on the CPU, so that batches
        are the same on every device.

    Attributes
    ----------
    shuffle : torch.Generator
        For the permutation of the rows, on the CPU.
    corruption : torch.Generator
        For noise and dropout, on ``device``.
    """

    def __init__(self, seed: int, device: torch.device):
        self.seed = seed
        self.to(device)

    def to(self, device: torch.device) -> None:
        """Draw noise and dropout masks on another device from now on."""
        self.shuffle = torch.Generator()
        self.corruption = torch.Generator(device)

    def begin_epoch(self, epoch: int) -> None:
        """Seed the generators for epoch number ``epoch``."""
        seeds = np.random.SeedSequence([self.seed, epoch]).generate_state(2)
        self.shuffle.manual_seed(int(seeds[0]))
        self.corruption.manual_seed(int(seeds[1]))

    def resume(self, corruption: torch.Tensor) -> None:
        """Put the generator of noise and dropout into a saved state.

        One of another kind of device is of no use here: the epoch's own seed is kept then.
        """
        if len(corruption) == len(self.corruption.get_state()):
            self.corruption.set_state(corruption)

    def __getstate__(self) -> dict:
        return {"seed": self.seed, "device": str(self.corruption.device)}

    def __setstate__(self, state: dict) -> None:
        device = torch.device(state["device"])
        if device.type == "cuda" and not torch.cuda.is_available():
            device = torch.device("cpu")
        self.__init__(state["seed"], device)
