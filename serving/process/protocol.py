"""aiohttp's side of one connection, where it is not what a reader of JSON needs."""

import logging
import re
from typing import Any

from aiohttp import web

from serving.http.errors import detail

REQUEST_LINE = re.compile(rb"[A-Z]+ [^ ]+ HTTP/1\.[01]\r\n")
HEAD_END = b"\r\n\r\n"

log = logging.getLogger(__name__)


class ReaderHandler(web.RequestHandler):
    """Answers as JSON what no handler or middleware sees, and knows whether a request was dropped.

    aiohttp logs all frames of such failures; this logs one line, which has nothing of what was sent: that may be a key.
    """

    __slots__ = ("_body_left", "has_dropped")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._body_left = 0
        self.has_dropped = False

    def data_received(self, data: bytes) -> None:
        """Read what came. The parser forgets what comes in one piece with, and behind, a request to change the protocol.

        `has_dropped` says that it may have: a connection that goes on would leave a request there without an answer.
        """
        before = self._request_count
        super().data_received(data)
        if self._request_count == before:
            if self._body_left:
                self._body_left -= len(data)
        elif getattr(self._messages[-1][0], "upgrade", False):
            self._body_left = body_left(self._messages[-1][0], data) if self._request_count == before + 1 else -1
        if self._body_left < 0:
            self.has_dropped = True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that is not HTTP, or whose headers aiohttp cannot take; it ends the connection."""
        if isinstance(exc, UnicodeError):
            status, message = 400, "a header has bytes that are not text"
        log.warning("a request of %s was answered %d: %s", request.remote, status, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer has been sent")
        answer = detail(status, " ".join((message or "the reader failed").split()))
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, also one that aiohttp refuses a request with before any handler or middleware has it."""
        if isinstance(resp, web.HTTPException) and resp.content_type != "application/json":
            resp = detail(resp.status, resp.text or resp.reason)
        return await super().finish_response(request, resp, start_time)

    def log_exception(self, *_: Any, **options: Any) -> None:
        """Log why a connection is closed."""
        failure = options.get("exc_info")
        kind = type(failure).__name__ if isinstance(failure, BaseException) else "an error"
        log.warning("a connection was closed: %s", kind)


def body_left(message: Any, data: bytes) -> int:
    """Bytes of a request's body that are to come after `data`; below 0 where other ones may stand behind it there."""
    end = data.find(HEAD_END)
    if message.chunked or end < 0 or not REQUEST_LINE.match(data):
        return -1
    return int(message.headers.get("Content-Length", 0)) - (len(data) - end - len(HEAD_END))
