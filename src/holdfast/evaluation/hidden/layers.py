"""The first layer whose gradient lies.

The whole model is judged first: where its gradient is right, nothing that its layers do to it
matters. Otherwise the search goes down into the first module that lies by itself, at the very
tensors that it was given; a module that lies though none of its own modules does hides its cut in
the code of its `forward`.
"""

from holdfast.evaluation.hidden.calls import Call, calls_within
from holdfast.evaluation.hidden.slopes import Lie, lie_of


def first_lie(call: Call) -> tuple[list[Call], Lie] | None:
    """The innermost, first module that lies within a call, and how; None if the gradient is right.

    Before the module come those that hold it, the outermost first: where nothing goes round it
    alone, something may round one of them.

    Args:
        call: of the whole model.
    """
    lie = _judged(call)
    return None if lie is None else _innermost([call], lie)


def _innermost(within: list[Call], lie: Lie) -> tuple[list[Call], Lie]:
    call = within[-1]
    for inner in calls_within(call):
        found = _judged(inner)
        if found is not None:
            return _innermost([*within, inner], found)
    return within, lie


def _judged(call: Call) -> Lie | None:
    try:
        return lie_of(call)
    except Exception:  # a stranger's layer, which may well not bear to be called by itself
        return None
