"""One language for everything that has a name and parameters: ``pgd(steps=100, goal=margin)``.

    spec   name, or name(parameter=value, ...)
    value  a number (3, 0.5, 1e-3, 8/255, inf), True, False, None, text in quotes, a list [..] or a
           tuple (..) of values, or another spec

Attacks, objectives, optimizers, schedules, layers and models of other libraries are written so. A
spec within a spec is a named thing, ``goal=margin``, or, where text is expected, text that needs no
quotes: ``weights=DEFAULT``. Nothing is executed; what a name stands for is said by whoever asks.
"""

from holdfast.specs.building import NO_CHOICES, Choices, arguments, build, find, no_parameter
from holdfast.specs.reading import Spec, number, parse, plain, split

__all__ = [
    "NO_CHOICES",
    "Choices",
    "Spec",
    "arguments",
    "build",
    "find",
    "no_parameter",
    "number",
    "parse",
    "plain",
    "split",
]
