"""``holdfast evaluate``: a model, data and attacks make rows and robust accuracies."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from holdfast import data as datasets
from holdfast.attacks import Attack, On, variants_of
from holdfast.attacks.adaptive import chosen
from holdfast.attacks.engine.attack import follows_gradients
from holdfast.attacks.engine.transfer import spending
from holdfast.batch_size import BatchSize
from holdfast.certify.smoothing import named_noise
from holdfast.checks import warn_of
from holdfast.cli import registry
from holdfast.cli.audit import believed, check_strict
from holdfast.cli.common import device
from holdfast.cli.dry_run import planned, show_plan
from holdfast.cli.evaluated import show_evaluation, show_study
from holdfast.cli.options import Counts, Number, Numbers, Share, Words
from holdfast.data import Data
from holdfast.declarations import is_stochastic, purifiers
from holdfast.defenses.noise import check_sigma
from holdfast.errors import InputError
from holdfast.evaluation import Evaluation, EvaluationConfig, Study, evaluate_data, study
from holdfast.evaluation.sizes import read_off, run_once, smaller_sizes
from holdfast.evaluation.studies import check_study
from holdfast.execution import Precision
from holdfast.models import Ensemble, loading
from holdfast.models.external.library import read_otherwise
from holdfast.progress import showing
from holdfast.types import Model
from holdfast.workers import check_workers


def evaluate(
    *,
    model: Words,
    data: str = "digits",
    data_dir: Path | None = None,
    images: int | None = None,
    attacks: Words = Words(("pgd",)),
    norm: str = "linf",
    eps: Numbers = Numbers((0.1,)),
    source: Words = Words(),
    twin: str | None = None,
    sigma: Number | None = None,
    noise: str | None = None,
    votes: int | None = None,
    samples: int | None = None,
    each: bool = False,
    variants: Words = Words(),
    penalties: Numbers | None = None,
    attack_all: bool = False,
    batch_size: BatchSize = 128,
    precision: Precision = "float32",
    compile: bool = False,
    channels_last: bool = False,
    keep_images: int | None = None,
    share_sizes: bool = False,
    audit: Share = Share(0.15),
    strict: bool = False,
    dry_run: bool = False,
    seed: Counts = Counts((0,)),
    accelerator: str = "auto",
    workers: int | str | None = None,
    out: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    r"""Attack a model and report its robust accuracy.

    Every attack runs at every size. Run the same command again after an interruption and it goes on
    where it stopped. Several models, or several seeds, are a study: each model with each seed is a
    run of its own below --out, and report and audit take the whole folder.

    Example:
        holdfast evaluate --model runs/net --attacks pgd,second-order --norm l2 --eps 0.5,1
        holdfast evaluate --model mypackage.models:resnet --data path/to/images \
            --attacks "pgd(steps=100, goal=margin)" --eps 4/255,8/255 --out runs/eval
        holdfast evaluate --model "binarise | runs/net" --attacks worst-case --eps 0.3
        holdfast evaluate --model runs/net,runs/madry --seed 0,1,2 --eps 0.1,0.3 --out runs/study

    Args:
        model: Folder of a training run, a model.safetensors file, package.module:callable, a
            library's pretrained model such as "torchvision/resnet18(weights='DEFAULT')", or what
            builds the network with a file of its weights, "mynet:Net(weights=net.pth)" or
            "torchvision/resnet18(weights=net.pth)"; with layers in front if wanted,
            "binarise(threshold=0.5) | runs/net"; several between commas meet the same attacks.
        data: Data set (`holdfast list`), with parameters if wanted, such as
            "imagenet(resize=342, crop=299)", or the path of an image folder.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        images: Number of test images, the first ones or, of a folder, evenly spaced ones.
        attacks: Names between commas (`holdfast list`), with parameters if wanted, such as
            pgd,"second-order(sigma=0.15, samples=20)", also with another gradient,
            "carlini-wagner(gradient=average(samples=10, noise=0.2))".
        norm: Norm of the attacker's ball: linf, l2, l1 or l0.
        eps: Sizes of the ball between commas, on the [0, 1] scale, in l0 how many components may
            change; inf for no limit, with attacks that look for the smallest perturbation.
        source: Craft the attacks on this model instead, a black box attack by transfer; several
            between commas are attacked together, through the mean of their probabilities. Every
            variant that the source calls for has a line of its own.
        twin: A model like this one that shows its gradients, such as the network that a defence was
            put around: attacks that follow gradients are crafted on it too, and what is broken by
            either counts. One is distilled where the model's own gradients are in doubt.
        sigma: Put noise of this deviation in front of the model and let votes decide, as the
            classifier that certify certifies; without it the model itself is attacked.
        noise: With --sigma: gaussian on the image, the default, or laplace on it, or first-layer,
            Gaussian behind the first layer, or sound-gaussian, rounded to 8-bit levels.
        votes: Votes for each prediction of a stochastic model, 100 by default.
        samples: Draws that attacks average over on a stochastic model, 10 by default.
        each: Run every variant of an attack that a defence calls for (BPDA, R, ...) on every image,
            with a line of its own; otherwise each is run on what the others left.
        variants: Run only these of the variants that a defence calls for, between commas: plain,
            bpda, bpda-eot, r-bpda, r; the report says which were left out. With --source, of those
            that the source calls for.
        penalties: Weights of the purifier's reconstruction error in r and r-bpda, between commas,
            each a variant of its own, such as 0.1,1,10; 1 by default.
        attack_all: Attack images too that the model gets wrong without; they count as fooled either
            way.
        batch_size: Images attacked at once; on a GPU more are faster. auto is as many as half of
            free memory holds.
        precision: Of the passes that attacks make: float32 is the model's own, bf16 and fp16 are
            autocast. Whether an image fools is asked in the model's own, and what fools in the
            other alone is attacked again.
        compile: Attack the model compiled by torch.compile, on a GPU as CUDA graphs; where that
            fails, a warning says so, and it is attacked as it is.
        channels_last: Convolutions in the layout NHWC; the same up to rounding.
        keep_images: With --out: save the first so many images with their adversarial versions; 16
            by default.
        share_sizes: Do not attack an image again at a larger size that fell at a smaller one, and
            run attacks that look for the smallest perturbation once, for all sizes of the others.
        audit: Passes that the audit of the result may take, over those of the attacks: a number,
            full for no limit, or off. It says whether the robust accuracies can be believed.
        strict: End with exit code 3 unless the audit finds the robust accuracies believable.
        dry_run: Only show how many passes each attack takes, exactly where that does not hang on
            what falls, else at most and about; how long these take, by a timed batch; and how much
            room the run takes. The model is asked once about every image; nothing is written.
        seed: Of all randomness; several between commas repeat everything with each.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        workers: Processes of this machine that share the batches, each with a GPU if there are as
            many; or the address of a Ray cluster, ray://host:10001, whose workers do. They need
            holdfast[ray]; rows are the same whatever their number, and so may it be when the
            command is run again.
        out: Folder to keep the run in, for holdfast report; nothing is kept without it.
        json: Print one JSON object and nothing else.
        quiet: Show no progress.
    """
    check_workers(workers)
    named = [
        (registry.own_name(attack), registry.attack(attack, registry.threat(norm, limit)))
        for attack in attacks
        for limit in eps
    ]
    _check_each_is_one(named)
    if not eps:
        raise InputError("--eps is empty; give at least one size, or several between commas.")
    config = EvaluationConfig(
        seed=seed[0] if seed else 0,
        batch_size=batch_size,
        votes=100 if votes is None else votes,
        samples=10 if samples is None else samples,
        penalties=(1.0,) if penalties is None else tuple(penalties),
        each=each,
        variants=tuple(variants),
        attack_all=attack_all,
        keep_images=16 if keep_images is None else keep_images,
        audit=audit,
        share_sizes=share_sizes,
        precision=precision,
        compile=compile,
        channels_last=channels_last,
    )
    if share_sizes and len(eps) == 1:
        raise InputError(
            f"--share-sizes is about several sizes, and {eps[0]:g} is the only one: leave it out."
        )
    several = (len(model), len(seed)) != (1, 1)
    if several:
        check_study(model, named, seed)
    check_strict(strict, audit)
    family = named_noise(noise or "gaussian")
    if sigma is not None:
        check_sigma(sigma)
    elif noise is not None:
        raise InputError(f"--noise {noise} says which noise to smooth with, and needs --sigma.")
    if keep_images is not None and out is None:
        raise InputError(
            "--keep-images says what a run's folder keeps: give --out, or leave it out."
        )
    if twin is not None and (source or not any(follows_gradients(one) for _, one in named)):
        raise InputError(
            f"--twin {twin} is what attacks that follow the model's gradients are crafted on too, "
            "and there is none: leave it out."
        )
    pictures = datasets.load(data, data_dir=data_dir, limit=images)
    networks: dict[str, Model] = {}
    for name in model:
        network = loading.load(name, pictures.shape)
        warn_of(read_otherwise(network, pictures))
        if sigma is not None:
            network = family.around(network, sigma, pictures.shape).model
        networks[name] = network.to(device(accelerator))
    typed, crafted_on = named, None
    if source:
        crafted_on = _sources(source, pictures, device(accelerator))
        named = _on(crafted_on, str(source), named, config)
    targets = [*networks.values()]
    sources = [] if crafted_on is None else [crafted_on]
    attacked = sources or targets
    _check_draws([*targets, *sources], {"--votes": votes, "--samples": samples})
    _check_variants(targets, named, {"--each": each})
    _check_variants(attacked, typed, {"--variants": bool(variants)})
    if penalties is not None and not any(map(purifiers, attacked)):
        raise InputError(
            "--penalties weighs what a purifier changes of an image (R), and what is attacked has "
            "no layer that purifies: leave it out."
        )
    for option, asked in (("--workers", workers is not None), ("--strict", strict)):
        if dry_run and asked:
            raise InputError(f"--dry-run runs nothing that {option} could be about: leave out one.")
    where = device(accelerator)
    like = None if twin is None else loading.load(twin, pictures.shape).eval().to(where)
    if dry_run:
        if crafted_on is not None:
            typed = [(name, spending(attack)) for name, attack in typed]
        elif share_sizes:
            once = run_once(typed)
            typed = [one for place, one in enumerate(once) if place not in read_off(once)]
        with showing(not quiet) as progress:
            plan = planned(
                networks,
                pictures,
                typed,
                config,
                handed_on=smaller_sizes(typed) if share_sizes else (),
                source=str(source) if source else None,
                twin=twin,
                seeds=len(seed),
                kept=config.keep_images if out is not None else None,
                progress=progress,
            )
        show_plan(plan, json=json)
        return
    with showing(not quiet) as progress:
        for written in attacks:
            if registry.own_name(written) != written:
                progress.say(f"{written} is {registry.own_name(written)} here")
        given = (like, twin or "twin", workers)
        found: Evaluation | Study
        if several:
            found = study(networks, pictures, named, seed, config, out, progress, *given)
        else:
            (name, network), *_ = networks.items()
            found = evaluate_data(network, pictures, named, config, name, out, progress, *given)
    if isinstance(found, Study):
        show_study(found, json=json)
    else:
        behind = "" if sigma is None else f"{noise or 'gaussian'} noise of {sigma:g}"
        show_evaluation(found, json=json, behind=behind)
    if strict:
        for audit_of_run in found.audits if isinstance(found, Study) else [found.audit]:
            believed(audit_of_run)


def _sources(source: Words, pictures: Data, where: torch.device) -> Model:
    """The model that attacks are crafted on: one, or several at once."""
    models = [loading.load(one, pictures.shape).eval().to(where) for one in source]
    return models[0] if len(models) == 1 else Ensemble(*models).eval()


def _on(
    model: Model, source: str, named: list[tuple[str, Attack]], config: EvaluationConfig
) -> list[tuple[str, Attack]]:
    """The attacks crafted on another model, each as that model calls for."""
    made: list[tuple[str, Attack]] = []
    for name, attack in named:
        called = variants_of(
            attack,
            model,
            samples=config.samples,
            votes=config.votes,
            weights=config.penalties,
        )
        for one in chosen(called, config.variants):
            title = name if one.title == "plain" else f"{name}, {one.title}"
            made.append((title, On(model, one.attack, name=source)))
    return made


def _check_draws(models: Sequence[Model], options: Mapping[str, int | None]) -> None:
    """Refuse options about draws where no model draws.

    Raises:
        InputError: if one is given.
    """
    for option, given in options.items():
        if given is not None and not any(map(is_stochastic, models)):
            raise InputError(
                f"{option} is about models that draw random numbers, and this one draws none: "
                "leave it out, or put noise in front by --sigma."
            )


def _check_variants(
    models: Sequence[Model], named: Sequence[tuple[str, Attack]], options: Mapping[str, bool]
) -> None:
    """Refuse options about variants where every attack has one alone on every model.

    Raises:
        InputError: if one is given.
    """
    given = [option for option, is_given in options.items() if is_given]
    one_way = (len(variants_of(attack, model)) == 1 for model in models for _, attack in named)
    if given and all(one_way):
        raise InputError(
            f"{given[0]} is about a defence that calls for several variants of an attack, and each "
            "of these attacks runs in one way alone: leave it out."
        )


def _check_each_is_one(named: Sequence[tuple[str, Attack]]) -> None:
    """Refuse an attack that stands there twice, written in two ways.

    Raises:
        InputError: if one does.
    """
    for n, (name, attack) in enumerate(named):
        for other, before in named[:n]:
            if other != name and attack == before:
                raise InputError(
                    f"{other} and {name} are one attack, {attack!r}; give it once in --attacks."
                )
