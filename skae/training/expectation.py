"""Steps of expectation-maximisation: what a whole epoch tells, then one move of the parameters."""

from typing import Any

from skorch import NeuralNet

from skae.training.batches import Batch
from skae.training.step import Step


class ExpectationStep(Step):
    """Sum over the minibatches of an epoch, behind which the module's parameters are moved.

    The module has ``begin_sums()``, whose ``add(x, weight)`` returns the mean loss of a minibatch, and
    ``maximise(sums)``. Processes that share a fit sum over all rows, each of them.
    """

    #: sums that are begun are not saved: a fit that is resumed begins the epoch again
    is_divisible = False

    _sums: Any = None

    def take(self, batch: Batch, net: NeuralNet, run: Any, *, report: bool) -> dict[str, Any]:
        """Add a minibatch to the sums; nothing moves yet."""
        if self._sums is None:
            self._sums = self.module.begin_sums()
        x, _, weight = batch
        loss = self._sums.add(x, weight)
        return {"loss": loss, "y_pred": loss}

    def finish(self) -> None:
        """Move the parameters to where the rows of this epoch are likelier."""
        self.module.maximise(self._sums)
        self._sums = None
