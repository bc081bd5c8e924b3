"""Import Holdfast from this checkout, whether or not it is installed."""

import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]


def importable() -> None:
    """Put the sources first on the path, with the metadata that an installation would bring."""
    sys.path.insert(0, str(ROOT / "src"))
    try:
        metadata.version("holdfast")
    except metadata.PackageNotFoundError:
        sys.meta_path.append(_Finder())


class _Checkout(metadata.Distribution):
    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        return f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"

    def locate_file(self, path: object) -> Path:
        return ROOT / "src" / str(path)


class _Finder(metadata.DistributionFinder):
    def find_spec(self, *_: object) -> None:
        """Modules are found by the path alone."""

    def find_distributions(
        self, context: metadata.DistributionFinder.Context | None = None
    ) -> Iterator[metadata.Distribution]:
        if context is None or context.name in (None, "holdfast"):
            yield _Checkout()
