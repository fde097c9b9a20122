"""What a file holds, by its first bytes: whatever goes by lines is left to its lines."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.bronze.file_check import why_not_gzip, why_not_lines, why_not_parquet

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=5), VALUES, min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=4), st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]), st.data())
def test_lines_of_objects_are_lines_wherever_the_head_ends(objects, ascii_, end, data):
    content = "".join(json.dumps(one, ensure_ascii=ascii_) + end for one in objects).encode()

    assert why_not_lines(content, is_whole=True) is None
    assert why_not_lines(content[: data.draw(st.integers(1, len(content)))], is_whole=False) is None


@settings(max_examples=30, deadline=None)
@given(st.lists(OBJECTS, min_size=1, max_size=4), st.integers(0, 4), st.sampled_from(["", " \n", "\ufeff"]))
def test_an_array_of_objects_and_objects_over_lines_are_refused_as_a_whole(objects, indent, before):
    array = (before + json.dumps(objects, indent=indent)).encode()
    pretty = before + "\n".join(json.dumps(one, indent=indent) for one in objects)

    for is_whole in (True, False):
        assert "a JSON array" in str(why_not_lines(array, is_whole=is_whole))
        assert "an object over several lines" in str(why_not_lines(pretty.encode(), is_whole=is_whole))


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_looked_at(content, is_whole):
    for reason in (why_not_lines(content, is_whole=is_whole), why_not_gzip(content), why_not_parquet(content)):
        assert reason is None or reason.startswith("the file holds ")
