"""Settings of torch and NumPy that a program may have made around a call.

With one of their names in SKAE_AMBIENT, pytest runs under it whatever tests ask of estimators.
"""

import functools
import importlib
import inspect
import threading
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

_LOCK = threading.Lock()


class _OfTheProcess:
    """A setting of the whole process: the last thread that leaves takes it back."""

    def __init__(self, change, value, before):
        self.change, self.value, self.before, self.count = change, value, before, 0

    def __call__(self):
        return self

    def __enter__(self):
        with _LOCK:
            self.count += 1
            self.change(self.value)

    def __exit__(self, *_):
        with _LOCK:
            self.count -= 1
            if self.count == 0:
                self.change(self.before)


@contextmanager
def _gradients_off():
    before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    try:
        yield
    finally:
        torch.set_grad_enabled(before)


@contextmanager
def _all_at_once():
    with ExitStack() as stack:
        for name in ("float64", "device", "inference", "autocast", "deterministic", "errstate"):
            stack.enter_context(SETTINGS[name]())
        yield


#: functions that return contexts
SETTINGS = {
    "float64": _OfTheProcess(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": _OfTheProcess(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "device": lambda: torch.device("meta"),  # what set_default_device enters
    "inference": torch.inference_mode,
    "no_grad": _gradients_off,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": _OfTheProcess(torch.use_deterministic_algorithms, True, False),
    "errstate": lambda: np.errstate(all="raise"),
    "all at once": _all_at_once,
}


def surround(name):
    """Run public methods of estimators, and what saves and exports them, under a setting."""

    def surrounded(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            with SETTINGS[name]():
                return function(*args, **kwargs)

        return call

    rooms = ("estimators", "compression", "export", "persistence", "sampling")
    estimators, *others = (importlib.import_module(f"skae.{room}") for room in rooms)
    classes = {
        base
        for each in estimators.__all__
        for base in getattr(estimators, each).__mro__
        if base.__module__.startswith("skae.estimators")
    }
    for place in (*classes, *others):
        for key, value in {**vars(place)}.items():
            if inspect.isfunction(value) and not key.startswith("_"):
                setattr(place, key, surrounded(value))
