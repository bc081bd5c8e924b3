"""Text of a page in Markdown."""

from collections.abc import Sequence


def joined(lines: Sequence[str]) -> str:
    """Lines as the text of a page, with no two empty ones together."""
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip("\n") + "\n"


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")
