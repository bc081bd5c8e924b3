"""What is seen to before an evaluation does any work: its attacks can be told apart, and begin."""

from holdfast.attacks import Worst
from holdfast.attacks.engine.attack import follows_gradients
from holdfast.attacks.skips import hearing_notes, hearing_skips
from holdfast.errors import GradientError, InputError
from holdfast.evaluation.adapting import Named
from holdfast.evaluation.asking import Asker
from holdfast.evaluation.rows import check_name
from holdfast.types import Labels, Step


def check_attacks(attacks: Named) -> None:
    """See that there are attacks, each with a name of its own at each size.

    Raises:
        InputError, InputTypeError: if not.
    """
    if not attacks:
        raise InputError("there is no attack; name at least one.")
    for name, attack in attacks:
        for each in (name, *(attack.names if isinstance(attack, Worst) else ())):
            check_name(each)
    met = [(name, attack.threat) for name, attack in attacks]
    twice = [one for place, one in enumerate(met) if one in met[:place]]
    if twice:
        name, threat = twice[0]
        raise InputError(
            f"two attacks have the same name and size, {name} at {threat}; give each attack and "
            "each size once, or, in Python, two attacks of a kind names of their own."
        )


class _Begun(Exception):  # noqa: N818, no error
    """An attack has got as far as its first step."""


def check_one_can_run(asker: Asker, attacks: Named, prediction: Labels) -> None:
    """Find out before any work whether an attack can begin; the others are skipped on the way.

    Args:
        asker: of the model.
        attacks: the first that can begin is enough.
        prediction: what the model said of the first batch; with these labels no attack is done at
            once.

    Raises:
        GradientError: if every attack needs a gradient and none reaches the images.
    """

    def stop(step: Step) -> None:
        raise _Begun

    index = next(asker.data.batches(min(asker.batch_size, 2)))
    x, y = asker.data.x(index).to(prediction.device), prediction[: len(index)]
    blocked: list[GradientError] = []
    for _, attack in attacks:
        if follows_gradients(attack):
            try:
                with hearing_skips(), hearing_notes():
                    attack(asker.model, x, y, seed=asker.seed, index=index, callback=stop)
            except _Begun:
                return
            except GradientError as error:
                blocked.append(error)
    if len(blocked) == len(attacks):
        raise blocked[0]
