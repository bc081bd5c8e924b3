"""Reading: a spec's text as its name and its parameters."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

from holdfast.errors import InputError

_NUMBER = r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|inf)"
_TOKEN = re.compile(
    rf"""(?P<number>{_NUMBER}(?:/{_NUMBER})?)(?=[\s,()\[\]]|$)"""
    r"""
    | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    | (?P<mark>[()\[\],=|])
    | (?P<word>[^\s()\[\]{},=|'"]+)""",
    re.VERBOSE,
)
_CONSTANTS: Mapping[str, Any] = MappingProxyType({"True": True, "False": False, "None": None})
_CLOSING = {"(": ")", "[": "]"}
_DEEPEST = 20


@dataclass(frozen=True)
class Spec:
    """A name and its parameters.

    Attributes:
        name: what stands before the bracket.
        parameters: values by name; specs within are `Spec`s.
        text: as it was written.

    Example:
        >>> from holdfast.specs import parse
        >>> spec = parse("pgd(goal=margin)")
        >>> spec.name, spec.bare, spec.parameters["goal"].bare
        ('pgd', False, True)
    """

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def bare(self) -> bool:
        """Whether it is a name alone, without brackets."""
        return self.text == self.name


def parse(text: str, kind: str = "thing", example: str = "name(parameter=value)") -> Spec:
    """Read a spec.

    Args:
        text: the spec.
        kind: what it names, for messages: "attack".
        example: a right one, for messages.

    Raises:
        InputError: if it cannot be read; the sentence says where.

    Example:
        >>> from holdfast.specs import parse
        >>> parse("pgd(steps=7, step_size=2/255)").parameters
        {'steps': 7, 'step_size': 0.00784313725490196}
    """
    if not text.strip():
        raise InputError(f"{text!r} names no {kind}; write a name, or {example}.")
    return _Reader(text, kind, example).all()


def number(text: str) -> float:
    """A number as the language writes it, 8/255 and inf among them.

    Raises:
        ValueError: if it is none.

    Example:
        >>> from holdfast.specs import number
        >>> number("8/255") == 8 / 255
        True
    """
    if not re.fullmatch(rf"\s*{_NUMBER}(/{_NUMBER})?\s*", text):
        raise ValueError(f"{text!r} is no number")
    try:
        return float(_number(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError):  # thousands of digits, or x/0
        raise ValueError(f"{text!r} is no number that can be held") from None


def split(text: str, mark: str = ",") -> list[str]:
    """The parts of a text between marks that stand outside of brackets and quotes, stripped.

    Example:
        >>> from holdfast.specs import split
        >>> split("fgsm, pgd(steps=1, restarts=2)")
        ['fgsm', 'pgd(steps=1, restarts=2)']
    """
    parts, begin, depth = [], 0, 0
    for token in _TOKEN.finditer(text):
        depth += (token[0] in _CLOSING) - (token[0] in _CLOSING.values())
        if token[0] == mark and depth <= 0:
            parts.append(text[begin : token.start()])
            begin = token.end()
    return [part.strip() for part in (*parts, text[begin:])]


def plain(value: Any) -> Any:
    """A value in which specs are the text that they were written as.

    Example:
        >>> from holdfast.specs import parse, plain
        >>> plain(parse("a(b=[c(d=1), 2])").parameters["b"])
        ['c(d=1)', 2]
    """
    if isinstance(value, Spec):
        return value.text
    if isinstance(value, list | tuple):
        return type(value)(plain(part) for part in value)
    return value


def _number(text: str) -> int | float:
    above, slash, below = text.partition("/")
    if slash:
        return float(above) / float(below)
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


class _Reader:
    """Reads one spec, token by token, and knows where it is."""

    def __init__(self, text: str, kind: str, example: str) -> None:
        self.text, self.kind, self.example = text, kind, example
        self.depth = 0
        self.tokens = list(self._tokens())
        self.place = 0
        self._check_brackets()

    def all(self) -> Spec:
        spec = self._spec()
        if self.place < len(self.tokens):
            self._refuse("nothing follows a name and its parameters, which are name=value", 0)
        return spec

    def _tokens(self) -> Iterator[re.Match[str]]:
        place = 0
        while place < len(self.text):
            if self.text[place].isspace():
                place += 1
                continue
            token = _TOKEN.match(self.text, place)
            if token is None:
                odd = self.text[place]
                why = f"the quote {odd} is not closed" if odd in "'\"" else f"{odd} means nothing"
                self._refuse_at(place, why)
            yield token
            place = token.end()

    def _check_brackets(self) -> None:
        """Say which bracket has no partner, before anything else seems wrong because of it."""
        opened: list[re.Match[str]] = []
        for token in self.tokens:
            if token.lastgroup != "mark":
                continue
            if token[0] in _CLOSING:
                opened.append(token)
            elif token[0] in _CLOSING.values() and (
                not opened or _CLOSING[opened.pop()[0]] != token[0]
            ):
                self._refuse_at(token.start(), f"the bracket {token[0]} closes none")
            if len(opened) > _DEEPEST:
                self._refuse_at(token.start(), f"more than {_DEEPEST} brackets are open")
        if opened:
            self._refuse_at(opened[-1].start(), f"the bracket {opened[-1][0]} is not closed")

    def _next(self) -> re.Match[str] | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def _take(self, mark: str) -> bool:
        token = self._next()
        found = token is not None and token.lastgroup == "mark" and token[0] == mark
        self.place += found
        return found

    def _spec(self) -> Spec:
        token = self._next()
        if token is None or token.lastgroup not in ("word", "number"):
            self._refuse(f"the name of a {self.kind} is expected", 0)
        self.place += 1
        name, parameters, end = token[0], dict[str, Any](), token.end()
        if self._take("("):
            while not self._take(")"):
                self._parameter(parameters)
                if not self._take(",") and not self._is(")"):
                    self._refuse("a comma is missing, or parameters are not name=value", 0)
            end = self.tokens[self.place - 1].end()
        return Spec(name, parameters, self.text[token.start() : end])

    def _parameter(self, parameters: dict[str, Any]) -> None:
        token = self._next()
        if token is None or token.lastgroup != "word" or not token[0].isidentifier():
            self._refuse("parameters are given as name=value", 0)
        self.place += 1
        if not self._take("="):
            self._refuse("parameters are given as name=value", -1)
        if token[0] in parameters:
            self._refuse(f"{token[0]} is given twice", -2)
        parameters[token[0]] = self._value()

    def _value(self) -> Any:
        token = self._next()
        if token is None:
            self._refuse("a value is missing", 0)
        if token.lastgroup == "word":
            if token[0] in _CONSTANTS:
                self.place += 1
                return _CONSTANTS[token[0]]
            if not re.match(r"[\w./~]", token[0]) or token[0][0].isdigit():
                self._refuse("this is neither a number nor a name; text stands in quotes", 0)
            return self._spec()
        self.place += 1
        if token.lastgroup == "number":
            try:
                return _number(token[0])
            except (ValueError, ZeroDivisionError):  # thousands of digits, or x/0
                self._refuse("this is no number that can be held", -1)
        if token.lastgroup == "text":
            return re.sub(r"\\(.)", r"\1", token[0][1:-1])
        if token[0] not in _CLOSING:
            self._refuse("a value is missing", -1)
        return self._values(token[0])

    def _values(self, bracket: str) -> list[Any] | tuple[Any, ...] | Any:
        values, comma = [], False
        while not self._take(_CLOSING[bracket]):
            values.append(self._value())
            comma = self._take(",")
            if not comma and not self._is(_CLOSING[bracket]):
                self._refuse("a comma is missing", 0)
        if bracket == "[":
            return values
        return values[0] if len(values) == 1 and not comma else tuple(values)  # (3) is 3

    def _is(self, mark: str) -> bool:
        token = self._next()
        return token is not None and token[0] == mark

    def _refuse(self, why: str, offset: int) -> NoReturn:
        place = self.place + offset
        where = self.tokens[place].start() if place < len(self.tokens) else len(self.text)
        self._refuse_at(where, why)

    def _refuse_at(self, where: int, why: str) -> NoReturn:
        near = self.text[max(0, where - 20) : where + 20]
        shown = f"{near[: min(20, where)]}>>>{near[min(20, where) :]}"
        raise InputError(
            f"the {self.kind} {_brief(self.text)} cannot be read at character {where + 1}, "
            f"{shown}: {why}; write {self.example}."
        )


def _brief(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
