"""Interrupts of callbacks and of the keyboard."""

import signal
import types

import pytest

from skae.training.callbacks import is_raised_by_code


def test_a_callback_that_stops_is_told_from_ctrl_c():
    def raises():
        raise KeyboardInterrupt

    def is_interrupted():
        signal.raise_signal(signal.SIGINT)
        return types.SimpleNamespace()

    for function, by_code in ((raises, True), (is_interrupted, False)):
        with pytest.raises(KeyboardInterrupt) as caught:
            function()
        assert is_raised_by_code(caught.value) is by_code
