"""Other libraries' attacks as Holdfast names them: foolbox/LinfPGD(steps=20), torchattacks/PGD.

The parameters are the library's own. Norm and size are the threat's, and are handed over where the
library takes them; a library that is not installed is told with how to install it.
"""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from torch import Tensor

from holdfast.attacks.external import adv_lib, art, foolbox, torchattacks
from holdfast.attacks.guarded import Guarded
from holdfast.errors import HoldfastError, InputError, MissingPackageError, unknown
from holdfast.specs import parse, plain
from holdfast.types import Images, Labels, Model, Threat

__all__ = ["LIBRARIES", "library_attack"]

Function = Callable[[Model, Images, Labels], Tensor]


class Library(NamedTuple):
    """Where a library's attacks are, and how one is made and called."""

    module: str  # whose attributes they are
    package: str  # as pip calls it
    #: (library's module, name, threat, parameters) -> function
    make: Callable[[ModuleType, str, Threat, Mapping[str, Any]], Function]
    load: Callable[[str], ModuleType] = import_module


LIBRARIES: Mapping[str, Library] = MappingProxyType(
    {
        "foolbox": Library("foolbox.attacks", "foolbox", foolbox.attack),
        "torchattacks": Library("torchattacks", "torchattacks", torchattacks.attack),
        "art": Library("art.attacks.evasion", "adversarial-robustness-toolbox", art.attack),
        "adv-lib": Library("adv_lib.attacks", "adv-lib", adv_lib.attack, adv_lib.load),
    }
)


def library_attack(spec: str, threat: Threat) -> Guarded | None:
    """The attack that a spec names, held to a threat; None if it begins with no library's name.

    Args:
        spec: ``foolbox/LinfPGD(steps=20)``; the parameters are those of the library.
        threat: what the attack may do.

    Raises:
        MissingPackageError: if the library is not installed.
        UnknownNameError: if it has no attack of that name.
        InputError: if it does not take these parameters, or is about another norm.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks.external.names import library_attack
        >>> library_attack("pgd(steps=20)", Linf(0.1)) is None
        True
    """
    name, slash, _ = spec.partition("/")
    if not slash or name not in LIBRARIES:
        return None
    library = LIBRARIES[name]
    read = parse(spec, "attack", "foolbox/LinfPGD(steps=20)")
    wanted = read.name.removeprefix(f"{name}/")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it imports is deprecated by others
            module = library.load(library.module)
    except ImportError as error:
        raise MissingPackageError(
            f"attacks named {name}/... need {library.package}, which cannot be imported ({error}); "
            f'install it with pip install "holdfast[{name}]".'
        ) from error
    known = [
        one for one in dir(module) if not one.startswith("_") and callable(getattr(module, one))
    ]
    if wanted not in known:
        raise unknown(f"attack of {name}", wanted, known)
    parameters = {key: plain(value) for key, value in read.parameters.items()}
    try:
        function = library.make(module, wanted, threat, parameters)
    except HoldfastError:
        raise
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(
            f"{name} cannot make {spec}, it says: {' '.join(str(error).split())}; give the "
            "parameters that it documents for it, or none."
        ) from error
    version = metadata.version(library.package)
    return Guarded(threat, function, name=f"{spec} of {library.package} {version}")
