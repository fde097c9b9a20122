"""Silver of all sources: merged, followed and derived, each source by itself."""

from dataclasses import dataclass
from datetime import UTC, datetime

from jobs.blocked import BRONZE, SILVER, Blocked, BlockedSource, blocked_in, left_behind, note_left_behind
from jobs.silver import derive, follow, merge
from jobs.silver.derive import Derived
from jobs.silver.follow import Followed
from jobs.silver.merge import Withdrawn
from tailrace.definitions.derived_source import origins
from tailrace.workspace.resources import Resources


@dataclass(frozen=True, kw_only=True)
class Silver:
    """What became of silver: what it gave back of excluded files and of each derived source, by table; what was read of
    tables of others, by source; and the sources that were refused.
    """

    withdrawn: dict[str, Withdrawn]
    tables: dict[str, Followed]
    derived: dict[str, Derived]
    blocked: dict[str, BlockedSource]


def run_silver(workspace: Resources) -> Silver:
    """Bring silver up to date, derived sources at the end; a source that is blocked stands still."""
    lake, definitions = workspace.lake, workspace.definitions
    blocked = Blocked(before=left_behind(lake, BRONZE))
    withdrawn, tables, now = dict[str, Withdrawn](), dict[str, Followed](), datetime.now(UTC)
    for feed in definitions.feeds:
        if feed.silver and feed.name not in blocked:
            with blocked.isolated(feed.name):
                withdrawn[feed.silver.full_name] = merge.merge_unread(lake, feed)
    for one in definitions.table_feeds:
        with blocked.isolated(one.feed.name):
            tables[one.feed.name] = follow.bring(lake, one, now=now)
    derived = derive.run(lake, definitions, blocked)
    stand_still = {one.name: one for one in definitions.sources_and_derived if origins(one) & blocked.sources}
    for source in stand_still.values():
        if not lake.exists(source.silver_table):  # for the views of other sources, which pin all of silver
            lake.create(source.silver_table)
    note_left_behind(lake, SILVER, stand_still.keys() - blocked.before)
    return Silver(
        withdrawn={name: back for name, back in withdrawn.items() if back != Withdrawn()},
        tables=tables,
        derived=derived,
        blocked=blocked_in(SILVER, blocked.reasons),
    )
