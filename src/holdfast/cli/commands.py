"""The commands: what each does in a line, and where its function is.

A function is imported when its command is run, so that ``holdfast --help`` imports nothing. Its
signature says the options, by three rules: what is keyword-only is an option, and anything else
stands without a name; an underscore becomes a dash; one at the end, which keeps a word of Python's
free (``from_``), is dropped. Its docstring is the help.
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Command(NamedTuple):
    """A command of the command line."""

    function: str  # module:name
    summary: str  # the first line of its docstring
    heading: str  # what it stands under in the help

    def load(self) -> Callable[..., None]:
        """Import the function."""
        module, _, name = self.function.partition(":")
        found: Callable[..., None] = getattr(importlib.import_module(module), name)
        return found


_BEGIN, _TRAIN, _MEASURE, _SHOW = "Begin", "Train", "Measure", "Show"

COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "demo": Command(
            "holdfast.cli.demo:demo",
            "Train, attack and certify three networks on 1,797 real digits, and make a report.",
            _BEGIN,
        ),
        "list": Command(
            "holdfast.cli.list:list_names",
            "List attacks, objectives, architectures and everything else that has a name.",
            _BEGIN,
        ),
        "train": Command("holdfast.cli.train:train", "Train a network.", _TRAIN),
        "tune malade": Command(
            "holdfast.cli.tune:malade",
            "Choose the chain of MALADE (or MALA) on training images held out from both networks.",
            _TRAIN,
        ),
        "evaluate": Command(
            "holdfast.cli.evaluate:evaluate",
            "Attack a model and report its robust accuracy.",
            _MEASURE,
        ),
        "certify": Command(
            "holdfast.cli.certify:certify",
            "Certify a smoothed classifier, by votes over noise (Algorithm 1).",
            _MEASURE,
        ),
        "compare": Command(
            "holdfast.cli.compare:compare",
            "Compare two evaluations of the same images, image by image.",
            _MEASURE,
        ),
        "audit": Command(
            "holdfast.cli.audit:audit",
            "Say whether finished evaluations and certifications can be believed.",
            _MEASURE,
        ),
        "diagnose purification": Command(
            "holdfast.cli.diagnose.purification:purification",
            "Show what MALADE's chain does to an attacked image, step by step.",
            _SHOW,
        ),
        "diagnose convergence": Command(
            "holdfast.cli.diagnose.convergence:convergence",
            "Follow accuracy and rho_2 over the epochs of trainings.",
            _SHOW,
        ),
        "diagnose curvature": Command(
            "holdfast.cli.diagnose.curvature:curvature",
            "Measure how near the second-order attack comes to the Hessian's leading eigenvector.",
            _SHOW,
        ),
        "diagnose discrepancy": Command(
            "holdfast.cli.diagnose.discrepancy:discrepancy",
            "Tell how unlike adversaries of training and one to come are, as networks see them.",
            _SHOW,
        ),
        "diagnose filters": Command(
            "holdfast.cli.diagnose.filters:filters",
            "Count the filters that give 0 on every image: a network of few is none to judge by.",
            _SHOW,
        ),
        "diagnose gradient-norm": Command(
            "holdfast.cli.diagnose.gradient_norm:gradient_norm",
            "Follow the norm of the exact gradient over the iterations of attacks.",
            _SHOW,
        ),
        "diagnose ibp": Command(
            "holdfast.cli.diagnose.ibp:ibp",
            "Certify a network without noise, by interval bound propagation.",
            _SHOW,
        ),
        "diagnose linearity": Command(
            "holdfast.cli.diagnose.linearity:linearity",
            "Compare one step of an attack with many: where they differ, the gradient is masked.",
            _SHOW,
        ),
        "diagnose margin": Command(
            "holdfast.cli.diagnose.margin:margin",
            "Measure how far images are from the boundary, as Deep Defense's authors do.",
            _SHOW,
        ),
        "diagnose perceptual": Command(
            "holdfast.cli.diagnose.perceptual:perceptual",
            "Score how much adversarial images look like the images that they were made of (PASS).",
            _SHOW,
        ),
        "diagnose subspace": Command(
            "holdfast.cli.diagnose.subspace:subspace",
            "Count the orthogonal directions around each image in which a model is fooled (GAAS).",
            _SHOW,
        ),
        "diagnose surface": Command(
            "holdfast.cli.diagnose.surface:surface",
            "Show the loss on the plane through an image along two signed gradients.",
            _SHOW,
        ),
        "reproduce": Command(
            "holdfast.cli.reproduce:reproduce",
            "Reproduce a table or figure of a paper, or all of a paper, and judge its claims.",
            _SHOW,
        ),
        "report": Command(
            "holdfast.cli.report:report",
            "Make one page of evaluations and certifications.",
            _SHOW,
        ),
        "bundle": Command(
            "holdfast.cli.bundle:bundle",
            "Put finished runs and their report into one file that a stranger can check.",
            _SHOW,
        ),
        "verify": Command(
            "holdfast.cli.verify:verify",
            "Find out whether what a bundle or a run says follows from what is in it.",
            _SHOW,
        ),
    }
)

#: What options are about, in the order of the help; an option has one name in all commands.
OPTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Model": (
            *("model", "from", "classifier", "denoiser", "normalize", "centre", "accelerator"),
            *("precision", "compile", "channels_last"),
        ),
        "Images": ("data", "data_dir", "images", "image", "batch_size", "top"),
        "Training": (
            *("objective", "shift", "flip", "epochs", "accumulate"),
            *("optimizer", "schedule", "clip", "ema", "hooks"),
        ),
        "Held-out images": (
            *("hold_out", "val_attack", "val_norm", "val_eps", "best", "patience"),
        ),
        "Attack": (
            *("attacks", "attack", "norm", "eps", "source", "samples", "each", "variants"),
            *("penalties", "variant", "attack_all"),
        ),
        "Noise and votes": (
            *("sigma", "noise", "votes", "selection_votes", "confidence"),
            *("bounds", "intervals", "radii", "within"),
        ),
        "Run": (
            *("scale", "dry_run", "fail_if_worse", "junit", "out", "pages", "title"),
            *("keep_images", "share_sizes", "audit", "strict", "seed"),
            *("checkpoint_seconds", "keep_epochs", "devices", "num_nodes", "workers"),
            *("strategy", "json", "quiet"),
        ),
    }
)

#: What options stand under that one command has.
OWN = "Its own"

EXAMPLES = """\
holdfast demo
holdfast train --model small --objective "stability(sigma=0.3)" --out runs/stn
holdfast evaluate --model runs/stn --attacks pgd,second-order --norm l2 \\
    --eps 0.25,0.5 --out runs/eval
holdfast certify --model runs/stn --sigma 0.3 --votes 1000 --out runs/cert
holdfast report runs/stn runs/eval runs/cert"""
