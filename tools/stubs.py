"""Write what type checkers and editors see of packages whose exports are found by themselves.

python tools/stubs.py            write the stubs
python tools/stubs.py --check    exit with 1 if one is not what it would be
"""

import ast
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"
PACKAGES = (
    "holdfast/attacks",
    "holdfast/certify",
    "holdfast/certify/bounds",
    "holdfast/certify/intervals",
    "holdfast/defenses",
    "holdfast/diagnose",
    "holdfast/training",
    "holdfast/training/objectives",
)

#: What a package exports of modules elsewhere.
BESIDE = {"holdfast/training": (("holdfast.processes", "Processes"),)}


def stub(package: Path) -> str:
    """The ``__init__.pyi`` of a package: an import for each module, and ``__all__``."""
    beside = BESIDE.get(package.relative_to(SOURCES).as_posix(), ())
    lines = [f"from {module} import {name} as {name}" for module, name in beside]
    exports = {name for _, name in beside}
    for path in sorted(package.rglob("*.py")):
        names = _exports(path)
        if path.name == "__init__.py" or not names:
            continue
        module = ".".join(path.relative_to(package).with_suffix("").parts)
        lines += [f"from .{module} import {name} as {name}" for name in names]
        exports |= set(names)
    listed = "".join(f'    "{name}",\n' for name in sorted(exports))
    return "\n".join(lines) + f"\n\n__all__ = [\n{listed}]\n"


def _exports(path: Path) -> list[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return sorted(ast.literal_eval(node.value)) if isinstance(node.value, ast.List) else []
    return []


def main() -> int:
    """Write, or check."""
    stale = []
    for package in PACKAGES:
        path = SOURCES / package / "__init__.pyi"
        content = stub(SOURCES / package)
        if not path.exists() or path.read_text() != content:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(content)
    if stale and "--check" in sys.argv:
        print("not what the modules export; run make lint:", *stale)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
