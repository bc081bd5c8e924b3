"""The first screen of a report as a picture: what `make report-picture` makes of the demo's.

python -m tools.site.screenshot report.html docs/report.png
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def screenshot(
    page: Path, out: Path, *, width: int = 1280, height: int = 860, dark: bool = False
) -> None:
    """A page as a headless Chromium shows it."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        sys.exit(f"a picture of {page} takes a Chromium, and none of {_BROWSERS} is installed.")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        command += ["--blink-settings=preferredColorScheme=0"] if dark else []
        command += ["--virtual-time-budget=4000", f"--screenshot={out.resolve()}"]
        subprocess.run(
            [*command, page.resolve().as_uri()], check=True, stderr=subprocess.DEVNULL, timeout=120
        )


if __name__ == "__main__":
    screenshot(Path(sys.argv[1]), Path(sys.argv[2]))
