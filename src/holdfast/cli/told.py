"""What goes wrong, told in one line on the standard error stream."""

import re
import sys

#: No word of a message is longer: a path has at most 4,000 characters, of which these say enough.
_MOST = 200

_LONG_WORD = re.compile(rf"(\S{{57}})\S{{{_MOST - 57},}}")


def tell(text: str) -> None:
    """Print it, without line breaks and with what is endless in it cut short."""
    line = _LONG_WORD.sub(r"\1...", " ".join(text.split()))
    print(f"holdfast: {line}", file=sys.stderr)
