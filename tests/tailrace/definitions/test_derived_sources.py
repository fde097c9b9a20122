"""Sources that are derived from others, as definitions declare them; each mistake is found when they are loaded."""

import pytest

from tailrace.definitions import DefinitionError
from tests.tailrace.definitions.test_checks import refusal_of

PARENTS = """
searches = EventSource(
    name="searches", id="search_id", time=Time("ts"),
    fields=(Field("query", STRING), Field("user_id", STRING), Field("product_id", INT64)),
)
products = TableSource(name="products", key="product_id", fields=(
    Field("product_id", INT64), Field("category", STRING), Field("user_id", STRING), Field("shop", STRING),
))
def words_of(rows):
    return rows
"""
WORDS = {
    "name": "'words'",
    "of": "searches",
    "transform": "words_of",
    "fields": "(Field('word', STRING), Field('user_id', STRING), Field('rank', INT64))",
    "lookups": "(Lookup(products, on='product_id', fields=('category',)),)",
}
VIEW = """
view = FeatureView(
    name="asked", entities=(Entity("user", "user_id", "who asks"),), owner="ada", description="Words.", source=words,
    freshness=timedelta(hours=1), where="rank < 3", aggregations=(Count(name="words", over=("24h",)),), {more}
)
"""


def write(folder, *, more="", **fields):
    declared = ", ".join(f"{name}={value}" for name, value in (WORDS | fields).items())
    folder.write("searching.py", f"{PARENTS}\nwords = DerivedSource({declared})\n{VIEW.format(more=more)}")


def test_a_derived_source_has_a_table_of_its_own_and_brings_what_it_is_made_from(folder):
    write(folder, lookups="(Lookup(products, on='product_id', fields=('category',), follow=False),)")
    definitions = folder.load()

    [words] = definitions.derived.values()
    assert [*definitions.sources] == ["searches", "products"]
    assert [feed.name for feed in definitions.feeds] == ["searches", "products", "direct_writes"]
    assert [*definitions.silver_tables] == ["searches", "products", "words"]
    assert definitions.view("asked").inputs == ("words",)
    assert words.silver_table.columns == ("search_id", "ordinal", "ts", "word", "user_id", "rank")
    assert words.silver_table.key == words.words.id == ("search_id", "ordinal")
    assert words.given_table.columns == ("search_id", "product_id", "category")


def test_columns_that_are_unique_within_a_parent_take_the_place_of_the_number_and_of_the_time(folder):
    fields = "(Field('word', STRING), Field('user_id', STRING), Field('rank', INT64), Field('at', TIMESTAMP))"
    write(folder, id="('word', 'rank')", fields=fields, time="'at'")

    words = folder.load().derived["words"]
    assert words.silver_table.columns == ("search_id", "word", "user_id", "rank", "at")
    assert (words.key_columns, words.words.time, words.given_table) == (("search_id", "word", "rank"), "at", None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "'Words'"}, "source 'Words', field 'name'"),
        ({"of": "products"}, "source 'words', field 'of'"),
        ({"transform": "None"}, "source 'words', field 'transform'"),
        ({"transform": "__import__('functools').partial(words_of)"}, "source 'words', field 'transform'"),
        ({"time": "'at'"}, "source 'words', field 'time': 'at'"),
        ({"time": "'word'"}, "source 'words', field 'time': 'word'"),
        ({"type": "'rank'"}, "source 'words', field 'type': 'rank'"),
        ({"id": "'query'"}, "source 'words', field 'id': 'query'"),
        ({"fields": "(Field('search_id', STRING),)"}, "source 'words', field 'search_id'"),
        ({"fields": "(Field('ordinal', INT64),)"}, "source 'words', field 'id'"),
        ({"fields": "(Field('word', STRING, path='$.w'),)"}, "source 'words', field 'word'"),
        ({"fields": "(Field('Word', STRING),)"}, "source 'words', field 'Word'"),
        ({"lookups": "(Lookup(products, on='query', fields=('category',)),)"}, "'query' of the parent is STRING"),
        (
            {"lookups": "(Lookup(products, on='nothing', fields=('category',)),)"},
            "'nothing' of the parent is not there",
        ),
        (
            {"lookups": "(Lookup(products, on=('product_id', 'query'), fields=()),)"},
            "the key of 'products' is product_id",
        ),
        ({"lookups": "(Lookup(products, on='product_id', fields=('colour',)),)"}, "'products' has no field 'colour'"),
        ({"lookups": "(Lookup(products, on='product_id', fields=('user_id',)),)"}, "has a column 'user_id'"),
        ({"lookups": "(Lookup(products, on='product_id', fields=('shop', 'shop')),)"}, "has a column 'shop'"),
        (
            {"lookups": "Lookup(products, on='product_id', fields=('shop',))"},
            "source 'words', field 'lookups': give a tuple",
        ),
        (
            {"lookups": "(Lookup(products, on='product_id', fields='shop'),)"},
            "of 'products', field 'fields': give a tuple",
        ),
        (
            {"lookups": "(Lookup(searches, on='user_id', fields=('query',)),)"},
            "'searches' is not a TableSource",
        ),
        (
            {"lookups": "(Lookup('products', on='product_id', fields=('shop',)),)"},
            "'products' is not a TableSource",
        ),
        ({"fields": "(Field('word', STRING))"}, "source 'words', field 'fields': give a tuple"),
        ({"name": "'products'"}, "two sources 'products'"),
        ({"more": "lane='stream'"}, "view 'asked', field 'source': 'words' is derived by a refresh"),
    ],
)
def test_a_mistake_is_found_at_load_and_names_source_and_field(folder, fields, said):
    write(folder, **fields)

    assert said in refusal_of(folder)


def test_the_table_of_given_facts_is_no_other_sources(folder):
    write(folder, lookups="(Lookup(products, on='product_id', fields=('category',), follow=False),)")
    folder.write("given.py", "given = TableSource(name='words_given', key='a', fields=(Field('a', STRING),))")

    with pytest.raises(DefinitionError, match="silver table 'words_given'"):
        folder.load()


def test_a_change_of_the_declaration_derives_anew_and_one_of_a_view_does_not(folder, make_folder):
    def fingerprints(name, **fields):
        other = make_folder(name)
        write(other, **fields)
        definitions = other.load()
        return definitions.derived["words"].fingerprint, definitions.fingerprint(definitions.view("asked"))

    first = fingerprints("a")
    kept = fingerprints("b", lookups="(Lookup(products, on='product_id', fields=('category',), follow=False),)")
    described = fingerprints("c", description="'Words of queries.'")
    assert first[0] != kept[0]
    assert first[1] == kept[1] == described[1]
