"""Puts the recipes, which stand beside the sources in a checkout, into what is installed."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithRecipes(build_py):
    """Copies the recipes below the package, where `holdfast reproduce` looks first."""

    def run(self) -> None:
        """Build the package; an editable installation reads the checkout."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / "holdfast" / "recipes"
            hidden = shutil.ignore_patterns("__pycache__")
            shutil.copytree("recipes", target, ignore=hidden, dirs_exist_ok=True)


setup(cmdclass={"build_py": WithRecipes})
