"""Mistakes in definitions, each found when they are loaded and told with the view and the field."""

import pytest

from tailrace.definitions import DefinitionError, Distinct

PEOPLE = "Count(name='people', over=('7d',))"


SCORE = "(Feature('score', Type.FLOAT64, 'from a model'),)"
WRITTEN = {"lane": "'direct'", "aggregations": "()", "written_features": SCORE}


def refusal_of(folder):
    with pytest.raises(DefinitionError) as refusal:
        folder.load()
    return str(refusal.value)


def test_the_base_view_is_accepted(folder):
    folder.write_view()

    assert folder.load().view("visits").lane == "batch"


def test_a_view_may_say_only_what_is_written(folder):
    folder.write_view(**WRITTEN, entities="(Entity('team', 'team_id', 'a team'),)")
    definitions = folder.load()

    view = definitions.view("visits")
    assert (view.feature_names, view.inputs, view.base_views) == (("score",), (), ())
    assert definitions.batch_views == {}


def test_a_refusal_names_the_file(folder):
    folder.write_view(lane="'fast'")

    assert str(folder.path / "visits.py") in refusal_of(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "'Visits'"}, "view 'Visits', field 'name': 'Visits' is not a valid name"),
        ({"name": "'visits-x'"}, "field 'name': 'visits-x' is not a valid name"),
        ({"name": "''"}, "field 'name': '' is not a valid name"),
        ({"name": "'v' * 64"}, "is not a valid name; write a lower-case letter, then at most 62 of a-z, 0-9 and _"),
        ({"name": "'visits\\n'"}, "is not a valid name"),
        ({"lane": "'hourly'"}, "view 'visits', field 'lane': 'hourly' is not a lane; there are batch"),
        ({"lane": "'direct'"}, "view 'visits', field 'aggregations': values of the lane direct are written, not"),
        ({"lane": "'direct'", "aggregations": "()"}, "view 'visits', field 'written_features': say what is written"),
        ({"written_features": SCORE}, "view 'visits', field 'written_features': goes with lane='direct'"),
        ({**WRITTEN, "online_when": "'score > 0'"}, "field 'online_when': values of the lane direct are written"),
        ({**WRITTEN, "online_when": "''"}, "field 'online_when': values of the lane direct are written"),
        ({**WRITTEN, "entities": "()"}, "view 'visits', field 'entities': a view describes at least one entity"),
        ({"owner": "''"}, "view 'visits', field 'owner'"),
        ({"freshness": "'1h'"}, "view 'visits', field 'freshness': give a timedelta, such as timedelta(hours=1)"),
        ({"max_age": "3600"}, "view 'visits', field 'max_age': give a timedelta"),
        ({"name": "7"}, "visits.py: view 7: TypeError: "),
        ({"where": "7"}, "visits.py: view 'visits': "),
        ({"online_when": "7"}, "visits.py: view 'visits': "),
        ({"freshness": "timedelta(0)"}, "view 'visits', field 'freshness': must be above zero"),
        ({"max_age": "timedelta(minutes=6)"}, "field 'max_age': must not be below 'freshness', 0:07:00"),
        ({"entities": "()"}, "view 'visits', field 'entities': a view describes at least one entity"),
        (
            {"entities": "(DOCUMENT, DOCUMENT)"},
            "document_id, document_id names a key twice; declare an entity for each",
        ),
        ({"entities": "(DOCUMENT)"}, "view 'visits', field 'entities': give a tuple, also of one, as in (DOCUMENT,)"),
        ({"aggregations": "(Last(name='seen_at'))"}, "view 'visits', field 'aggregations': give a tuple"),
        ({"transform_features": "Feature('a', INT64, 'a')"}, "view 'visits', field 'transform_features': give a tuple"),
        ({"written_features": "Feature('a', INT64, 'a')"}, "view 'visits', field 'written_features': give a tuple"),
        ({"expectations": "('views_3h > 0')"}, "view 'visits', field 'expectations': give a tuple"),
        ({"source": "'events'"}, "view 'visits', field 'source': give an EventSource or a DerivedSource, not 'events'"),
        (
            {"source": "TableSource(name='goods', key='id', fields=(Field('id', STRING),))"},
            "view 'visits', field 'source': 'goods' is a TableSource, whose rows are not events",
        ),
        (
            {"aggregations": "(Count(name='n', over='24h'),)"},
            "feature 'n', field 'over': give a tuple, also of one, as in ('24h'",
        ),
        (
            {"aggregations": "(Last(name='n', types='open'),)"},
            "view 'visits', feature 'n', field 'types': give a tuple",
        ),
        (
            {"entities": "(Entity('team', 'team_id', 'a team'),)"},
            "view 'visits', field 'entities': key 'team_id' is not a field of the source 'events': event_id, ",
        ),
        ({"aggregations": "()"}, "view 'visits': give either 'aggregations', or 'transform'"),
        ({"transform": "lambda documents: documents"}, "view 'visits': give either 'aggregations', or 'transform'"),
        ({"transform_features": "(Feature('a', Type.INT64, 'a'),)"}, "view 'visits': give either 'aggregations'"),
        ({"aggregations": "(Count(name='Views', over=('3h',)),)"}, "view 'visits', feature 'Views', field 'name'"),
        ({"aggregations": "(Count(name='views'),)"}, "feature 'views', field 'over': name at least one window"),
        ({"aggregations": "(Count(name='v', over=('3h', '3h')),)"}, "feature 'v', field 'over': names a window twice"),
        (
            {"aggregations": "(Last(name='seen_at'), First(name='seen_at'))"},
            "feature 'seen_at': another feature or key",
        ),
        ({"aggregations": "(Last(name='document_id'),)"}, "feature 'document_id': another feature or key"),
        ({"aggregations": "(Count(name='v' * 60, over=('total',)),)"}, "_total' is not a valid name"),
        ({"online_when": "'view_3h > 0'"}, "view 'visits', field 'online_when': 'view_3h' is not a feature of this"),
        ({"online_when": "'document_id > 0'"}, "field 'online_when': 'document_id' is not a feature of this view"),
        ({"online_when": "'seen_at > Now() - interval 1 day'"}, "field 'online_when': 'Now' gives another answer each"),
        ({"online_when": "'seen_at > current_timestamp'"}, "'current_timestamp' gives another answer each time"),
        ({"online_when": "'views_3h >'"}, "view 'visits', field 'online_when': 'views_3h >' is not a SQL condition"),
        ({"online_when": "'views_3h > \"0'"}, "field 'online_when'"),
        ({"online_when": "''"}, "view 'visits', field 'online_when': '' is not a SQL condition"),
        ({"expectations": "('view_3h > 0',)"}, "view 'visits', field 'expectations': 'view_3h' is not a feature of"),
        ({"expectations": "('seen_at < now()',)"}, "'expectations': 'now' gives another answer each time"),
        ({"expectations": "(expect('x', column='nope'),)"}, "'nope' is neither a key nor a feature of this view"),
    ],
)
def test_a_mistake_in_a_view_is_refused_naming_view_and_field(folder, fields, said):
    folder.write_view(**fields)

    assert said in refusal_of(folder)


def test_an_online_condition_on_features_is_accepted(folder):
    folder.write_view(online_when="'views_3h > 0 or seen_at is not null'")

    assert folder.load().view("visits").online_when == "views_3h > 0 or seen_at is not null"


def test_distinct_counts_promise_no_order_of_windows_as_they_may_count_sums():
    line = Distinct(name="n", rows_of="base", active="score", over=("24h", "7d"))

    assert list(line.promises((line,))) == ["n_24h >= 0 AND n_7d >= 0"]


def test_a_view_promises_what_follows_from_its_aggregations_and_what_its_author_adds(folder):
    folder.write_view(
        aggregations="(Count(name='n', over=('total', '24h', '90m')), First(name='first'), Last(name='last'))",
        expectations="('n_24h < 1000000', expect('expect_column_mean_to_be_between', column='n_24h', least_rows=9))",
    )

    promises = folder.load().view("visits").table.promises

    assert [one.condition for one in promises if one.condition] == [
        "n_90m >= 0 AND n_90m <= n_24h AND n_24h <= n_total",
        "first <= last",
        "n_24h < 1000000",
    ]
    assert [(one.name, one.least_rows) for one in promises if not one.condition] == [
        ("expect_column_values_to_not_be_null", 0),
        ("expect_column_values_to_be_unique", 0),
        ("expect_column_mean_to_be_between", 9),
    ]


@pytest.mark.parametrize("condition", ["other.views_3h > 0", "views_3h > 0; select 1", "views_3h > 0, 1"])
def test_an_online_condition_that_spark_would_refuse_is_refused(folder, condition):
    folder.write_view(online_when=repr(condition))

    assert "view 'visits', field 'online_when'" in refusal_of(folder)


@pytest.mark.parametrize("window", ["0m", "15", "m", "1w", "24H", "-1h", "1.5h", "", "7 d", "100000d", "7d\n", "Total"])
def test_a_bad_window_is_refused_naming_view_feature_and_field(folder, window):
    folder.write_view(aggregations=f"(Count(name='views', over=({window!r},)),)")

    assert refusal_of(folder).endswith(
        f"view 'visits', feature 'views', field 'over': {window!r} is not a window; "
        "write a number of m, h or d such as 24h, or total"
    )


def test_windows_of_equal_length_and_different_names_are_both_kept(folder):
    folder.write_view(aggregations="(Count(name='views', over=('24h', '1d')),)")

    assert folder.load().view("visits").feature_names == ("views_24h", "views_1d")


def write_distinct(folder, *, over="('7d',)", rows_of="'pairs'", active="'people'", base="(ACTOR, DOCUMENT)"):
    distinct = f"(Distinct(name='visitors', rows_of={rows_of}, active={active}, over={over}),)"
    folder.write_view(aggregations=distinct)
    folder.write_view("pairs.py", name="'pairs'", entities=base, aggregations=f"({PEOPLE},)")


def test_a_missing_finer_column_is_refused_naming_both_views(folder):
    write_distinct(folder, over="('7d', '30d')")

    assert refusal_of(folder).endswith(
        "view 'visits', feature 'visitors', field 'over': needs people_30d of view 'pairs', which 'pairs' does not "
        "have; add the window 30d to 'people' there"
    )


def test_a_finer_column_of_another_name_is_not_enough(folder):
    write_distinct(folder, active="'persons'")

    assert "needs persons_7d of view 'pairs'" in refusal_of(folder)


def test_a_finer_view_that_is_not_there_is_refused(folder):
    write_distinct(folder, rows_of="'couples'")

    assert "view 'visits', feature 'visitors', field 'rows_of': there is no view 'couples'" in refusal_of(folder)


@pytest.mark.parametrize("other", ["Entity('thing', 'document_id', 'a document')", "Entity('document', 'document_id')"])
def test_a_finer_view_of_another_entity_with_the_same_key_is_refused_naming_both(folder, other):
    write_distinct(folder, base=f"(ACTOR, {other})")

    assert "field 'rows_of': 'pairs' has the key 'document_id' of the entity" in refusal_of(folder)


@pytest.mark.parametrize("base", ["(DOCUMENT,)", "(ACTOR,)"])
def test_a_view_that_is_not_finer_is_refused(folder, base):
    write_distinct(folder, base=base)

    assert "field 'rows_of': 'pairs' does not have the keys of 'visits' and more" in refusal_of(folder)


def test_rows_of_a_view_that_is_written_are_refused(folder):
    write_distinct(folder)
    folder.write_view("pairs.py", name="'pairs'", entities="(ACTOR, DOCUMENT)", **WRITTEN)

    assert "field 'rows_of': 'pairs' is of the lane direct; it has no gold" in refusal_of(folder)


def test_rows_of_a_transform_are_refused(folder):
    write_distinct(folder)
    transform = "lambda interactions: interactions"
    features = "(Feature('people_7d', Type.INT64, 'people'),)"
    folder.write_view(
        "pairs.py",
        name="'pairs'",
        entities="(ACTOR, DOCUMENT)",
        aggregations="()",
        transform=transform,
        transform_features=features,
    )

    assert "field 'rows_of': 'pairs' is a transform, and distinct counts of 'visits' come from" in refusal_of(folder)


def test_rows_of_the_view_itself_are_refused(folder):
    write_distinct(folder, rows_of="'visits'")

    assert "field 'rows_of': 'visits' does not have the keys of 'visits' and more" in refusal_of(folder)


def test_distinct_rows_of_a_finer_view_are_accepted(folder):
    write_distinct(folder)

    assert list(folder.load().views) == ["pairs", "visits"]


TRANSFORM = {"aggregations": "()", "transform_features": "(Feature('size', Type.INT64, 'its size'),)"}


@pytest.mark.parametrize(
    ("parameters", "inputs", "wants_as_of"),
    [
        ("documents", ("documents",), False),
        ("documents, interactions", ("documents", "interactions"), False),
        ("interactions, as_of", ("interactions",), True),
    ],
)
def test_a_transform_takes_silver_tables_and_as_of_by_name(folder, parameters, inputs, wants_as_of):
    folder.write_view(**TRANSFORM, transform=f"lambda {parameters}: None")

    view = folder.load().view("visits")

    assert (view.inputs, view.wants_as_of) == (inputs, wants_as_of)


def test_a_transform_may_be_keyed_by_what_interactions_do_not_have(folder):
    folder.write_view(
        **TRANSFORM, transform="lambda documents: None", entities="(Entity('team', 'team_id', 'a team'),)"
    )

    assert folder.load().view("visits").keys == ("team_id",)


def test_a_transform_of_an_unknown_table_is_refused(folder):
    folder.write_view(**TRANSFORM, transform="lambda events: None")

    assert refusal_of(folder).endswith(
        "view 'visits', field 'transform': it takes 'events', which is not a silver table; "
        "there are interactions, documents, and as_of"
    )


def test_a_feature_of_a_transform_needs_a_usable_name(folder):
    folder.write_view(
        aggregations="()",
        transform="lambda documents: None",
        transform_features="(Feature('_size', Type.INT64, 'its size'),)",
    )

    assert "view 'visits', feature '_size': '_size' is not a valid name" in refusal_of(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"changed_keys": "lambda documents: documents"}, "goes with a transform; aggregations find"),
        (
            {**TRANSFORM, "transform": "lambda documents, as_of: None", "changed_keys": "lambda documents: None"},
            "the transform takes as_of, so its rows change with time",
        ),
        (
            {**TRANSFORM, "transform": "lambda documents: None", "changed_keys": "lambda interactions: None"},
            "must take what the transform takes: documents",
        ),
    ],
)
def test_changed_keys_go_with_a_transform_of_the_same_tables(folder, fields, said):
    folder.write_view(**fields)

    assert f"view 'visits', field 'changed_keys': {said}" in refusal_of(folder)


@pytest.mark.parametrize(
    ("type_", "said"),
    [("DECIMAL", "give it as FLOAT64, not as DECIMAL"), ("BINARY", "give it as STRING, not as BINARY")],
)
def test_types_of_state_and_history_are_not_those_of_features(folder, type_, said):
    folder.write_view(
        aggregations="()",
        transform="lambda documents: None",
        transform_features=f"(Feature('price', Type.{type_}, 'its price'),)",
    )

    assert f"view 'visits', feature 'price': {said}" in refusal_of(folder)


def test_what_a_sum_takes_is_a_name(folder):
    folder.write_view(aggregations="(Sum(name='seconds', of='a.b', over=('7d',)),)")

    assert "view 'visits', feature 'seconds', field 'of': 'a.b' is not a valid name" in refusal_of(folder)


def write_on_demand(folder, inputs, *, name="half"):
    folder.write_view()
    folder.write(
        "ratios.py",
        f"""
        @on_demand(type=Type.FLOAT64, inputs={inputs}, owner="ada", description="Half.")
        def {name}(*views):
            return views[0] / 2
        """,
    )


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("'visits:views_3h'", "on-demand feature 'half', field 'inputs': give a tuple, also of one, as in ('view:"),
        ("()", "on-demand feature 'half', field 'inputs': name at least one feature as view:feature"),
        (
            "('visitors:views_3h',)",
            "feature 'half', field 'inputs': 'visitors:views_3h' names no view; there are visits",
        ),
        ("('visits:views_4h',)", "on-demand feature 'half', field 'inputs': view 'visits' has no feature 'views_4h'"),
        ("('visits',)", "on-demand feature 'half', field 'inputs': view 'visits' has no feature ''"),
    ],
)
def test_unknown_inputs_of_an_on_demand_feature_are_refused(folder, inputs, said):
    write_on_demand(folder, inputs)

    assert said in refusal_of(folder)


def test_an_on_demand_feature_needs_a_usable_name(folder):
    write_on_demand(folder, "('visits:views_3h',)", name="Half")

    assert "ratios.py: an on-demand feature's name: 'Half' is not a valid name" in refusal_of(folder)


def test_an_on_demand_feature_named_like_a_view_is_refused(folder):
    write_on_demand(folder, "('visits:views_3h',)", name="visits")

    assert "'visits'" in refusal_of(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            "name='rank', features='visits'",
            "service 'rank', field 'features': give a tuple, also of one, as in ('view',)",
        ),
        ("name='rank', features=()", "service 'rank', field 'features': name at least one view or feature"),
        ("name='rank', features=('half',)", "service 'rank', field 'features': 'half' names no view; there are visits"),
        ("name='rank', features=('visits:x',)", "service 'rank', field 'features': view 'visits' has no feature 'x'"),
        ("name='Rank', features=('visits',)", "service 'Rank', field 'name': 'Rank' is not a valid name"),
    ],
)
def test_a_mistake_in_a_service_is_refused_naming_it(folder, fields, said):
    folder.write_view()
    folder.write("service.py", f"service = FeatureService({fields}, owner='ada', description='For ranking.')")

    assert said in refusal_of(folder)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            "Entity('team', 'id', type=Type.INT64)",
            "entity 'team' is team_id of INT64, and id of INT64 in another view; declare it once",
        ),
        (
            "Entity('team', 'team_id')",
            "entity 'team' is team_id of INT64, and team_id of STRING in another view; declare it once",
        ),
        ("Entity('group', 'team_id')", "the key 'team_id' is of INT64 in the entity 'team' and of STRING in 'group'"),
    ],
)
def test_views_agree_on_what_a_key_is(folder, other, said):
    folder.write_view(**WRITTEN, entities="(Entity('team', 'team_id', type=Type.INT64),)")
    folder.write_view("others.py", name="'others'", **WRITTEN, entities=f"({other},)")

    assert said in refusal_of(folder)


@pytest.mark.parametrize(
    ("of_view", "of_base", "is_refused"),
    [
        ({}, {"where": "'event_type = 1'"}, False),
        ({"where": "'event_type = 1'"}, {"where": "'event_type = 1'"}, False),
        ({"where": "'event_type = 1'"}, {}, True),
        ({"where": "'event_type = 1'"}, {"where": "'event_type = 2'"}, True),
        ({}, {"source": "OTHERS"}, True),
        ({"source": "OTHERS"}, {"source": "OTHERS"}, False),
        ({}, {"entities": "(ACTOR, DOCUMENT.as_('source'))"}, True),
    ],
)
def test_a_base_view_counts_only_events_that_the_view_counts(folder, of_view, of_base, is_refused):
    about = {"owner": "'ada'", "description": "'Tested.'", "freshness": "timedelta(hours=1)"}
    views = {
        "people": {
            "entities": "(DOCUMENT,)",
            "aggregations": "(Distinct(name='n', rows_of='pairs', active='k', over=('3h',)),)",
        }
        | of_view,
        "pairs": {"entities": "(ACTOR, DOCUMENT)", "aggregations": "(Count(name='k', over=('3h',)),)"} | of_base,
    }
    fields = "(Field('document_id', Type.STRING), Field('actor_id', Type.STRING))"
    lines = [f"OTHERS = EventSource(name='others', id=None, time=Time('at'), fields={fields})"]
    for name, declared in views.items():
        written = ", ".join(f"{field}={value}" for field, value in (about | declared).items())
        lines.append(f"{name} = FeatureView(name={name!r}, {written})")
    folder.write("views.py", "\n".join(lines))

    if is_refused:
        assert "field 'rows_of': 'pairs'" in refusal_of(folder)
    else:
        assert list(folder.load().views) == ["pairs", "people"]
