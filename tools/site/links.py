"""Links of a page in the repository, as links of the site."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REPOSITORY = "https://github.com/holdfast/holdfast/blob/main"

#: Pages in the repository's root, and where they are in the site.
ROOT_PAGES = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
}

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def rewritten(markdown: str, source: Path, page: str) -> str:
    """The links of a page, which in the repository lies at ``source``, from its place in the site.

    What lies in docs is linked as it is there, pages of the root by their names in the site, and
    other files in the repository. A link to nothing stays as it is, for the build to complain of.
    """

    def link(match: re.Match[str]) -> str:
        target = (source.parent / match[1]).resolve()
        anchor = match[2] or ""
        if not target.exists() or ROOT not in target.parents:
            return match[0]
        within = target.relative_to(ROOT).as_posix()
        if within in ROOT_PAGES:
            place = ROOT_PAGES[within]
        elif DOCS in target.parents and target.is_dir():
            if not (target / "README.md").exists():
                return f"{REPOSITORY}/{within}"
            place = f"{target.relative_to(DOCS).as_posix()}/README.md"
        elif DOCS in target.parents:
            place = target.relative_to(DOCS).as_posix()
        else:
            return f"{REPOSITORY}/{within}{anchor}"
        return os.path.relpath(place, os.path.dirname(page) or ".") + anchor

    return _LINK.sub(link, markdown)
