"""The ways to people, to real servers on loopback."""

import logging
import ssl
from dataclasses import replace
from datetime import timedelta
from email import message_from_bytes, policy

import pytest
import trustme

from bess_pipeline.alerting import messages
from bess_pipeline.alerting.channels import channels, least_severities
from bess_pipeline.alerting.outbox import Failure
from bess_pipeline.config import Settings
from bess_pipeline.tables.alerts import NO_FLEET
from bess_pipeline_tests.alerting.made_alerts import NOW, message
from bess_pipeline_tests.receivers import free_port, mail_receiver, web_receiver

MAIL = {
    "alert_email_host": "localhost", "alert_email_from": "bess@example.com", "alert_email_security": "none",
    "alert_email_to": "ann@example.com ben@example.com",
}  # fmt: skip


@pytest.fixture(scope="module")
def receiver():
    with web_receiver() as one:
        yield one


@pytest.fixture
def web(receiver):
    """A web server that takes everything, and has taken nothing."""
    receiver.bodies.clear()
    receiver.status, receiver.says, receiver.headers = 200, "ok", {}
    return receiver


def webhook(url, kind="json"):
    _, channel = channels(Settings(alert_webhooks=f"ops:{kind}={url}"))
    return channel


def mailing(port, **settings):
    _, channel = channels(Settings(**MAIL | {"alert_email_port": port} | settings))
    return channel


@pytest.mark.parametrize(
    ("kind", "shape"), [("slack", messages.slack), ("teams", messages.teams), ("json", messages.plain)]
)
@pytest.mark.parametrize("number", [1, 3])
def test_a_webhook_gets_the_shape_of_its_kind(web, kind, shape, number):
    web.status = 202
    many = message(number)
    assert webhook(web.url, kind).send(many, now=NOW) is None
    assert web.bodies == [shape(many)]


@pytest.mark.parametrize(
    ("status", "says", "expected"),
    [
        (500, "<html>T0SECRET</html>", Failure("answered 500")),
        (404, "no_service", Failure("answered 404 no_service")),
        (400, "invalid_blocks", Failure("answered 400 invalid_blocks", refused=True)),
        (302, "", Failure("answered 302")),
        (0, "", Failure("no answer: ConnectionError, RemoteDisconnected")),
    ],
)
def test_a_webhook_that_does_not_take_it_says_why(web, status, says, expected):
    web.status, web.says = status, says
    assert webhook(web.url).send(message(), now=NOW) == expected


@pytest.mark.parametrize(("asked", "granted"), [("120", 120), ("100000", 3600), ("tomorrow", 0)])
def test_a_webhook_that_asks_for_time_gets_up_to_an_hour(web, asked, granted):
    web.status, web.headers = 429, {"Retry-After": asked}
    assert webhook(web.url).send(message(), now=NOW).retry_after == timedelta(seconds=granted)


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:{port}/T0SECRET", "http://user:SECRET@nowhere.invalid/T0SECRET?k=SECRET"]
)
def test_the_address_of_a_webhook_is_in_no_failure_and_in_no_log(address, caplog):
    """The texts of the errors of `requests` hold it: this one is kept from them."""
    channel = webhook(address.format(port=free_port()))
    with caplog.at_level(logging.DEBUG):
        failure = channel.send(message(), now=NOW)
    assert failure.text.startswith("no answer: ConnectionError")
    told = f"{failure} {channel} {caplog.text}"
    assert "SECRET" not in told
    assert "nowhere" not in told


def test_a_webhook_that_answers_is_not_in_the_log_either(web, caplog):
    with caplog.at_level(logging.DEBUG):
        webhook(web.url).send(message(), now=NOW)
    assert "SECRET" not in caplog.text


def test_the_log_gets_a_line_for_each_message(caplog):
    (log,) = channels(Settings())
    assert log.send(message(1, severity="critical"), now=NOW) is None
    assert log.send(message(2), now=NOW) is None
    first, second = caplog.records
    assert (first.levelname, second.levelname) == ("ERROR", "WARNING")
    assert first.message.startswith("critical: alpha / rack-0: thermal: hot_spot: Began yesterday. Look at the fan.")
    assert second.message.startswith("2 alerts: 2 warning: ")
    assert (first.fleet, second.fleet) == ("alpha", "alpha")


def test_a_line_of_several_fleets_or_of_none_is_marked_with_none(caplog):
    (log,) = channels(Settings())
    (one,) = message()
    for many in ([one, replace(one, fleet_id="beta")], [replace(one, fleet_id=NO_FLEET)]):
        assert log.send(many, now=NOW) is None
    assert not any(hasattr(record, "fleet") for record in caplog.records)
    assert len(caplog.records) == 2


def test_a_mail_reaches_every_recipient():
    with mail_receiver() as (post, port):
        assert mailing(port).send(message(), now=NOW) is None
    (mail,) = post.mails
    assert post.recipients == [["ann@example.com", "ben@example.com"]]
    assert message_from_bytes(mail, policy=policy.default)["Subject"].startswith("[BESS] warning: alpha / rack-0")


def test_a_mail_that_reaches_some_recipients_is_delivered_and_one_that_reaches_none_is_not(caplog):
    with mail_receiver() as (post, port):
        post.refuses = {"ben@example.com"}
        assert mailing(port).send(message(), now=NOW) is None
        assert "1 of 2 recipients" in caplog.text
        post.refuses.add("ann@example.com")
        assert mailing(port).send(message(), now=NOW) == Failure("all 2 recipients were refused")
    assert post.recipients == [["ann@example.com"]]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("554 too much like spam", Failure("SMTPDataError: answered 554", refused=True)),
        ("451 later", Failure("SMTPDataError: answered 451")),
    ],
)
def test_a_mail_server_that_does_not_take_it_says_why(answer, expected):
    with mail_receiver() as (post, port):
        post.answer = answer
        assert mailing(port).send(message(), now=NOW) == expected


def test_without_a_mail_server_the_failure_says_so():
    assert mailing(free_port()).send(message(), now=NOW) == Failure("ConnectionRefusedError, ECONNREFUSED")


@pytest.fixture(scope="module")
def certificate():
    return trustme.CA()


@pytest.fixture
def trusted(certificate, tmp_path, monkeypatch):
    """An authority whose certificates this process trusts, and options of a mail server that has one of them."""
    file = tmp_path / "ca.pem"
    certificate.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


def encrypting(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.issue_cert("localhost").configure_cert(context)
    return {"tls_context": context}


@pytest.mark.parametrize(
    ("password", "expected"), [("SECRET", None), ("wrong", Failure("SMTPAuthenticationError: answered 535"))]
)
def test_a_login_goes_through_an_encrypted_connection(certificate, trusted, password, expected):
    with mail_receiver(**encrypting(certificate)) as (post, port):
        login = {"alert_email_user": "bess", "alert_email_password": password}
        channel = mailing(port, alert_email_security="starttls", **login)
        assert channel.send(message(), now=NOW) == expected
    assert set(post.logins) == {"bess"}
    assert len(post.mails) == (expected is None)
    assert "SECRET" not in repr(channel)


def test_a_mail_server_that_cannot_encrypt_or_is_not_who_it_says_gets_nothing(certificate):
    with mail_receiver() as (post, port):
        refused = mailing(port, alert_email_security="starttls").send(message(), now=NOW)
        assert refused == Failure("SMTPNotSupportedError")
    with mail_receiver(**encrypting(certificate)) as (other, port):
        refused = mailing(port, alert_email_security="starttls").send(message(), now=NOW)
        assert refused == Failure("SSLCertVerificationError, EPERM")
    assert (post.mails, other.mails) == ([], [])


def test_the_log_is_always_a_channel_and_severities_go_by_name():
    settings = Settings(
        alert_webhooks="slack=https://a.example ops:json=https://b.example",
        alert_least_severity="ops=critical", **MAIL,
    )  # fmt: skip
    assert least_severities(settings) == {"log": "info", "slack": "info", "ops": "critical", "email": "info"}
