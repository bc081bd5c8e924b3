"""Examples of docstrings as code, for Griffe: it knows the heading ``Examples`` alone."""

import re
from typing import Any

import griffe

_HEADING = re.compile(r"^( *)Example:$", re.MULTILINE)


class Examples(griffe.Extension):
    """Our ``Example:`` under Griffe's name for it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename it wherever there is a docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _HEADING.sub(r"\1Examples:", obj.docstring.value)
