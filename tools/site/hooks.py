"""What MkDocs calls while it builds the site: pages that are made, links, figures, Markdown beside.

Nothing that is made here is kept in the repository. Run as ``python -m mkdocs build``.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from tools.site import api, links, methods, pictures

#: The site's papers, in the order of the README.
PAPERS = {
    "second-order-attack-and-certifiable-robustness": "Second-order attack (SO)",
    "certified-robustness-additive-gaussian-noise": "Additive Gaussian noise (STN)",
    "malade-langevin-dynamics": "Langevin dynamics (MALADE)",
    "ensemble-adversarial-training": "Ensemble adversarial training (EAT)",
    "deep-defense": "Deep Defense (DD)",
}

_GROUND = re.compile(r'style="fill: #(?:fdfdfc|ffffff)"')
_DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{(?:[^{}]*\{[^{}]*\})*\s*\}")

_pages: dict[str, str] = {}  # what each page says in the end, by its place


def on_config(config: Any) -> Any:
    """What holds an entry for each file, or for each thing that is made, in the navigation."""
    for section in config.nav:
        (title, entries), *_ = section.items()
        if title == "Methods":
            entries += [_of_kind(kind) for kind in methods.KINDS]
        elif title == "Tutorials":
            entries += _tutorials()
        elif title == "Guides":
            entries += _unnamed(config.nav)
        elif title == "Results":
            entries += _results()
        elif title == "Reference":
            entries[-1]["API"] = [{f"holdfast.{room}": f"api/{room}.md"} for room in api.rooms()]
    return config


def _of_kind(kind: str) -> dict[str, Any]:
    names = [{each.name: each.path} for each in methods.methods() if each.kind == kind]
    return {methods.KINDS[kind].title: [f"methods/{kind}/index.md", *names]}


def _tutorials() -> list[str]:
    """In the order of their numbers, which do not show."""
    return [f"tutorials/{path.name}" for path in sorted((links.DOCS / "tutorials").glob("*.md"))]


def _unnamed(nav: list[Any]) -> list[str]:
    """Pages that the navigation does not name, by their titles: a new one is found by itself."""
    pages = sorted(path.name for path in links.DOCS.glob("*.md"))
    return [page for page in pages if f"'{page}'" not in repr(nav)]


def _results() -> list[Any]:
    """The overview, the pages about everything, then each paper's."""
    here = links.DOCS / "results"
    top = [f"results/{path.name}" for path in sorted(here.glob("*.md")) if path.stem != "README"]
    papers = [
        {title: [f"results/{name}/{path.name}" for path in sorted((here / name).glob("*.md"))]}
        for name, title in PAPERS.items()
    ]
    return ["results/README.md", *top, *papers]


def on_files(files: Files, config: Any) -> Files:
    """Pages of the root, of every method with its picture, and of the reference."""
    made = dict[str, str | bytes]()
    for name, place in links.ROOT_PAGES.items():
        made[place] = (links.ROOT / name).read_text()
    for method in methods.methods():
        picture, drawn = Path(method.path).with_suffix(".svg"), pictures.draw(method)
        if drawn is None:
            raise PluginError(f"No picture of {method.name}: draw it in tools/site/.")
        made |= {picture.as_posix(): drawn, method.path: methods.page(method, picture.name)}
    for kind in methods.KINDS:
        made[f"methods/{kind}/index.md"] = methods.overview(kind)
    for room in api.rooms():
        made[f"api/{room}.md"] = api.page(room)
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links as the site has them; what a page says is remembered for the copies."""
    place = page.file.src_uri
    source = next(
        (links.ROOT / name for name, to in links.ROOT_PAGES.items() if to == place),
        links.DOCS / place,
    )
    if source.exists():
        markdown = links.rewritten(markdown, source, place)
    _pages[place] = api.as_text(markdown) if place.startswith("api/") else markdown
    return markdown


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Figures say how they are drawn, and each page links to its Markdown."""

    def drawn(match: re.Match[str]) -> str:
        image = _image(page, match[1], files)
        return f'src="{match[1]}{"#ground" if image and b"<image" in image else "#ink"}"'

    html = re.sub(r'src="([^"#:]+\.svg)"', drawn, html)
    name = Path(page.file.dest_uri).with_suffix(".md").name
    return f'{html}<p class="as-markdown"><a href="{name}">This page as Markdown</a></p>'


def _image(page: Any, src: str, files: Files) -> bytes | None:
    folder = Path(page.file.dest_uri).parent
    parts: list[str] = []
    for part in (folder / src).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    file = files.get_file_from_path("/".join(parts))
    return None if file is None else file.content_bytes


def on_post_build(config: Any) -> None:
    """Markdown beside every page, an index of it, and figures without a ground."""
    site = Path(config.site_dir)
    for figure in site.rglob("*.svg"):
        text = figure.read_text()
        if "<image" not in text:
            figure.write_text(transparent(text))
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for place in sorted(_pages):
        beside = re.sub(r"(^|/)README\.md$", r"\1index.md", place)
        (site / beside).write_text(_pages[place])
        title = re.search(r"^# (.*)$", _pages[place], re.MULTILINE)
        lines.append(f"- [{title[1] if title else place}]({beside})")
    (site / "llms.txt").write_text("\n".join(lines) + "\n")


def transparent(svg: str) -> str:
    """A figure without its ground; by day always, since the page turns it over in the dark."""
    svg = _DARK.sub("", _GROUND.sub('style="fill: none"', svg))
    return re.sub(r"\.ground \{[^}]*\}", ".ground { fill: none; }", svg)
