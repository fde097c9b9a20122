"""What scopes allow, by the definitions."""

import pytest

from serving.auth.identity import Identity, NotAllowed
from serving.auth.policy import ReadRules, require_write
from serving.common.request import FeatureRequest
from tailrace.definitions import Definitions, FeatureService, load_definitions

SHIPPED = load_definitions()


def service(name, *features):
    return FeatureService(name=name, features=features, owner="tests", description="")


TREND = SHIPPED.on_demand["edit_trend"]
DEFINED = Definitions(
    views=SHIPPED.views,
    on_demand=SHIPPED.on_demand,
    services={
        "whole": service("whole", "document_activity", "edit_trend"),
        "part": service("part", "document_activity:views_24h", "actor_activity:distinct_documents_7d"),
        "rest": service(
            "rest",
            *(
                f"actor_activity:{name}"
                for name in SHIPPED.views["actor_activity"].feature_names
                if name != "distinct_documents_7d"
            ),
        ),
    },
)


def may_read(scopes, *, features=(), service=None):
    asked = FeatureRequest(features=features, service=service, ids={"document_id": ["d1"]}, full_feature_names=False)
    try:
        ReadRules(DEFINED).check(Identity(name="key:a", scopes=frozenset(scopes)), asked)
    except NotAllowed:
        return False
    return True


def test_a_service_takes_its_own_scope():
    assert may_read(["read:whole"], service="whole")
    assert not may_read(["read:whole"], service="part")
    assert not may_read([], service="whole")
    assert not may_read(["read", "read:", "read:WHOLE", "write:whole", "metrics", "*"], service="whole")


def test_read_all_is_for_everything_also_for_what_is_in_no_service():
    assert may_read(["read:*"], service="part")
    assert may_read(["read:*"], features=("document_profile", "hours_since_last_edit"))


def test_a_service_called_like_the_wildcard_opens_nothing():
    assert not may_read(["read:whole"], service="*")


@pytest.mark.parametrize(
    ("features", "allowed"),
    [
        (("document_activity:views_24h",), True),
        (("document_activity",), True),  # the service has the whole view
        (("document_activity", "edit_trend"), True),
        (("hours_since_last_edit",), False),  # on demand, and in no service of the caller
        (("document_profile",), False),
        (("document_activity:views_24h", "document_profile:owner"), False),
        (("actor_activity:distinct_documents_7d",), False),
        (("whole",), False),
        (("nowhere:nothing",), False),
        (("document_activity:",), False),
        (("document_activity:*",), False),
    ],
)
def test_features_by_name_are_those_of_the_callers_services(features, allowed):
    assert may_read(["read:whole"], features=features) is allowed


def test_an_on_demand_feature_does_not_open_its_inputs_nor_inputs_the_feature():
    trend = Definitions(views=SHIPPED.views, on_demand=SHIPPED.on_demand, services={"t": service("t", "edit_trend")})
    inputs = Definitions(views=SHIPPED.views, on_demand=SHIPPED.on_demand, services={"t": service("t", *TREND.inputs)})
    identity = Identity(name="key:a", scopes=frozenset({"read:t"}))

    def opens(definitions, *features):
        asked = FeatureRequest(features=features, service=None, ids={}, full_feature_names=False)
        try:
            ReadRules(definitions).check(identity, asked)
        except NotAllowed:
            return False
        return True

    assert opens(trend, "edit_trend")
    assert not opens(trend, *TREND.inputs)
    assert opens(inputs, *TREND.inputs)
    assert not opens(inputs, "edit_trend")


def test_a_view_of_which_a_part_is_readable_is_not_readable_as_a_whole():
    assert not may_read(["read:part"], features=("actor_activity",))
    assert not may_read(["read:rest"], features=("actor_activity",))
    assert may_read(["read:part", "read:rest"], features=("actor_activity",))


def test_who_is_refused_is_told_which_features_it_was():
    asked = FeatureRequest(
        features=("document_activity", "document_profile"), service=None, ids={}, full_feature_names=False
    )

    with pytest.raises(NotAllowed, match=r"^document_profile: in no feature service that key:a may read") as refusal:
        ReadRules(DEFINED).check(Identity(name="key:a", scopes=frozenset({"read:whole"})), asked)

    assert (refusal.value.name, refusal.value.requested) == ("key:a", "read document_profile")


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        (["write:relevance"], True),
        (["write:*"], True),
        (["write:other"], False),
        (["read:*", "metrics"], False),
        (["write"], False),
        ([], False),
    ],
)
def test_a_view_is_written_with_its_own_scope(scopes, allowed):
    identity = Identity(name="token:a", scopes=frozenset(scopes))

    if allowed:
        require_write(identity, "relevance")
    else:
        with pytest.raises(NotAllowed, match=r"lacks the scope write:relevance or write:\*"):
            require_write(identity, "relevance")
