"""The hot node's connections: a request that is not valid HTTP is logged as one line, without its content, which may hold a password."""

from __future__ import annotations

from aiohttp import http_exceptions, web

from tael.runtime.observe import get_logger

log = get_logger("hotnode")
_REASON = "the request is not valid HTTP/1.1"


class QuietRunner(web.AppRunner):
    """aiohttp's runner; its own would log a malformed head with a traceback, and answer with it."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(server.request_handler, request_factory=server.request_factory, **self._kwargs)


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """See web.RequestHandler."""
        if not isinstance(exc, http_exceptions.HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        log.info("malformed request", peer=request.remote, reason=_REASON)
        response = web.Response(status=400, text=f"{_REASON}\n")
        response.force_close()
        return response
