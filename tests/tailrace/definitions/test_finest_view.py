"""By which view a stream counts: a declared one, or one that nobody declares and nobody can ask for."""

import pytest

from tailrace.definitions import DefinitionError
from tailrace.definitions.stream_view import OF_EVENTS, FinestView

SOURCE = """
searches = EventSource(
    name='searches', id='search_id', time=Time('ts', unit='ms'), type='kind',
    fields=(
        Field('user_id', Type.STRING), Field('seller_id', Type.STRING), Field('product_id', Type.INT64),
        Field('kind', Type.STRING), Field('rank', Type.INT64),
    ),
)
USER, PRODUCT = Entity('user', 'user_id'), Entity('product', 'product_id', type=Type.INT64)
SELLER = USER.as_('seller_id')

def recent(name, *entities, where=None, aggregations=()):
    return FeatureView(
        name=name, entities=entities, source=searches, lane='stream', where=where,
        aggregations=aggregations or (Count(name=name, over=('15m',)),),
        owner='ada', description='Tested.', freshness=timedelta(seconds=10),
    )

def partners(**options):
    return (Distinct(name='users', active='n', over=('15m',), **options),)
"""
USERS, PRODUCTS = "a = recent('users', USER)", "b = recent('products', PRODUCT)"
BOTH, BOTH_TOP = "c = recent('both', USER, PRODUCT)", "c = recent('both', USER, PRODUCT, where='rank <= 3')"
ANOTHER = "d = recent('another', PRODUCT, USER)"


@pytest.fixture
def load(folder):
    def load(*views):
        folder.write("searches.py", SOURCE + "\n".join(views))
        return folder.load()

    return load


@pytest.mark.parametrize(
    ("views", "name", "keys", "others"),
    [
        ((USERS, PRODUCTS), "stream_of_searches", ("product_id", "user_id"), {"users", "products"}),
        ((USERS, BOTH, PRODUCTS), "both", ("user_id", "product_id"), {"users", "products"}),
        ((USERS, BOTH_TOP), "stream_of_searches", ("product_id", "user_id"), {"users", "both"}),
        ((BOTH, ANOTHER), "another", ("product_id", "user_id"), {"both"}),
        ((PRODUCTS,), "products", ("product_id",), set()),
        (("a = recent('top', USER, where='rank = 1')",), "stream_of_searches", ("user_id",), {"top"}),
        ((USERS, "b = recent('sellers', SELLER)"), "stream_of_searches", ("seller_id", "user_id"), {"users", "sellers"}),
    ],
)  # fmt: skip
def test_events_are_counted_by_a_view_of_all_keys_which_is_a_declared_one_that_counts_them_all(
    load, views, name, keys, others
):
    definitions = load(*views)

    finest, *rollups = definitions.streamed
    assert (finest.name, finest.keys, {view.name for view in rollups}) == (name, keys, others)
    assert isinstance(finest, FinestView)
    assert finest.features[-len(OF_EVENTS) :] == OF_EVENTS
    assert not any(set(OF_EVENTS) & set(view.features) for view in rollups)
    assert definitions.stream_views.keys() == others | ({name} if finest.is_declared else set())
    assert all(definitions.stream_views.get(view.name, view) is view for view in definitions.streamed)
    assert definitions.kept_names == {*others, name}


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ((BOTH, "b = recent('sellers', SELLER)"), ["both, sellers", "product_id, seller_id, user_id", "lane batch"]),
        ((USERS, PRODUCTS, "c = recent('stream_of_searches', USER)"), ["stream_of_searches", "another"]),
        ((USERS, "c = recent('p', PRODUCT, aggregations=partners(rows_of='users'))"), ["rows_of", "'users'"]),
        ((BOTH_TOP, "d = recent('p', PRODUCT, aggregations=partners(rows_of='both'))"), ["rows_of", "'both'", "where"]),
        ((BOTH, "d = recent('p', PRODUCT, aggregations=partners(rows_of='both'), where='rank = 1')"), ["'p'", "where"]),
        (
            (
                USERS,
                PRODUCTS,
                "s = FeatureService(name='s', features=('stream_of_searches',), owner='ada', description='T.')",
            ),
            ["service 's'", "names no view"],
        ),
    ],
    ids=["three columns", "its name", "base of other keys", "base with a condition", "own condition", "service"],
)
def test_what_a_stream_cannot_count_is_refused_by_name(load, views, words):
    with pytest.raises(DefinitionError) as refused:
        load(*views)

    assert [word for word in words if word not in str(refused.value)] == []
