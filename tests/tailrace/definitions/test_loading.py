"""Which files are read, and what is said where one cannot be."""

import sys

import pytest

from tailrace.definitions import DefinitionError, load_anew, load_definitions


def test_a_file_adds_its_view_and_nothing_else_lists_it(folder):
    folder.write_view()

    view = folder.load().view("visits")

    assert view.feature_names == ("views_3h", "views_total", "seen_at")


def test_one_more_file_adds_one_more_view(folder):
    folder.write_view()
    before = list(folder.load().views)

    folder.write_view("more.py", name="'comings'")

    assert (before, list(folder.load().views)) == (["visits"], ["comings", "visits"])


def test_a_folder_beside_the_shipped_ones_adds_to_them(folder):
    folder.write_view()
    folder.write(
        "service.py",
        """
        service = FeatureService(
            name="both", features=("visits", "actor_activity:events_7d", "edit_trend"), owner="ada", description="Both."
        )
        """,
    )

    definitions = folder.load("shipped")

    assert definitions.views.keys() == load_definitions().views.keys() | {"visits"}
    assert sorted(definitions.services) == ["both", "ranker"]
    assert definitions.services["both"].features == ("visits", "actor_activity:events_7d", "edit_trend")


def test_a_folder_may_count_rows_of_a_shipped_view(folder):
    distinct = "(Distinct(name='people', rows_of='actor_document_affinity', active='edits', over=('30d',)),)"
    folder.write_view(entities="(ENTITY,)", aggregations=distinct)
    source = (folder.path / "visits.py").read_text()
    (folder.path / "visits.py").write_text("from tailrace.shipped.entities import DOCUMENT as ENTITY\n" + source)

    order = list(folder.load("shipped").views)

    assert order.index("actor_document_affinity") < order.index("visits")


def test_a_finer_view_comes_first_whatever_its_name(folder):
    folder.write_view("a.py", name="'a'", aggregations="(Distinct(name='n', rows_of='b', active='k', over=('3h',)),)")
    folder.write_view("b.py", name="'b'", entities="(ACTOR, DOCUMENT)", aggregations="(Count(name='k', over=('3h',)),)")
    folder.write_view("c.py", name="'c'")

    views = folder.load().views

    assert list(views).index("b") < list(views).index("a")
    assert sorted(views) == ["a", "b", "c"]
    assert views["a"].base_views == ("b",)


def test_on_demand_features_are_found_by_their_decorated_names(folder):
    folder.write_view()
    folder.write(
        "ratios.py",
        """
        @on_demand(type=Type.FLOAT64, inputs=("visits:views_3h",), owner="ada", description="Half.")
        def half(views):
            return views / 2
        """,
    )

    feature = folder.load().on_demand["half"]

    assert (feature.name, feature.wants_now, feature.compute(6)) == ("half", False, 3.0)


def test_files_that_begin_with_an_underscore_are_passed_over(folder):
    folder.write_view()
    folder.write("_draft.py", "raise RuntimeError('not to be imported')")

    assert list(folder.load().views) == ["visits"]


def test_a_view_defined_in_two_files_is_refused_naming_both(folder):
    folder.write_view("one.py")
    folder.write_view("two.py")

    with pytest.raises(DefinitionError) as refusal:
        folder.load()

    one, two = folder.path / "one.py", folder.path / "two.py"
    assert str(refusal.value).startswith(f"'visits' is defined in {one} and again in {two}; ")


def test_a_shipped_view_cannot_be_defined_again(folder):
    folder.write_view(name="'actor_activity'")

    with pytest.raises(DefinitionError, match=r"'actor_activity' is defined in .*/actor_activity\.py and again in "):
        folder.load("shipped")


def test_a_folder_without_any_view_is_refused(folder):
    folder.write("nothing.py", "")

    with pytest.raises(DefinitionError, match=f"^no feature view in {folder.path}; "):
        folder.load()


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match=f"^no feature view in {tmp_path}; "):
        load_definitions([str(tmp_path)])


def test_no_folder_at_all_is_refused():
    with pytest.raises(DefinitionError, match="TAILRACE_FEATURES, which names no folder"):
        load_definitions([])


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DefinitionError, match=r"TAILRACE_FEATURES names '.*/gone', which is not a folder"):
        load_definitions([str(tmp_path / "gone")])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise KeyError('oh')", "KeyError: 'oh'"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "SyntaxError: "),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(folder, source, said):
    folder.write("broken.py", source)

    with pytest.raises(DefinitionError) as refusal:
        folder.load()

    assert str(refusal.value).startswith(f"{folder.path / 'broken.py'}: {said}")


def test_a_file_mended_after_it_failed_is_read_again(folder):
    folder.write("visits.py", "raise KeyError('oh')")
    with pytest.raises(DefinitionError):
        folder.load()

    folder.write_view()

    assert list(folder.load().views) == ["visits"]


def test_an_entity_with_a_bad_name_is_refused_naming_its_file(folder):
    folder.write("entities.py", "PERSON = Entity('person', 'Person-Id', 'a person')")

    with pytest.raises(
        DefinitionError, match=r"entities\.py: entity 'person', field 'key': 'Person-Id' is not a valid"
    ):
        folder.load()


def test_files_with_alike_paths_are_told_apart(make_folder):
    make_folder("a_b").write_view("c.py", name="'first'")
    make_folder("a").write_view("b_c.py", name="'second'")

    definitions = make_folder("a").load(str(make_folder("a_b").path))

    assert sorted(definitions.views) == ["first", "second"]


def test_loading_twice_gives_the_same_definitions(folder):
    folder.write_view()

    assert folder.load().views["visits"] is folder.load().views["visits"]


def test_an_unknown_view_is_refused_with_those_there_are(folder):
    folder.write_view()

    with pytest.raises(DefinitionError, match=r"^there is no view 'vists'; there are visits$"):
        folder.load().view("vists")


def test_some_views_come_with_the_finer_ones_that_they_count_and_all_where_none_is_named():
    definitions = load_definitions()

    assert list(definitions.only(["document_activity"]).views) == ["actor_document_affinity", "document_activity"]
    assert list(definitions.only(["document_profile"]).views) == ["document_profile"]
    assert definitions.only(()).views == definitions.views
    with pytest.raises(DefinitionError, match="there is no view 'nothing'"):
        definitions.only(["nothing"])


@pytest.fixture
def modules_of_before():
    """What is loaded anew in a test is forgotten after it: other tests compare with what they imported."""
    before = dict(sys.modules)
    yield
    sys.modules.update(before)


@pytest.mark.usefixtures("modules_of_before")
def test_a_file_that_changed_is_read_again_where_that_is_asked_for(folder):
    folder.write_view()
    first = folder.load()
    folder.write_view(name="'other_visits'")

    unchanged, changed = folder.load(), load_anew([str(folder.path)])

    assert (list(unchanged.views), list(changed.views)) == (["visits"], ["other_visits"])
    assert changed.files != first.files


@pytest.mark.usefixtures("modules_of_before")
def test_files_that_cannot_be_loaded_anew_leave_what_was_loaded(folder):
    folder.write_view()
    first = folder.load()
    folder.write("visits.py", "1 / 0")
    folder.write("later.py", "")

    with pytest.raises(DefinitionError, match=r"visits\.py: ZeroDivisionError"):
        load_anew(["shipped", str(folder.path)])

    folder.path.joinpath("later.py").unlink()
    assert folder.load().views["visits"] is first.views["visits"]


def test_the_fingerprint_of_files_follows_their_content_and_their_names(folder):
    folder.write_view()
    first = folder.load().files
    content = folder.path.joinpath("visits.py").read_text()
    folder.path.joinpath("visits.py").write_text(content + "# another line\n")
    changed = folder.load().files
    folder.path.joinpath("visits.py").rename(folder.path / "calls.py")
    renamed = folder.load().files

    assert len({first, changed, renamed}) == 3


def test_a_shipped_file_that_cannot_run_is_named(monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("")
    monkeypatch.setattr("tailrace.definitions.load.SHIPPED_FOLDER", tmp_path)

    with pytest.raises(DefinitionError, match=rf"^{broken}: ModuleNotFoundError: .*tailrace\.shipped\.broken"):
        load_definitions()
