"""A stream over a source of one's own: two entities, one of them a number, a nested path, times in milliseconds, conditions."""

from tailrace.definitions import load_definitions

DEFINITIONS = """
from datetime import timedelta
from tailrace.definitions import Count, Distinct, Entity, EventSource, FeatureView, Field, Kafka, Last, Time, Type

searches = EventSource(
    name='searches', id=('session', 'number'), time=Time('ts', unit='ms', path='$.at.ms'), type='kind',
    fields=(
        Field('session', Type.STRING), Field('number', Type.INT64, minimum=0),
        Field('query', Type.STRING, path='$.request.q'),
        Field('product_id', Type.INT64, path='$.request.shown[0]'),
        Field('kind', Type.STRING, pattern='[a-z]+'), Field('rank', Type.INT64), Field('place', Type.STRING),
        Field('weight', Type.FLOAT64, maximum=9.5), Field('paid', Type.BOOL), Field('day', Type.DATE),
        Field('label', Type.STRING, required=True),
    ),
    {read_from}
)
QUERY, PRODUCT = Entity('query', 'query'), Entity('product', 'product_id', type=Type.INT64)
about = {{'owner': 'ada', 'description': 'Tested.', 'freshness': timedelta(seconds=10), 'lane': 'stream', 'source': searches}}
top = FeatureView(name='top', entities=(QUERY, PRODUCT), where='rank <= 3', aggregations=(
    Count(name='shown', over=('15m',)), Last(name='clicked_at', types=('click',))), **about)
queries = FeatureView(name='queries', entities=(QUERY,), aggregations=(Count(name='asked', over=('15m',)),), **about)
products = FeatureView(name='products', entities=(PRODUCT,), aggregations=(
    Count(name='clicks', types=('click',), over=('15m', '1h')),{partners}), **about)
{more}
"""
# A view of all keys and all events, which takes the part of the one that nobody declares, and gives partners to count.
SHOWN = """
shown = FeatureView(name='shown', entities=(QUERY, PRODUCT), aggregations=(Last(name='shown_at'),), **about)
"""
PARTNERS = "Distinct(name='partners', rows_of='shown', active='x', over=('15m',)),"


def definitions_in(folder, *, declared=False, read_from=""):
    """The definitions, with the finest view declared or not."""
    folder.mkdir()
    more, partners = (SHOWN, PARTNERS) if declared else ("", "")
    (folder / "searches.py").write_text(DEFINITIONS.format(more=more, partners=partners, read_from=read_from))
    return load_definitions((str(folder),))


def search(number, *, query="shoes", product=7, rank=1, kind="show", ms=0, **more):
    """A line of the source; a query or product of None is left out."""
    request = {} if query is None else {"q": query}
    request |= {} if product is None else {"shown": [product, 0]}
    line = {"session": "s", "number": number, "request": request, "at": {"ms": ms}, "kind": kind, "rank": rank}
    return line | {"label": "l"} | more
