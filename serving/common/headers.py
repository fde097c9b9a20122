"""Headers of a request: those that may be there once, and those whose values make one list."""

from multidict import CIMultiDictProxy

from serving.common.request import BadRequest


def only_value(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """The value of a header, None where it is not there; raises `BadRequest` where it is there several times."""
    values = headers.getall(name, ())
    if len(values) > 1:
        raise BadRequest(f"there are {len(values)} headers {name}; send one")
    return values[0] if values else None


def list_value(headers: CIMultiDictProxy[str], name: str) -> str:
    """A header that is a list, which may come in several lines (RFC 9110, section 5.3); empty where it is not there."""
    return ",".join(headers.getall(name, ()))
