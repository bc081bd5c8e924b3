"""``holdfast tune``: numbers of a defence, chosen on images held out from training."""

from pathlib import Path
from typing import Any

from holdfast import data as datasets
from holdfast.cli import registry
from holdfast.cli.common import device, percent, print_json, print_table
from holdfast.cli.options import Counts, Number, Numbers
from holdfast.defenses.noise import check_sigma
from holdfast.errors import InputError
from holdfast.evaluation import EvaluationConfig
from holdfast.models import loading
from holdfast.models.purified import Networks
from holdfast.progress import showing
from holdfast.results import read_about
from holdfast.training import start_from
from holdfast.tuning import Search, noise_of_training, tune_malade, unseen


def malade(
    *,
    classifier: Path,
    denoiser: Path,
    out: Path,
    data: str = "digits",
    data_dir: Path | None = None,
    images: int = 200,
    steps: Counts = Counts((10, 25, 40)),
    alpha: Numbers = Numbers(),
    delta: Numbers = Numbers(),
    anneal: Numbers = Numbers((1.0,)),
    sigma: Number | None = None,
    attack: str = "pgd(steps=20)",
    norm: str = "linf",
    eps: Number = Number(0.1),
    first_images: int = 20,
    finalists: int = 3,
    finalist_images: int = 40,
    votes: int = 1,
    samples: int = 5,
    batch_size: int = 128,
    seed: int = 0,
    accelerator: str = "auto",
    json: bool = False,
    quiet: bool = False,
) -> None:
    r"""Choose the chain of MALADE (or MALA) on training images held out from both networks.

    Every chain is attacked by BPDA and by the gradient through it, on a few images; the best few
    then meet all variants that the whole defence calls for, on more images: about five minutes on
    one core for a finalist of 25 steps, with networks of MNIST's size and the defaults. The folder
    can be given as a --model. Run the same command again after an interruption and it goes on where
    it stopped.

    Example:
        holdfast tune malade --data mnist --classifier runs/cnn --denoiser runs/sdae --eps 0.3 \
            --out runs/malade

    Args:
        classifier: Folder of the training run of the classifier.
        denoiser: Folder of the training run of the denoiser: objective sdae for MALADE, dae for
            MALA.
        out: Folder for the run, which then holds the purified classifier.
        data: Data set (`holdfast list`), with parameters if wanted, or the path of an image folder;
            its training images are used, never the test set.
        data_dir: Folder of named data sets and image folders; else HOLDFAST_DATA.
        images: Number of training images to choose by; as far as there are such, images that
            neither network was trained on (--images and --hold-out of train).
        steps: Lengths of the chain to try, between commas.
        alpha: Step sizes to try; by default 0.25, 0.5 and 1 times sigma squared.
        delta: Standard deviations of a step's noise to try; by default 0.1, 0.3 and 0.5 times
            sigma.
        anneal: What the last step's alpha and squared delta are to be of the first one's, fractions
            to try; by default 1, so that they stay.
        sigma: Noise that the denoiser was trained to remove; by default what its run says.
        attack: Attack to choose by, as of evaluate.
        norm: Norm of the attacker's ball: linf, l2, l1 or l0.
        eps: Size of the ball, on the [0, 1] scale.
        first_images: How many of the images every chain is attacked on, evenly spaced.
        finalists: How many chains meet all variants of the attack.
        finalist_images: How many of the images they meet them on; the cost grows with their number,
            with the attack's steps and the chain's.
        votes: Chains for each prediction: one, or more with a majority vote.
        samples: Draws that the variants average over; BPDA with averages takes 30 at least, and the
            first attack one.
        batch_size: Images at once.
        seed: Of all randomness.
        accelerator: auto, cpu, cuda, ... as Lightning Fabric names them.
        json: Print one JSON object and nothing else.
        quiet: Show no progress.
    """
    loading.load(str(classifier))  # says what is wrong with it
    loading.load_denoiser(str(denoiser))
    abouts = {"the classifier": read_about(classifier), "the denoiser": read_about(denoiser)}
    noise = noise_of_training(abouts["the denoiser"]) if sigma is None else sigma
    if noise is None:
        raise InputError(f"{denoiser} does not say the noise of its training; give it by --sigma.")
    check_sigma(noise)
    search = Search(
        steps=steps,
        alpha=alpha or tuple(fraction * noise**2 for fraction in (0.25, 0.5, 1.0)),
        delta=delta or tuple(fraction * noise for fraction in (0.1, 0.3, 0.5)),
        sigma=noise,
        anneal=anneal,
        first_images=first_images,
        finalists=finalists,
        finalist_images=finalist_images,
    )
    chosen_by = registry.attack(attack, registry.threat(norm, eps))
    # A search compares numbers, and is no evaluation to be believed.
    config = EvaluationConfig(
        seed=seed, batch_size=batch_size, votes=votes, samples=samples, audit=0.0
    )
    where = device(accelerator)
    networks: Networks = {}
    for name, folder in (("denoiser", denoiser), ("classifier", classifier)):
        network, architecture = start_from(folder)
        networks[name] = (network.to(where), architecture)
    training = datasets.load(data, "train", data_dir=data_dir)
    for name, (_, architecture) in networks.items():
        if tuple(architecture.shape) != tuple(training.shape):
            raise InputError(
                f"the {name} takes images of shape {tuple(architecture.shape)}, but those of "
                f"{data} have {tuple(training.shape)}; give the --data that it was trained on."
            )
    held = unseen(training, abouts, images, seed)
    sources = {"classifier": str(classifier), "denoiser": str(denoiser)}
    with showing(not quiet) as progress:
        tune_malade(networks, held, search, chosen_by, config, sources, out, progress)
    about = read_about(out)
    if json:
        print_json({"best": about["best"], "trials": about["trials"]})
    else:
        _print(out, about)


def _print(out: Path, about: dict[str, Any]) -> None:
    met = [trial for trial in about["trials"] if trial["robust_accuracy"] is not None]
    met.sort(key=lambda trial: trial != about["best"])
    print_table(
        f"{out}, on {about['settings']['images']} training images, {about['first_images']} of them "
        f"for the first attack and {about['finalist_images']} for all variants; by transfer: "
        "crafted on the classifier; the first line was chosen",
        [
            {
                "steps": trial["steps"],
                "alpha": trial["alpha"],
                "delta": trial["delta"],
                "anneal": trial["anneal"],
                "no\nattack": percent(trial["clean_accuracy"]),
                "by\ntransfer": percent(trial["transfer_accuracy"]),
                "first\nattack": percent(trial["first_accuracy"]),
                "all\nvariants": percent(trial["robust_accuracy"]),
            }
            for trial in met
        ],
    )
