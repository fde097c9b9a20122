"""Pages of what the quality gate found, Great Expectations' own with nothing to fetch from elsewhere."""

import re
from copy import deepcopy
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tailrace.lake.atomic_file import put

# So many pages are kept of each table.
KEPT = 20

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1f2328 }
h1 { font-size: 1.4rem } h2, h5 { font-size: 1.05rem; margin: 1.5rem 0 .4rem }
table { border-collapse: collapse; margin: .4rem 0; width: 100% }
th, td { border: 1px solid #d0d7de; padding: .3rem .55rem; text-align: left; vertical-align: top; word-break: break-word }
th { background: #f6f8fa } code { background: #f6f8fa; padding: 0 .2rem }
.badge { border: 1px solid #d0d7de; border-radius: .3rem; padding: 0 .25rem }
.passed { color: #1a7f37 } .stopped { color: #cf222e; font-weight: 600 }
.fa-check-circle::before { content: "met"; color: #1a7f37; font-style: normal }
.fa-times::before { content: "missed"; color: #cf222e; font-style: normal; font-weight: 600 }
.fa-exclamation-triangle::before { content: "could not be worked out"; color: #cf222e; font-style: normal }
a[data-toggle] { display: none } a[href*="/expectations/"] { color: inherit; pointer-events: none; text-decoration: none }
"""
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="UTF-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"><title>{title}</title><style>{style}</style></head>
<body>{body}</body></html>
"""
# What needs a script or an image of theirs.
EXTERNAL = re.compile(r"<script\b.*?</script>|<(?:link|img)\b[^>]*>", re.DOTALL | re.IGNORECASE)


def write(folder: Path, table: str, result: Any) -> Path:
    """Write the page of one result and the index of all; returns the page."""
    now = datetime.now(UTC)
    verdict = "passed" if result.success else "stopped"
    name = f"{now:%Y%m%dT%H%M%S%f}Z-{verdict}.html"
    title = f"{table}, {now:%Y-%m-%d %H:%M:%S} UTC"
    head = f'<p><a href="../index.html">All tables</a></p><h1>{escape(title)}: <span class="{verdict}">{verdict}</span></h1>'
    page = folder / table / name
    put(page, PAGE.format(title=escape(title), style=STYLE, body=head + body_of(result)))
    for old in pages_of(page.parent)[KEPT:]:
        old.unlink(missing_ok=True)
    put(folder / "index.html", index(folder))
    return page


def body_of(result: Any) -> str:
    """The sections of Great Expectations' page, without what goes around them."""
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaSectionView

    shown = deepcopy(result)
    for one in shown.results:
        one.result, one.exception_info = to_show(one.result), to_show(one.exception_info)
    document = ValidationResultsPageRenderer().render(shown)
    view: Any = DefaultJinjaSectionView()
    parts = [
        view.render({"section": section.to_json_dict(), "section_loop": {"index": number}})
        for number, section in enumerate(document.sections, start=1)
    ]
    return EXTERNAL.sub("", "\n".join(parts))


def to_show(found: Any) -> Any:
    """A result with its values escaped, as anybody may have landed them, and numbers as Python's: pages take no others."""
    if isinstance(found, dict):
        return {name: to_show(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return type(found)(map(to_show, found))
    if isinstance(found, np.generic):
        return found.item()
    return escape(found) if isinstance(found, str) else found


def index(folder: Path) -> str:
    """The page that lists the pages of every table."""
    rows = [
        f"<tr><td>{escape(table.name)}</td><td>{link(pages[0])}</td><td>{', '.join(map(link, pages[1:]))}</td></tr>"
        for table in sorted(folder.iterdir())
        if table.is_dir() and (pages := pages_of(table))
    ]
    head = "<h1>Quality gates</h1><table><tr><th>table</th><th>newest</th><th>before</th></tr>"
    return PAGE.format(title="Quality gates", style=STYLE, body=f"{head}{''.join(rows)}</table>")


def link(page: Path) -> str:
    """A link to the page of one audit, by time and verdict."""
    time, _, verdict = page.stem.partition("-")
    moment = f"{time[:4]}-{time[4:6]}-{time[6:8]} {time[9:11]}:{time[11:13]}:{time[13:15]}"
    return f'<a class="{verdict}" href="{page.parent.name}/{page.name}">{moment} {verdict}</a>'


def pages_of(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("*.html"), reverse=True)
