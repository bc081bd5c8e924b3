"""What must be said beside the numbers of a classifier, in sentences."""

from collections.abc import Iterable

from holdfast import metrics
from holdfast.report.classifier import Classifier
from holdfast.report.folders import CertifiedRun
from holdfast.report.subjects import Subject
from holdfast.report.words import NORMS, percent


def notes(classifier: Classifier) -> list[str]:
    """What must be said beside a classifier's numbers."""
    said = []
    norms = list(classifier.attacked["norm"].unique()) if classifier.evaluations else []
    own = [run.norm for run in classifier.certifications]
    for norm in dict.fromkeys([*own, *norms]):
        said += _of_norm(classifier, norm)
    said += of_stopped(classifier.certifications)
    for run in classifier.proofs if classifier.evaluations else ():
        broken, tested = metrics.broken_certificates(classifier.attacked, run.rows, run.norm)
        said.append(
            f"Certificates ({run.among}{run.bound}, {run.interval}) contradicted by an attack: "
            f"{broken} of {tested} put to the test."
        )
    return list(dict.fromkeys([*said, *contradictions(classifier)]))


def warnings(subject: Subject, said: Iterable[str]) -> list[str]:
    """What the runs of a network warned of, without what is said of its classifiers already."""
    told = set(said)
    every = [
        (f"{run.path}: {note}", note)
        for run in subject.runs
        if run is not subject.training
        for note in run.warnings
    ]
    return list(dict.fromkeys(text for text, note in every if not told & {text, note}))


def contradictions(classifier: Classifier) -> list[str]:
    """A sentence for each size at which a classifier's certificates claim too much."""
    if not classifier.evaluations:
        return []
    return [
        f"{classifier.network}, {classifier.title}: {percent(line.certified)} are certified "
        f"({run.among}{run.bound}, {run.interval}) at {NORMS[run.norm]} = {line.eps:g}, but "
        f"attacks left only {percent(line.robust_accuracy)} of the same {line.n} images "
        f"{'robust' if run.top == 1 else 'there'}: the certificates or the attack's votes are "
        "wrong."
        for run in classifier.proofs
        for line in metrics.overclaimed(classifier.at_sizes, run.rows, run.norm).itertuples()
    ]


def of_stopped(runs: Iterable[CertifiedRun]) -> list[str]:
    """What must be said with a curve whose votes stopped once their question was answered."""
    if not any(run.own_votes for run in runs):
        return []
    return [
        "Sequential votes stop once their question is answered, and input-specific ones are as "
        "many as it is likely to take: read such a curve at the radii that were asked for, which "
        "are dotted; elsewhere more votes would prove more."
    ]


def _of_norm(classifier: Classifier, norm: str) -> list[str]:
    """What must be said of a classifier's numbers in one norm."""
    if not classifier.evaluations or not (classifier.attacked["norm"] == norm).any():
        if not classifier.proof or classifier.proof.norm != norm:
            return []
        return [
            "No attack was run on the smoothed classifier that is certified, so there is no "
            "ceiling above this floor: run holdfast evaluate with "
            f"{classifier.options} --norm {norm}."
        ]
    rows = classifier.attacked[classifier.attacked["norm"] == norm]
    counts = rows.groupby(metrics.CELL)["index"].nunique()
    crafted = {
        name for run in classifier.evaluations for name in metrics.crafted_elsewhere(run.settings)
    }
    said = [*metrics.blind_attacks(rows), *metrics.idle_attacks(rows, crafted)]
    if counts.nunique() > 1:
        said.append(
            f"Attacks in {NORMS[norm]} met from {counts.min()} to {counts.max()} images: the worst "
            "case is over those that every attack met."
        )
    said += [
        f"{run.path}: {note}"
        for run in classifier.evaluations
        if (run.rows["norm"] == norm).any()
        for note in [
            *metrics.left_out(run.settings),
            *metrics.untried(cell for cell in run.cells if cell["norm"] == norm),
        ]
    ]
    other = {run.norm for run in classifier.certifications if run.top == 1} - {norm}
    if other and norm == "l0":
        power = " squared" if "l2" in other else ""
        said.append(
            f"What is certified in {NORMS[norm]} is implied by the {NORMS[other.pop()]} "
            f"certificate: its radius{power}, since no component changes by more than 1."
        )
    elif other and norm != "l1":
        divisor = "d" if other == {"l1"} and norm == "linf" else "√d"
        said.append(
            f"What is certified in {NORMS[norm]} is implied by the {NORMS[other.pop()]} "
            f"certificate: its radius divided by {divisor}, over all d pixels."
        )
    return said
