"""Add the pages that live outside `docs/` to the site, and point links at their place in it."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
EXTERNAL_PAGES = {
    "features/README.md": "store-format.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, target in EXTERNAL_PAGES.items():
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite relative links from repository paths to site paths."""
    site_path = page.file.src_uri
    source = next((s for s, t in EXTERNAL_PAGES.items() if t == site_path != "index.md"), f"docs/{site_path}")
    folder = PurePosixPath(source).parent

    def site_link(match: re.Match[str]) -> str:
        target = normpath(str(folder / match[1]))
        target = EXTERNAL_PAGES.get(target, target.removeprefix("docs/"))
        return f"]({relpath(target, PurePosixPath(site_path).parent)}{match[2] or ''})"

    return re.sub(r"\]\((?!\w+:)([^)#\s]+)(#[^)]*)?\)", site_link, markdown)
