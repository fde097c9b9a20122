"""The documentation: reference pages follow the code, and every link inside the repository leads somewhere."""

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
DOCS = CHECKOUT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *CHECKOUT.glob("*.md")])


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_as_the_code_makes_them():
    made = generator().pages()

    stale = [name for name, text in made.items() if (DOCS / "reference" / name).read_text(encoding="utf-8") != text]

    assert not stale, f"run .venv/bin/python docs/generate.py, and commit {', '.join(stale)}"
    assert {path.name for path in (DOCS / "reference").glob("*.md")} == set(made)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page):
    broken = [link for link in links(page) if not resolves(link, page=page)]

    assert not broken


def test_the_site_lists_every_page():
    listed = set(re.findall(r"[\w/-]+\.md", (CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8")))
    decisions = {f"adr/{page.name}" for page in (DOCS / "adr").glob("0*.md")}

    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - decisions


def test_the_list_of_decisions_has_each_by_its_title():
    titles = {page.name: page.read_text(encoding="utf-8").partition("\n")[0] for page in (DOCS / "adr").glob("0*.md")}
    listed = re.findall(r"- \[(.+)\]\((.+\.md)\)", (DOCS / "adr" / "index.md").read_text(encoding="utf-8"))

    assert [(name, f"# {title}") for title, name in listed] == sorted(titles.items())


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in link:
            yield link


def resolves(link: str, *, page: Path) -> bool:
    path, _, heading = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not heading or heading in headings(target)


@cache
def headings(page: Path) -> frozenset[str]:
    """The anchors of a page, as GitHub and mkdocs make them from its headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles)
