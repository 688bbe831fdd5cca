"""Who receives alerts in tests: a web server and a mail server on loopback."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class WebReceiver:
    """Takes what is posted to it; what it answers can be told.

    Attributes:
        bodies: What was posted and taken.
        refused: How many posts were not taken.
        status: What it answers; 0 hangs up without an answer.
        says: Body of the answer.
        headers: Further headers of the answer.
        url: Its address, which holds a secret.
    """

    def __init__(self):
        self.bodies, self.refused, self.status, self.says, self.headers = [], 0, 200, "ok", {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.status in {0, 200, 202}:
                    receiver.bodies.append(body)
                else:
                    receiver.refused += 1
                if receiver.status == 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                answer = receiver.says.encode()
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """Nothing goes to the console."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/services/T0SECRET/B0SECRET?key=SECRET"

    def ids(self):
        """Alerts that were taken, one identity for each time that a message told of one."""
        return [alert["alert_id"] for body in self.bodies for alert in body["alerts"]]

    def close(self):
        """Stop listening: from now on nobody is there."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def web_receiver():
    """A web server, for as long as it is wanted."""
    receiver = WebReceiver()
    try:
        yield receiver
    finally:
        receiver.close()


class MailReceiver:
    """Takes mail; whom and what it takes can be told.

    Attributes:
        mails: What was taken: content, as it came.
        recipients: Who got it.
        refuses: Recipients that it does not know.
        answer: What it says once it has read a mail.
        logins: Users that gave their password.
    """

    def __init__(self):
        self.mails, self.recipients, self.logins = [], [], []
        self.refuses, self.answer = set(), "250 taken"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - named by aiosmtpd
        """Say whether a recipient is known."""
        if address in self.refuses:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - named by aiosmtpd
        """Take a mail."""
        if self.answer.startswith("250"):
            self.mails.append(envelope.content)
            self.recipients.append(list(envelope.rcpt_tos))
        return self.answer

    def login(self, server, session, envelope, mechanism, data):
        """Let in who has the password."""
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password == b"SECRET", handled=False)


@contextmanager
def mail_receiver(**options):
    """A mail server, for as long as it is wanted, and its port."""
    receiver = MailReceiver()
    controller = Controller(receiver, hostname="127.0.0.1", port=free_port(), authenticator=receiver.login, **options)
    controller.start()
    try:
        yield receiver, controller.port
    finally:
        controller.stop()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
