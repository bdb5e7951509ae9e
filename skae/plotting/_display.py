"""Base of the displays: what they draw on, and what their docstrings have in common."""

import inspect
import re

from skae._extras import optional

_PARAMETERS = "\n\nParameters\n----------\n"
_ATTRIBUTES = "\n\nAttributes\n----------\n"


class Display:
    """A picture of what an estimator does.

    Parameters
    ----------
    figure : matplotlib.figure.Figure, default=None
        Where to draw; None makes a new figure.
    ax : matplotlib.axes.Axes, default=None
        Where to draw; None makes a new figure.
    **kwargs
        As for ``from_predictions``.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure.
    """

    def _draw_on(self, figure, size):
        """Return the figure that was given, or a new one."""
        self.figure_ = self._new_figure(size) if figure is None else figure
        return self.figure_

    def _draw_in(self, ax, size=None):
        """Return the axes that were given, or those of a new figure."""
        self.ax_ = self._new_figure(size).subplots() if ax is None else ax
        self.figure_ = self.ax_.figure
        return self.ax_

    def _new_figure(self, size):
        """Return a new figure of matplotlib, which is imported only now; or say how to get it."""
        (plt,) = optional(type(self).__name__, "plot", "matplotlib.pyplot")
        return plt.figure(figsize=size, layout="constrained")


def documented(cls):
    """Complete the docstrings of a display, which say what is its own.

    A parameter that a method leaves out is documented as in ``from_predictions``, else as in the class,
    which keeps as an ndarray what a method takes as an array-like, else as in :class:`Display`. So is
    the figure among the attributes. All methods return the display.
    """
    if cls.__doc__ is None:  # as all are in python -OO
        return cls
    known = _entries(Display)
    for name, entry in _entries(cls).items():
        known[name] = entry.replace("ndarray", "array-like")
    makers = [name for name in ("from_estimator", "from_predictions") if hasattr(cls, name)]
    recommended = " or ".join(f":meth:`{name}`" for name in makers)
    attributes = inspect.getdoc(Display).partition(_ATTRIBUTES)[2]
    cls.__doc__ = (
        inspect.getdoc(cls)
        .replace(_PARAMETERS, f"\n\nIt is recommended to use {recommended}.{_PARAMETERS}")
        .replace(_ATTRIBUTES, f"{_ATTRIBUTES}{attributes}\n")
    )
    for name in ("from_predictions", "from_estimator", "plot"):
        if name in vars(cls):
            method = getattr(cls, name)
            known |= _entries(method)
            function = getattr(method, "__func__", method)
            function.__doc__ = _completed(method, known, cls.__name__)
    return cls


def _completed(method, known, returned):
    """Return the docstring of a method with all its parameters, and with what it returns."""
    title = inspect.getdoc(method).partition(_PARAMETERS)[0]
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    entries = dict.fromkeys(known[name] for name in names)
    returns = f"\n\nReturns\n-------\ndisplay : {returned}\n    The drawn display."
    return title + _PARAMETERS + "\n".join(entries) + returns


def _entries(thing):
    """Return what a docstring says of parameters, under the name of each."""
    section = inspect.getdoc(thing).partition(_PARAMETERS)[2].partition("\n\n")[0]
    entries = {}
    for entry in re.findall(r"^\S.*(?:\n .*)*", section, re.M):
        names = entry.partition("\n")[0].partition(" : ")[0]
        entries |= dict.fromkeys(re.findall(r"\w+", names), entry)
    return entries
