"""A small HTTP proxy that makes an S3 server stumble: 503, cut bodies, slow bodies."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate"
    b"</Message></Error>"
)
_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Proxy:
    """Forwards to `endpoint`; `trouble(number, method)` says what to do with each request.

    It returns "ok", "503", "cut" (half of the body, then the connection closes) or "stall" (half
    of the body, then nothing for `stall` seconds).
    """

    def __init__(self, endpoint: str, trouble: Callable[[int, str], str], stall: float = 3) -> None:
        self.target, self.trouble, self.stall = urlsplit(endpoint), trouble, stall
        self.count, self.troubles = 0, 0
        self.active, self.most = 0, 0  # requests at once
        self.lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                proxy.forward(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        with self.lock:
            number, self.count = self.count, self.count + 1
            what = self.trouble(number, request.command)
            self.troubles += what != "ok"
            self.active += 1
            self.most = max(self.most, self.active)
        try:
            body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
            status, headers, data = 503, [("Content-Type", "application/xml")], SLOW_DOWN
            if what != "503":
                status, headers, data = self._ask(request, body)
            self._reply(request, status, headers, data, what)
        finally:
            with self.lock:
                self.active -= 1

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list, bytes]:
        connection = http.client.HTTPConnection(self.target.hostname or "", self.target.port)
        connection.putrequest(
            request.command, request.path, skip_host=True, skip_accept_encoding=True
        )
        for name, value in request.headers.items():
            if name.lower() not in _HOP:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in _HOP]
        connection.close()
        return answer.status, headers, data

    def _reply(
        self, request: BaseHTTPRequestHandler, status: int, headers: list, data: bytes, what: str
    ) -> None:
        request.send_response_only(status)
        length = next((v for n, v in headers if n.lower() == "content-length"), str(len(data)))
        for name, value in headers:
            if name.lower() != "content-length":
                request.send_header(name, value)
        request.send_header("Content-Length", length if what != "503" else str(len(data)))
        request.end_headers()
        if request.command == "HEAD":
            return
        half = len(data) // 2
        if what in ("cut", "stall") and half:
            request.wfile.write(data[:half])
            request.wfile.flush()
            if what == "stall":
                time.sleep(self.stall)
            request.close_connection = True
            return
        request.wfile.write(data)
