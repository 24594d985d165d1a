"""Collects the pages of the documentation for mdBook, and checks the site that mdBook made of them.

    build_book.py collect SOURCE   copies every page of docs/SUMMARY.md to SOURCE, and every file that a page links
    build_book.py check SITE       fails if a link of the site leads nowhere

The pages lie in SOURCE as they lie in the repository, so their links stay right. Links to folders become plain text.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
SUMMARY = Path("docs/SUMMARY.md")
SETTINGS = Path("docs/reference/settings.md")
# A link or a picture of Markdown. A title behind the target is not used in this project.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def main() -> int:
    match sys.argv[1:]:
        case ["collect", source]:
            faults = collect(Path(source))
        case ["check", site]:
            faults = check(Path(site))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


def collect(source: Path) -> list[str]:
    """Returns what is wrong with the pages."""
    summary = (REPOSITORY / SUMMARY).read_text()
    pages = {target(SUMMARY, link) for _, _, link in LINK.findall(summary)}
    faults = [f"{path} is no page of {SUMMARY}" for path in sorted(all_pages() - pages)]
    for page in sorted(pages):
        text = settings_page() if page == SETTINGS else (REPOSITORY / page).read_text()
        write(source / page, with_links(page, text, pages, source, faults))
    at_root = LINK.sub(lambda link: f"[{link[2]}]({target(SUMMARY, link[3])})", summary)
    write(source / "SUMMARY.md", at_root)
    return faults


def all_pages() -> set[Path]:
    """The pages of docs/, so that none is forgotten."""
    return {path.relative_to(REPOSITORY) for path in (REPOSITORY / "docs").rglob("*.md")} - {SUMMARY}


def with_links(page: Path, text: str, pages: set[Path], source: Path, faults: list[str]) -> str:
    """The text of a page. Copies the files that it links."""

    def replaced(link: re.Match[str]) -> str:
        picture, label, to = link.groups()
        if urlsplit(to).scheme or to.startswith("#"):
            return link[0]
        path = target(page, to)
        if path in pages:
            # mdBook makes index.html of README.md, but leaves the links to it.
            return f"{picture}[{label}]({re.sub(r'README[.]md', 'index.md', to)})"
        if (REPOSITORY / path).is_dir():
            return label
        if not (REPOSITORY / path).is_file():
            faults.append(f"{page} links {to}, and there is no such file")
            return link[0]
        if path.suffix == ".md":
            faults.append(f"{page} links {path}, which is no page of {SUMMARY}")
        # mdBook leaves dotfiles and files without a suffix as they are; browsers show unknown types as downloads.
        copy = path if path.suffix in (".svg", ".png", ".json") else path.with_name(path.name + ".txt")
        (source / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, source / copy)
        return f"{picture}[{label}]({os.path.relpath(copy, page.parent)})"

    return outside_of_code(text, lambda prose: LINK.sub(replaced, prose))


def outside_of_code(text: str, change) -> str:
    """Changes the text, but not its fenced blocks."""
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(block if block.startswith("```") else change(block) for block in blocks)


def target(page: Path, link: str) -> Path:
    """The file that a link of a page names, from the root of the repository."""
    return Path(os.path.normpath(page.parent / unquote(urlsplit(link).path)))


def settings_page() -> str:
    """The page of settings, made of ratelimiterd.toml. A test holds that file to the settings of the program."""
    lines = (REPOSITORY / "ratelimiterd.toml").read_text().splitlines()
    page = (REPOSITORY / SETTINGS).read_text().rstrip() + "\n"
    section, comments = "", []
    for line in lines[lines.index("[server]") :]:
        if line.startswith("#"):
            comments.append(line.removeprefix("#").strip())
        elif header := re.fullmatch(r"\[(.*)\]", line):
            section = header[1]
            page += f"\n## `{section}`\n" + (f"\n{' '.join(comments)}\n" if comments else "")
            comments = []
        elif setting := re.fullmatch(r"(\w+) = (.*)", line):
            name = f"{section}.{setting[1]}"
            flag = "--" + name.replace(".", "-").replace("_", "-")
            variable = "RATELIMITERD_" + name.replace(".", "_").upper()
            page += f"\n### `{name}`\n\n{' '.join(comments)}\n\nDefault `{setting[2]}`, flag `{flag}`, variable `{variable}`.\n"
            comments = []
    return page


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name in ("id", "name") and value:
                self.anchors.add(value)


def check(site: Path) -> list[str]:
    """Returns the links that lead nowhere. Links to other sites are not followed."""
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    faults, links = [], 0
    for path, page in pages.items():
        # It stands for every missing page, so its links begin at the root of the server.
        if path == site / "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            links += 1
            to = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
            if not to.is_file():
                faults.append(f"{path.relative_to(site)}: {link} leads to no file")
            elif to in pages and unquote(parts.fragment) not in pages[to].anchors:
                faults.append(f"{path.relative_to(site)}: {link} leads to no heading")
    print(f"{len(pages)} pages, {links} links within the site", file=sys.stderr)
    return faults if pages else [f"there is no page in {site}"]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
