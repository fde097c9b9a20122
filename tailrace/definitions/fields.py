"""What a source is declared with: where it is read from, its fields, and its time."""

import math
import re
from dataclasses import dataclass, field
from functools import cached_property
from zoneinfo import ZoneInfo

from tailrace.definitions.names import check_name, spelled
from tailrace.errors import DefinitionError
from tailrace.schemas import bronze
from tailrace.schemas.landing import MICROS_IN
from tailrace.schemas.tables import Column, Type

TYPES = (Type.STRING, Type.INT64, Type.FLOAT64, Type.BOOL, Type.TIMESTAMP, Type.DATE)
# Names of columns that stand next to those of a source while it is read and counted.
RESERVED_COLUMNS = {
    *(column.name for column in bronze.DELIVERY),
    *(
        "value",
        "problem",
        "reason",
        "path",
        "block",
        "position",
        "delivery",
        "now",
        "then",
        "gained",
        "out_file",
        "out_batch",
    ),
}
# A name in quotation marks holds anything but these and `?`, which ends a name for Spark.
PART = re.compile(r"""\.([A-Za-z_][A-Za-z0-9_-]*)|\['([^'?]+)'\]|\["([^"?]+)"\]|\[([0-9]{1,9})\]""")


@dataclass(frozen=True)
class Landing:
    """Files in the folder of the source's name below the landing folder: JSON lines or CSV, packed or not, or Parquet."""


@dataclass(frozen=True)
class Kafka:
    """Messages of a topic of the servers that TAILRACE_KAFKA names, each a JSON object.

    Without a name it is the topic of TAILRACE_KAFKA_TOPIC, and nothing where no server is set.
    """

    topic: str | None = None


@dataclass(frozen=True)
class Delta:
    """A Delta table that others maintain: its folder as an absolute path, or as a URI such as `s3a://lake/marts/products`.

    Its rows are those of the source, also where they go. It is read only, whatever writes it.
    """

    path: str

    @property
    def folder(self) -> str:
        """The path without a slash at its end."""
        return self.path.rstrip("/")

    def check(self, *, of: str) -> None:
        """Raise `DefinitionError` for a path that says something else in each folder that a command starts in."""
        given: object = self.path
        if not isinstance(given, str) or not self.folder or not ("://" in given or given.startswith(("/", "file:/"))):
            raise DefinitionError(
                f"{of}, field 'read_from': Delta({given!r}) is neither an absolute path nor a URI; write "
                "Delta('/lake/marts/products'), or Delta('s3a://lake/marts/products')"
            )


@dataclass(frozen=True)
class Field:
    """One column of a source, and where a line has its value: under its own name, or at `path`, such as `$.request.q`.

    The third argument is its description. A line without a `required` field goes to quarantine, as one does whose value
    breaks a rule. `id` says that the field holds an id: no control characters, and at most 1,000 bytes (ids and keys of
    sources, and keys of views, are ids without it). `json` says that it holds an object, which is kept as text, `pattern`
    what a text has to match as a whole, and `minimum` and `maximum` bound a number.
    """

    name: str
    type: Type
    description: str = ""
    path: str | None = field(default=None, kw_only=True)
    required: bool = field(default=False, kw_only=True)
    id: bool = field(default=False, kw_only=True)
    json: bool = field(default=False, kw_only=True)
    pattern: str | None = field(default=None, kw_only=True)
    minimum: float | None = field(default=None, kw_only=True)
    maximum: float | None = field(default=None, kw_only=True)

    @cached_property
    def parts(self) -> tuple[str | int, ...]:
        """Its path from the outside in; raises `DefinitionError` for one that cannot be read."""
        return parts_of_path(self.path or f"$.{self.name}")

    def column(self, *, required: bool) -> Column:
        """The column of bronze and silver."""
        return Column(
            self.name,
            self.type,
            self.description,
            nullable=not required,
            minimum=self.minimum,
            maximum=self.maximum,
        )

    def check(self, *, of: str) -> None:
        """Raise `DefinitionError` for a field that cannot be read, `of` saying whose it is."""
        here = f"{of}, field {self.name!r}"
        check_name(self.name, of=here)
        if self.name in RESERVED_COLUMNS or self.name.startswith(("weight_", "within_")):
            raise DefinitionError(
                f"{here}: Tailrace has a column of that name itself; name it otherwise, with path='$.{self.name}'"
            )
        if self.type not in TYPES:
            raise DefinitionError(f"{here}: a source has no {spelled(self.type)}; take one of {spelled(*TYPES)}")
        if (self.json or self.id or self.pattern) and self.type is not Type.STRING:
            raise DefinitionError(f"{here}: json, id and pattern go with STRING")
        self.check_bounds(here)
        try:
            first, _ = self.parts[0], re.compile(self.pattern or "")
        except (DefinitionError, re.error) as error:
            raise DefinitionError(f"{here}: {error}") from error
        if not isinstance(first, str):
            raise DefinitionError(f"{here}: {self.path!r} begins with a number, and a line is an object")

    def check_bounds(self, here: str) -> None:
        """Raise `DefinitionError` for bounds that no value can lie between."""
        bounds = [one for one in (self.minimum, self.maximum) if one is not None]
        if bounds and self.type not in {Type.INT64, Type.FLOAT64}:
            raise DefinitionError(f"{here}: minimum and maximum go with INT64 and FLOAT64")
        if not all(math.isfinite(one) for one in bounds) or bounds != sorted(bounds):
            raise DefinitionError(f"{here}: there is nothing between {self.minimum} and {self.maximum}")
        if self.type is Type.INT64 and not all(-(2**63) <= one < 2**63 for one in bounds):
            raise DefinitionError(f"{here}: an INT64 has 64 bits; leave out a bound beyond them")


def parts_of_path(path: str) -> tuple[str | int, ...]:
    """A path such as `$.request['user id']` from the outside in; raises `DefinitionError`."""
    parts, at = list[str | int](), 1
    while path.startswith("$") and at < len(path) and (found := PART.match(path, at)):
        *names, number = found.groups()
        parts.append(int(number) if number is not None else next(filter(None, names)))
        at = found.end()
    if not parts or at < len(path):
        raise DefinitionError(f"{path!r} is not a path; write it as $.name, $.outer.inner or $['any name']")
    return tuple(parts)


@dataclass(frozen=True)
class Time:
    """The column that says when an event happened: a text such as 2026-03-02T10:15:00Z, or a number since 1970.

    `unit` is that of a number: s, ms, us or ns. `zone` is that of texts which name none, such as Europe/Berlin.
    """

    name: str
    unit: str | None = None
    zone: str | None = None
    path: str | None = field(default=None, kw_only=True)
    description: str = field(default="when it happened", kw_only=True)

    def check(self, *, of: str) -> None:
        """Raise `DefinitionError` for a unit or a zone that is not known."""
        here = f"{of}, field 'time'"
        if self.unit is not None and self.unit not in MICROS_IN:
            raise DefinitionError(f"{here}: {self.unit!r} is not a unit; take one of {', '.join(MICROS_IN)}")
        if self.zone is None:
            return
        if self.unit is not None:
            raise DefinitionError(f"{here}: a number since 1970 has no zone; leave 'zone' or 'unit' out")
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise DefinitionError(f"{here}: {self.zone!r} is not a zone; write it as Europe/Berlin") from error
