"""What a load brought, as reports print it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.blocked import Reasons


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What a load brought: files, valid rows per feed, and lines or files refused.

    `waiting` counts the messages that it left in topics because they are behind a transaction that is open. `unread` are the
    folders in the landing folder that no source reads. `extra` are fields of usable lines that no field of their feed names,
    by feed, each with its lines. `blocked` has the feeds that are refused, each with the reason; their new data waits.
    """

    files: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    quarantined: int = 0
    waiting: int = 0
    unread: tuple[str, ...] = field(default=(), compare=False)
    extra: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    blocked: Reasons = field(default_factory=dict)

    def __add__(self, other: "Loaded") -> "Loaded":
        names = dict.fromkeys((*self.rows, *other.rows))
        return Loaded(
            files=self.files + other.files,
            rows={name: self.rows.get(name, 0) + other.rows.get(name, 0) for name in names},
            quarantined=self.quarantined + other.quarantined,
            waiting=other.waiting,  # the later load left what the earlier one did
            unread=other.unread,
            blocked={**self.blocked, **other.blocked},
            extra={
                **self.extra,
                **{feed: added(self.extra.get(feed, {}), names) for feed, names in other.extra.items()},
            },
        )

    def json(self) -> dict[str, Any]:
        """The figures as reports print them, with the rows of each feed; what is extra or unread only where there is any."""
        shown: dict[str, Any] = {
            "files": self.files,
            **self.rows,
            "quarantined": self.quarantined,
            "waiting": self.waiting,
        }
        if self.unread:
            shown["unread_folders"] = list(self.unread)
        if self.extra:
            shown["extra_fields"] = {feed: dict(names) for feed, names in self.extra.items()}
        return shown


def added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The sums of counts by name."""
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}
