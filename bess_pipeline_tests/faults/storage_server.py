"""The server of storage that fails on demand: `python -m bess_pipeline_tests.faults.storage_server PORT`."""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from bess_pipeline_tests.faults.storage import CONTROL, Fault

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_ANSWERS = {
    "503": ("503 Service Unavailable", _SLOW_DOWN),
    "500": ("500 Internal Server Error", b"<Error><Code>InternalError</Code></Error>"),
    "403": ("403 Forbidden", _DENIED),
    "429": ("429 Too Many Requests", b""),
}


class Faulty:
    """A WSGI application before which faults are put."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._fault: Fault | None = None
        self._befallen = 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == CONTROL:
            return self._told(environ, start_response)
        fault = self._due(environ)
        if fault is None:
            return self._application(environ, start_response)
        time.sleep(fault.seconds)
        if fault.kind in _ANSWERS:
            status, body = _ANSWERS[fault.kind]
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(status, [("Content-Length", str(len(body)))])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]
        if fault.kind == "slow":
            return self._application(environ, start_response)
        if fault.kind == "lost":
            list(self._application(environ, lambda *_: None))
        connection: socket.socket = environ["werkzeug.socket"]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection.detach())
        raise ConnectionError(fault.kind)

    def _due(self, environ: dict[str, Any]) -> Fault | None:
        with self._lock:
            fault = self._fault
            if fault is None or environ["REQUEST_METHOD"] not in fault.methods:
                return None
            if fault.within not in environ["PATH_INFO"] or self._befallen == fault.times:
                return None
            self._befallen += 1
            return fault

    def _told(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        with self._lock:
            befallen = self._befallen
            if environ["REQUEST_METHOD"] == "POST":
                told = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                self._fault, self._befallen = (Fault(**told) if told else None), 0
        body = str(befallen).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


if __name__ == "__main__":
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    application = Faulty(DomainDispatcherApplication(create_backend_app))
    make_server("127.0.0.1", int(sys.argv[1]), application, threaded=True).serve_forever()
