"""A run's own audit, held against its rows: every check that it makes, and the word they lead to.

An audit says less where a check was taken out of it, or was never written down, so that what is not
there is looked at as well as what is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holdfast.auditing.check import Check, Definition, Verdict
from holdfast.auditing.verdict import Audit
from holdfast.bundle.finding import Finding, contradicted, holds, unchecked
from holdfast.bundle.same import of_other_version, same_value, short
from holdfast.results import ABOUT


def audited_again(
    about: Mapping[str, Any],
    again: Audit,
    table: Iterable[Definition],
    without: set[str],
    where: str,
) -> Iterator[Finding]:
    """Hold the audit that a run wrote against one that was made of its rows.

    Args:
        about: what run.json says.
        again: the audit without the model.
        table: of all checks that an audit of such a run makes.
        without: checks of rows that hang on more than the rows.
        where: the run.
    """
    file, written = f"{where}/{ABOUT}", Audit.of_run(about)
    if written is None:
        said = "no audit is recorded, of whether the numbers can be believed: holdfast audit makes"
        yield unchecked(file, "audit", f"{said} one.")
        return
    said = about["audit"]
    if (said["verdict"], said["sentence"]) != (written.word, written.sentence):
        yield contradicted(
            file,
            "audit",
            f"it says {said['sentence']!r:.120}, and its checks say {written.sentence!r:.120}.",
        )
    known = {one.id: one for one in table}
    mine = {
        check.id: check
        for check in again.checks
        if not known[check.id].asks_the_model and check.id not in without
    }
    told = [*_of_all(written, again, known), *_of_each(written, known, mine)]
    for text in told:  # which another version may have said otherwise
        yield (unchecked if of_other_version(about) else contradicted)(file, "audit", text)
    both = [check.id for check in written.checks if check.id in mine]
    if both and not told:
        yield holds(file, "audit", f"{len(both)} checks of rows are what the rows give.")
    asked = [check.id for check in written.checks if check.id not in mine]
    if asked:
        text = f"{len(asked)} checks need more than the rows: holdfast audit makes them again"
        yield unchecked(file, "audit", f"{text} ({', '.join(asked)}).")


def _of_all(written: Audit, again: Audit, known: Mapping[str, Definition]) -> Iterator[str]:
    """What it is of, and which checks are in it: every one once, also those that were not run."""
    if written.about != again.about:
        yield f"it is of {written.about!r:.120}, and the rows give {again.about!r:.120}."
    times = Counter(check.id for check in written.checks)
    for name in known:
        if not times[name]:
            yield f"check {name} is missing, which every audit makes."
    for name, count in times.items():
        if name not in known:
            yield f"check {name!r:.30} is there, which no audit makes."
        elif count > 1:
            yield f"check {name} is there {count} times."


def _of_each(
    written: Audit, known: Mapping[str, Definition], mine: Mapping[str, Check]
) -> Iterator[str]:
    """What each check says: by its own limits, and of rows alone by the rows."""
    for check in written.checks:
        if check.id not in known:
            continue
        one = known[check.id]
        if (check.title, check.why, check.then) != (one.title, one.why, one.then):
            yield f"check {check.id} has another title, or other reasons, than it has."
        if check.threshold != one.limit:
            yield f"check {check.id} passes up to {check.threshold}, and its limit is {one.limit}."
        if now := mine.get(check.id):
            found = (check.verdict, now.verdict), (check.value, now.value), (check.said, now.said)
            wrong = [pair for pair in found if not same_value(*pair)]
            if wrong[:1] == [found[2]]:
                yield f"check {check.id} says {check.said!r:.120}, and the rows give {now.said!r}."
            elif wrong:
                yield (
                    f"check {check.id} says {check.verdict} ({short(check.value)}), and the rows "
                    f"give {now.verdict} ({short(now.value)})."
                )
        elif not _judged(check, one):
            yield f"check {check.id} says {check.verdict}, and its value is {short(check.value)}."


def _judged(check: Check, one: Definition) -> bool:
    """Whether a verdict is that of the value; one that is infinite is not written."""
    if check.value is None:
        return check.verdict is not Verdict.PASS
    return check.verdict is one.judge(check.value)
