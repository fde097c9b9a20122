"""Checks on definitions, made when they are loaded, so that a mistake is found before any job runs."""

import inspect
from collections.abc import Iterable, Mapping

import sqlglot
import sqlglot.errors
import sqlglot.expressions
from sqlglot import TokenType

from tailrace.definitions.aggregations.aggregation import check_aggregation
from tailrace.definitions.lane import BATCH, DIRECT, LANES, STREAM
from tailrace.definitions.on_demand import OnDemandFeature
from tailrace.definitions.problem import DefinitionError, check_name
from tailrace.definitions.recent import ring_of
from tailrace.definitions.service import FeatureService
from tailrace.definitions.view import FeatureView
from tailrace.schemas import history, silver

# Functions of Spark whose answer does not follow from what they are given.
CHANGING = frozenset(
    [
        "curdate",
        "current_date",
        "current_time",
        "current_timestamp",
        "current_user",
        "input_file_name",
        "localtimestamp",
        "monotonically_increasing_id",
        "now",
        "rand",
        "randn",
        "random",
        "randstr",
        "session_user",
        "shuffle",
        "spark_partition_id",
        "uniform",
        "unix_timestamp",
        "user",
        "uuid",
    ]
)
# Names that Tailrace keeps for itself, and what has them.
RESERVED = {"pk": "the key of the online store's items", history.SCHEMAS.name: f"the table {history.SCHEMAS.full_name}"}


def check_view(view: FeatureView, views: Mapping[str, FeatureView]) -> None:
    here = f"view {view.name!r}"
    check_name(view.name, of=f"{here}, field 'name'")
    if view.name in RESERVED:
        raise DefinitionError(f"{here}, field 'name': {RESERVED[view.name]} has that name; choose another")
    if view.lane not in LANES:
        raise DefinitionError(f"{here}, field 'lane': {view.lane!r} is not a lane; there are {', '.join(LANES)}")
    if not view.owner:
        raise DefinitionError(f"{here}, field 'owner': say who answers for this view")
    if view.freshness.total_seconds() <= 0:
        raise DefinitionError(f"{here}, field 'freshness': must be above zero")
    if view.max_age is not None and view.max_age < view.freshness:
        raise DefinitionError(f"{here}, field 'max_age': must not be below 'freshness', {view.freshness}")
    check_source(view)
    check_keys(view)
    for line in view.aggregations:
        check_aggregation(line, view, views)
    check_feature_names(view)
    check_inputs(view)
    check_changed_keys(view)
    check_online_when(view)
    check_expectations(view)


def check_source(view: FeatureView) -> None:
    """A view of the lane batch says how it is computed, one of the lane direct only what is written."""
    here = f"view {view.name!r}"
    if view.lane == DIRECT:
        computed = ("aggregations", "transform", "transform_features", "changed_keys", "online_when", "expectations")
        given = [name for name in computed if getattr(view, name) not in {None, ()}]
        if given:
            raise DefinitionError(f"{here}, field {given[0]!r}: values of the lane {DIRECT} are written, not computed")
        if not view.written_features:
            raise DefinitionError(f"{here}, field 'written_features': say what is written")
        return
    if view.lane == STREAM:
        check_stream(view)
    if view.written_features:
        raise DefinitionError(f"{here}, field 'written_features': goes with lane={DIRECT!r}")
    if (view.transform is None) == (not view.aggregations) or (view.transform is None) != (not view.transform_features):
        raise DefinitionError(f"{here}: give either 'aggregations', or 'transform' with 'transform_features'")


def check_stream(view: FeatureView) -> None:
    """A view of the lane stream declares aggregations that a stream keeps, over windows that have buckets."""
    here = f"view {view.name!r}"
    unfit = ("transform", "transform_features", "changed_keys", "online_when", "expectations")
    given = [name for name in unfit if getattr(view, name) not in {None, ()}]
    if given:
        raise DefinitionError(f"{here}, field {given[0]!r}: does not go with lane={STREAM!r}")
    for line in view.aggregations:
        if line.stream is None:
            kind = type(line).__name__
            raise DefinitionError(
                f"{here}, feature {line.name!r}: the lane {STREAM} cannot keep {kind}, which lacks the part 'stream'; "
                "Count, Distinct and Last have it"
            )
        for window in line.stream.windows:
            try:
                ring_of(0, line.name, window)
            except DefinitionError as error:
                raise DefinitionError(f"{here}, {error}") from error


def check_keys(view: FeatureView) -> None:
    here = f"view {view.name!r}, field 'entities'"
    if not view.entities:
        raise DefinitionError(f"{here}: a view describes at least one entity")
    if len(set(view.keys)) < len(view.keys):
        raise DefinitionError(f"{here}: {', '.join(view.keys)} names a key twice")
    for entity in view.entities if view.aggregations else ():
        if entity.key not in silver.INTERACTIONS.columns:
            known = ", ".join(silver.INTERACTIONS.columns)
            raise DefinitionError(
                f"{here}: key {entity.key!r} is not a column of {silver.INTERACTIONS.full_name}: {known}"
            )


def check_feature_names(view: FeatureView) -> None:
    seen = set(view.keys)
    for feature in view.features:
        if feature.type.info.packed is None:
            raise DefinitionError(
                f"view {view.name!r}, feature {feature.name!r}: {feature.type.info.instead}, not as {feature.type}"
            )
        if not (view.lane == STREAM and feature.name.startswith("_")):
            check_name(feature.name, of=f"view {view.name!r}, feature {feature.name!r}")
        if feature.name in seen:
            raise DefinitionError(f"view {view.name!r}, feature {feature.name!r}: that name is taken in this view")
        seen.add(feature.name)


def check_inputs(view: FeatureView) -> None:
    known = [table.name for table in silver.TABLES]
    for name in view.inputs:
        if name not in known and view.lane == BATCH:
            raise DefinitionError(
                f"view {view.name!r}, field 'transform': it takes {name!r}, which is not a silver table; "
                f"there are {', '.join(known)}, and as_of"
            )


def check_changed_keys(view: FeatureView) -> None:
    if view.changed_keys is None:
        return
    here = f"view {view.name!r}, field 'changed_keys'"
    if view.transform is None:
        raise DefinitionError(f"{here}: goes with a transform; aggregations find their changed keys themselves")
    if view.wants_as_of:
        raise DefinitionError(f"{here}: the transform takes as_of, so that rows change with time alone; leave it out")
    if set(inspect.signature(view.changed_keys).parameters) != set(view.inputs):
        raise DefinitionError(f"{here}: must take what the transform takes: {', '.join(view.inputs)}")


def check_online_when(view: FeatureView) -> None:
    if view.online_when is None:
        return
    here = f"view {view.name!r}, field 'online_when'"
    check_condition(
        view.online_when, known=view.feature_names, here=here, why="so that a push knows what it wrote before"
    )


def check_expectations(view: FeatureView) -> None:
    here = f"view {view.name!r}, field 'expectations'"
    known = (*view.keys, *view.feature_names)
    for expectation in view.expectations:
        if isinstance(expectation, str):
            check_condition(expectation, known=known, here=here, why="so that a run that is repeated comes to the same")
            continue
        column = expectation.arguments.get("column")
        if column is not None and column not in known:
            raise DefinitionError(f"{here}: {column!r} is neither a key nor a feature of this view")


def check_condition(condition: str, *, known: Iterable[str], here: str, why: str) -> None:
    try:
        [parsed] = sqlglot.parse(condition, dialect="spark")
    except (sqlglot.errors.SqlglotError, ValueError) as error:
        raise DefinitionError(f"{here}: {condition!r} is not a SQL condition") from error
    if parsed is None:
        raise DefinitionError(f"{here}: {condition!r} is not a SQL condition")
    for word in sqlglot.tokenize(condition, dialect="spark"):
        if word.token_type is not TokenType.STRING and word.text.lower() in CHANGING:
            raise DefinitionError(
                f"{here}: {word.text!r} gives another answer each time; a row is judged by its features alone, {why}"
            )
    for column in parsed.find_all(sqlglot.expressions.Column):
        if column.sql() not in known:
            raise DefinitionError(f"{here}: {column.sql()!r} is not a feature of this view")


def check_on_demand(feature: OnDemandFeature, views: Mapping[str, FeatureView]) -> None:
    here = f"on-demand feature {feature.name!r}, field 'inputs'"
    if feature.name in views:
        raise DefinitionError(f"on-demand feature {feature.name!r}: a view has that name; choose another")
    if not feature.inputs:
        raise DefinitionError(f"{here}: name at least one feature as view:feature")
    for reference in feature.inputs:
        check_reference(reference, views, here=here)


def check_service(
    service: FeatureService, views: Mapping[str, FeatureView], on_demand: Mapping[str, OnDemandFeature]
) -> None:
    here = f"service {service.name!r}, field 'features'"
    check_name(service.name, of=f"service {service.name!r}, field 'name'")
    if not service.features:
        raise DefinitionError(f"{here}: name at least one view or feature")
    for reference in service.features:
        if reference not in on_demand and reference not in views:
            check_reference(reference, views, here=here)


def check_reference(reference: str, views: Mapping[str, FeatureView], *, here: str) -> None:
    view, _, name = reference.partition(":")
    if view not in views:
        raise DefinitionError(f"{here}: {reference!r} names no view; there are {', '.join(sorted(views))}")
    if name not in views[view].feature_names:
        raise DefinitionError(f"{here}: view {view!r} has no feature {name!r}")
