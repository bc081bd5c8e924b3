"""The images that the page shows, and as files beside it: within what a page may weigh."""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.files import replace_file
from holdfast.report import tables
from holdfast.report.gallery import Example, Gallery, to_png
from holdfast.report.printed import tags
from holdfast.report.subjects import Subject
from holdfast.report.words import size

#: What the images of a page may weigh, of the 10 MB that all of it may.
AT_MOST = 3_000_000


class Shown(NamedTuple):
    """Images of a page.

    Attributes:
        examples: of each, which classifier, attack, size and image it is, and the numbers of its
            three pictures.
        pictures: PNG in base64, each once.
        left_out: how many examples were too many for one page; they are beside it as files.
    """

    examples: list[dict[str, Any]]
    pictures: list[str]
    left_out: int


def album(
    subjects: Sequence[Subject], shown: Mapping[int, list[list[Gallery]]], folder: Path
) -> Shown:
    """Save clean and adversarial images as PNG, and choose those that the page shows.

    From every attack on every classifier come first ones before second ones.

    Args:
        subjects: the networks.
        shown: galleries by the identity of their classifier.
        folder: for the files.
    """
    examples: list[dict[str, Any]] = []
    places: dict[bytes, int] = {}
    weight, left_out = 0, 0
    for place, tag, gallery, example in _in_turn(subjects, shown):
        found = [
            to_png(image) for image in (example.clean, example.adversarial, example.difference)
        ]
        name = f"{tag}-{_plain(gallery.attack)}-{gallery.norm}"
        if gallery.limited:
            name += f"-{gallery.eps:.4g}"
        for picture, kind in zip(found, ("clean", "adversarial"), strict=False):
            _save(folder / f"{name}-{example.index}-{kind}.png", picture)
        more = sum(len(picture) for picture in set(found) - places.keys()) * 4 // 3
        if weight + more > AT_MOST and examples:
            left_out += 1
            continue
        weight += more
        numbers = [places.setdefault(picture, len(places)) for picture in found]
        examples.append(
            {
                "model": place,
                "attack": gallery.attack,
                "norm": gallery.norm,
                "size": size(gallery.norm, gallery.eps) if gallery.limited else None,
                "index": example.index,
                "label": example.label,
                "seen": example.prediction,
                "distance": float(f"{example.distance:.3g}"),
                "factor": float(f"{example.factor:.3g}"),
                "pictures": numbers,
            }
        )
    pictures = [base64.b64encode(picture).decode() for picture in places]
    return Shown(examples, pictures, left_out)


def _in_turn(
    subjects: Sequence[Subject], shown: Mapping[int, list[list[Gallery]]]
) -> Iterator[tuple[int, str, Gallery, Example]]:
    names = [
        f"{name}-{classifier.tag}"
        for subject, name in zip(subjects, tags(subjects), strict=True)
        for classifier in subject.classifiers
    ]
    every = [
        [(place, names[place], gallery, example) for example in gallery.examples]
        for place, classifier in enumerate(tables.classifiers(subjects))
        for group in shown[id(classifier)]
        for gallery in group
    ]
    for turn in zip_longest(*every):
        yield from (one for one in turn if one is not None)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]


def _save(path: Path, picture: bytes) -> None:
    replace_file(path, lambda target: target.write_bytes(picture))
