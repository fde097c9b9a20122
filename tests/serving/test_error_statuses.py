"""The status of an answer follows the error's family, and callers learn no more than they need."""

import json

import pytest
from aiohttp.test_utils import make_mocked_request

from serving.auth.identity import BadCredential, Misdirected, NoCredential, NotAllowed, UncheckedCredential
from serving.common.request import BadRequest
from serving.http.admission import ClientLeft, Overloaded
from serving.http.responses import NotAcceptable, refused
from serving.read.columns import OnDemandError
from serving.telemetry.requests import TIMING, RequestTiming
from serving.write.idempotency import KeyReused
from tailrace import errors
from tailrace.settings import SettingsError
from tailrace.store.codec import CodecError
from tailrace.store.control import OtherLane
from tailrace.store.direct.log import LogError
from tailrace.store.direct.writer import Busy
from tailrace.store.failures import StoreError
from tailrace.store.keys import ItemKeyError

STATUSES = {
    BadRequest: 400,
    ItemKeyError: 400,
    errors.UsageError: 400,
    NoCredential: 401,
    BadCredential: 401,
    NotAllowed: 403,
    NotAcceptable: 406,
    OtherLane: 409,
    errors.ConflictError: 409,
    Misdirected: 421,
    KeyReused: 422,
    ClientLeft: 499,
    Busy: 503,
    UncheckedCredential: 503,
    LogError: 503,
    Overloaded: 503,
    errors.UnavailableError: 503,
}
OUR_FAULT = (
    CodecError,
    SettingsError,
    errors.DataError,
    errors.DefinitionError,
    errors.InternalError,
    errors.SetupError,
    ZeroDivisionError,
)


@pytest.fixture
def request_():
    request = make_mocked_request("POST", "/get-online-features")
    timing = request[TIMING] = RequestTiming()
    timing.id = "a1"
    return request


def detail_of(answer):
    return json.loads(answer.body)["detail"]


def test_an_expected_error_is_answered_with_the_status_of_its_class_or_family(request_):
    answers = {kind: refused(request_, kind("view a: oh")) for kind in STATUSES}

    assert {kind: answer.status for kind, answer in answers.items()} == STATUSES
    assert [
        kind.__name__ for kind, answer in answers.items() if ("Retry-After" in answer.headers) != (answer.status == 503)
    ] == []


@pytest.mark.parametrize("kind", OUR_FAULT)
def test_of_our_own_fault_callers_learn_the_request_id_alone(request_, kind, caplog):
    answer = refused(request_, kind("secret"))

    assert answer.status == 500
    assert "a1" in detail_of(answer)
    assert "secret" not in detail_of(answer)
    assert "secret" in caplog.text


def test_what_the_store_or_an_on_demand_feature_says_is_answered_without_what_callers_need_not_know(request_):
    away = refused(request_, StoreError("Unreachable", "http://10.0.0.1:8000: secret"))
    failing = refused(request_, OnDemandError("on-demand feature 'b' failed: ZeroDivisionError"))

    assert (away.status, failing.status) == (503, 500)
    assert "secret" not in detail_of(away)
    assert "'b'" in detail_of(failing)
