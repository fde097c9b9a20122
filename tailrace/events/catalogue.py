"""The invented workspace's documents: whose they are, where they lie, what they are called."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tailrace.events.draws import Draws, Floats, Ints, to_texts, zipf

TEAMS = (
    *("plans", "design", "search", "mobile", "finance", "people", "legal", "sales", "support", "brand"),
    *("data", "infrastructure", "security", "research", "education", "partners"),
)
TOPICS = (
    *("roadmap", "reviews", "budget", "launch", "notes", "hiring", "metrics", "customers", "archive", "drafts"),
    *("handbook", "interviews", "experiments", "incidents", "contracts", "travel", "templates", "2025", "2026"),
    *("Übersicht", "équipe", "資料"),
)
SUBJECTS = (
    *("Quarterly", "Weekly", "Onboarding", "Pricing", "Ranking", "Billing", "Customer", "Platform", "Hiring", "Brand"),
    *("Migration", "Zürich", "São Paulo", "Élan", "東京", "Проект", "Ångström", "Release", "Partner", "Travel"),
)
KINDS = (
    "review",
    "plan",
    "notes",
    "summary",
    "draft",
    "proposal",
    "report",
    "checklist",
    "Überblick",
    "résumé",
    "計画",
)
# name, share of the documents in percent, smallest size as a power of two, where such documents come from
TYPES = (
    *(("doc", 38, 12, "office"), ("sheet", 20, 13, "office"), ("slides", 12, 17, "office")),
    *(("pdf", 14, 15, "drive"), ("image", 6, 16, "drive"), ("note", 10, 8, "notes")),
)
ACTORS_PER_TEAM = 8
DOCUMENTS_PER_FOLDER = 10
FOLDERS_PER_TEAM = 60
FOLDERS_PER_FOLDER = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue:
    """Documents in the order of their folders, so a team's and a folder's documents stand side by side.

    `team_of_actor` and `activity` have a value per actor, the rest one per document. `place` numbers the
    folders of all teams. `owner` is the position of an actor.
    """

    team_of_actor: Ints
    activity: Floats
    place: Ints
    owner: Ints
    popularity: Floats
    type: Ints
    size: Ints
    titles: list[str]
    at_root: list[bool]

    @property
    def actor_ids(self) -> list[str]:
        """The ids of the actors."""
        return [f"u{number:05d}" for number in range(len(self.activity))]

    @property
    def document_ids(self) -> list[str]:
        """The ids of the documents."""
        return [f"d{number:07d}" for number in range(len(self.place))]

    @property
    def sources(self) -> list[str]:
        """Where each document's events come from."""
        return [TYPES[number][3] for number in self.type.tolist()]

    def rows(self, *, updated: Ints) -> list[dict[str, Any]]:
        """The documents as they land; `updated` has the time of each one's last change in microseconds."""
        actor_ids = self.actor_ids
        paths = {place: folder_path(*divmod(place, FOLDERS_PER_TEAM)) for place in np.unique(self.place).tolist()}
        columns = (
            self.document_ids,
            self.titles,
            [TYPES[number][0] for number in self.type.tolist()],
            self.size.tolist(),
            ["/" if root else paths[place] for root, place in zip(self.at_root, self.place.tolist(), strict=True)],
            [actor_ids[number] for number in self.owner.tolist()],
            to_texts(updated),
        )
        names = ("id", "title", "type", "size", "folder", "owner", "updated_at")
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def invent_catalogue(documents: int, *, actors: int, key: tuple[int, ...]) -> Catalogue:
    """Spread documents over teams and folders, and give each an owner of its team."""
    draws = Draws("catalogue", *key)
    teams = max(1, min(len(TEAMS), actors // ACTORS_PER_TEAM))
    folders = max(1, min(FOLDERS_PER_TEAM, documents // teams // DOCUMENTS_PER_FOLDER))
    team = draws.pick(zipf(np.arange(teams), head=3), documents)
    place = np.sort(team * FOLDERS_PER_TEAM + draws.pick(zipf(np.arange(folders), head=5), documents))
    team = place // FOLDERS_PER_TEAM
    members = (actors - team + teams - 1) // teams  # actor i belongs to team i % teams
    types = draws.pick(np.array([share for _, share, _, _ in TYPES]), documents)
    exponent = np.array([smallest for _, _, smallest, _ in TYPES])[types] + draws.below(8, documents)
    least = np.left_shift(np.int64(1), exponent)
    return Catalogue(
        team_of_actor=np.arange(actors) % teams,
        activity=zipf(draws.order(actors), head=10),
        place=place,
        owner=team + teams * draws.below(members, documents),
        popularity=zipf(draws.order(documents), head=2),
        type=types,
        size=least + draws.below(least, documents),
        titles=_titles(draws, documents),
        at_root=draws.chance(0.01, documents).tolist(),
    )


def folder_path(team: int, folder: int) -> str:
    """The path of a team's folder: folder 0 is the team's own, each holds up to four others."""
    if folder == 0:
        return f"/{TEAMS[team]}"
    above = folder_path(team, (folder - 1) // FOLDERS_PER_FOLDER)
    return f"{above}/{TOPICS[(folder + 7 * team) % len(TOPICS)]}"


def _titles(draws: Draws, count: int) -> list[str]:
    subjects, kinds = draws.below(len(SUBJECTS), count).tolist(), draws.below(len(KINDS), count).tolist()
    numbers = draws.below(60, count).tolist()
    return [
        f"{SUBJECTS[subject]} {KINDS[kind]} {number}"
        for subject, kind, number in zip(subjects, kinds, numbers, strict=True)
    ]
