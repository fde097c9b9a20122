"""The definitions on the pages load as they stand there, with what the pages leave out."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LEFT_OUT = "    owner='ada', description='Tested.', freshness=timedelta(hours=1),\n"
AIRPORTS = """
AIRPORT = Entity("airport", key="airport_id")
airports = TableSource(name="airports", key="airport_id", fields=(Field("airport_id", STRING), Field("country", STRING)))
"""
OF_WORDS = (
    "view = FeatureView(name='asked', source=words, entities=(Entity('word', key='word'),), "
    f"aggregations=(Count(name='n', over=('24h',)),),\n{LEFT_OUT})"
)


@pytest.mark.parametrize(
    ("page", "begins", "before", "after"),
    [
        ("add-a-feature", '"""/srv/features/owner_reach.py"""', "", ""),
        ("add-a-feature", "def facts_of", AIRPORTS, ""),
        ("streaming", "searches = EventSource", "", ""),
        ("derived-sources", "from tailrace import", "", OF_WORDS),
    ],
)
def test_what_a_page_defines_loads(folder, page, begins, before, after):
    (block,) = (one for one in BLOCK.findall((DOCS / f"{page}.md").read_text()) if one.startswith(begins))
    source = block.replace("    ...\n", LEFT_OUT)

    folder.write("of_the_page.py", f"{before}\n{source}\n{after}")

    assert [*folder.load().views] == [re.findall(r"FeatureView\(\s*name=[\"'](\w+)", source + after)[0]]
