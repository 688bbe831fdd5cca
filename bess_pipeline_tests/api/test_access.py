"""Who may ask what: with keys, without, and with those of somebody else."""

import json
import socket
import threading
import time
from urllib.parse import quote

import pytest
import uvicorn
from fastapi.testclient import TestClient

from bess_pipeline.api.app import create_app
from bess_pipeline.api.bodies import Bodies
from bess_pipeline.api.keys import Keys
from bess_pipeline_tests.api.made_site import ODD, settled

HERE = "http://127.0.0.1"


def asking_of(settings, **others):
    return TestClient(create_app(settings.model_copy(update=others)), base_url=HERE, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def tokens(site):
    keys = Keys(site.api_keys)
    return {
        "all": keys.add("all", ["read", "ingest", "operate"]),
        "read": keys.add("read", ["read"]),
        "ingest": keys.add("ingest", ["ingest"]),
        "operate": keys.add("operate", ["operate"]),
        "beta": keys.add("beta", ["read", "ingest", "operate"], ["beta"]),
    }


@pytest.fixture(scope="module")
def guarded(site, tokens):
    """The API where every request needs a key."""
    with asking_of(site, api_needs_key=True) as asking:
        yield asking


def shown(token):
    return {"Authorization": f"Bearer {token}"}


def operations(client):
    """Every operation, with values in the place of its parameters."""
    described = client.get("/openapi.json").json()
    filled = {"fleet_id": "alpha", "battery_id": "b2", "event_id": "e2", "job_id": "YWxwaGEveC5jc3Y"}
    for path, ways in described["paths"].items():
        for method in ways:
            yield method.upper(), path.format(**filled)


def test_where_keys_are_needed_every_operation_needs_one(guarded):
    asked = [(method, path) for method, path in operations(guarded) if path != "/health"]
    assert len(asked) >= 22
    for number, (method, path) in enumerate(asked):
        # Each from an address of its own: what is slowed down is told below.
        with TestClient(guarded.app, base_url=HERE, client=(f"10.0.0.{number}", 1)) as asking:
            told = asking.request(method, path)
            assert told.status_code == 401, path
            assert told.headers["www-authenticate"].startswith("Bearer")
            assert asking.request(method, path, headers=shown("bess_00000000_" + "A" * 43)).status_code == 401
            assert asking.request(method, path, headers={"Authorization": "Basic YTpi"}).status_code == 401
    assert guarded.get("/health").status_code == 200


def test_the_description_says_that_a_key_is_needed_where_one_is(guarded, client):
    told = guarded.get("/openapi.json").json()
    assert told["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert told["paths"]["/api/v1/fleets"]["get"]["security"] == [{"key": []}]
    assert "security" not in told["paths"]["/health"]["get"]
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


def test_a_key_is_good_for_its_scopes_alone(guarded, tokens):
    for method, path in operations(guarded):
        if path == "/health":
            continue
        good = {"ingest"} if path.endswith("/process") else {"operate"} if path.endswith("/feedback") else {"read"}
        good |= {"ingest"} if "/jobs/" in path else set()
        for scope in ("read", "ingest", "operate"):
            told = guarded.request(method, path, headers=shown(tokens[scope]))
            assert (told.status_code == 403) == (scope not in good), (path, scope)


def test_who_may_see_one_fleet_sees_nothing_of_another_whatever_is_asked(guarded, tokens):
    seen = 0
    for method, path in operations(guarded):
        if method != "GET":
            continue
        for query in ({}, {"fleet_id": "alpha"}, {"limit": 10_000}):
            every = guarded.get(path, params=query, headers=shown(tokens["all"]))
            told = guarded.get(path, params=query, headers=shown(tokens["beta"]))
            held = json.dumps(told.json().get("items", []))
            assert '"alpha"' not in held, path
            seen += '"alpha"' in every.text and told.status_code == 200
    assert seen >= 6
    told = guarded.get("/api/v1/fleets", headers=shown(tokens["beta"])).json()["items"]
    assert [fleet["fleet_id"] for fleet in told] == ["beta"]
    assert guarded.get("/api/v1/fleets/alpha/daily", headers=shown(tokens["beta"])).status_code == 404
    assert guarded.get(f"/api/v1/metrics/{quote(ODD, safe='')}", headers=shown(tokens["beta"])).status_code == 404
    # An id that both have is not ambiguous to who sees one of them.
    assert guarded.get("/api/v1/metrics/b1", headers=shown(tokens["all"])).status_code == 409
    assert guarded.get("/api/v1/metrics/b1", headers=shown(tokens["beta"])).status_code == 200
    assert guarded.get("/api/v1/events/e0", headers=shown(tokens["all"])).json()["fleet_id"] == "alpha"
    assert guarded.get("/api/v1/events/e0", headers=shown(tokens["beta"])).status_code == 404
    said = {"verdict": "dismissed"}
    path = "/api/v1/events/e0/feedback"
    assert guarded.post(path, json=said, headers=shown(tokens["beta"])).status_code == 404


def test_what_one_may_keep_of_an_answer_is_nothing_to_another(guarded, tokens):
    mine = guarded.get("/api/v1/batteries", headers=shown(tokens["beta"]))
    every = guarded.get("/api/v1/batteries", headers=shown(tokens["all"]))
    assert mine.headers["etag"] != every.headers["etag"]
    headers = shown(tokens["beta"])
    assert (
        guarded.get("/api/v1/batteries", headers=headers | {"If-None-Match": every.headers["etag"]}).status_code == 200
    )
    assert (
        guarded.get("/api/v1/batteries", headers=headers | {"If-None-Match": mine.headers["etag"]}).status_code == 304
    )
    assert "Authorization" in mine.headers["vary"]


def test_a_key_that_is_revoked_is_refused_at_once(guarded, site):
    keys = Keys(site.api_keys)
    token = keys.add("short", ["read"])
    assert guarded.get("/api/v1/fleets", headers=shown(token)).status_code == 200
    keys.revoke("short")
    assert guarded.get("/api/v1/fleets", headers=shown(token)).status_code == 401


def test_a_key_that_asks_too_often_waits_and_the_others_do_not(site, tokens):
    with asking_of(site, api_needs_key=True, api_requests_per_minute=3) as asking:
        told = [asking.get("/api/v1/fleets", headers=shown(tokens["read"])) for _ in range(5)]
        assert [one.status_code for one in told] == [200, 200, 200, 429, 429]
        assert 1 <= int(told[-1].headers["retry-after"]) <= 60
        assert asking.get("/api/v1/fleets", headers=shown(tokens["all"])).status_code == 200


def test_who_tries_keys_is_slowed_down_and_who_has_one_is_not(site, tokens):
    with asking_of(site, api_needs_key=True) as asking:
        tried = [asking.get("/api/v1/fleets", headers=shown("x")).status_code for _ in range(25)]
        assert tried == [401] * 20 + [429] * 5
        assert asking.get("/api/v1/fleets", headers=shown(tokens["read"])).status_code == 200


def test_a_wrong_key_is_refused_also_where_none_is_needed(client):
    assert client.get("/api/v1/fleets").status_code == 200
    assert client.get("/api/v1/fleets", headers=shown("x")).status_code == 401


@pytest.mark.parametrize(
    ("host", "is_open"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("pc", False)]
)
def test_without_a_key_it_answers_on_the_machine_itself_alone(site, host, is_open):
    with asking_of(site, api_host=host) as asking:
        assert asking.get("/api/v1/fleets").status_code == (200 if is_open else 401)


def test_a_page_of_somebody_else_changes_nothing_and_reads_nothing(client, site):
    said, path = {"verdict": "annotated", "note": "x"}, "/api/v1/events/none/feedback"
    elsewhere = {"Origin": "https://evil.example"}
    assert client.post(path, json=said, headers=elsewhere).status_code == 403
    assert client.post(path, json=said, headers={"Origin": "null"}).status_code == 403
    assert client.post("/api/v1/process", files={"file": b"x"}, headers=elsewhere).status_code == 403
    assert client.post(path, json=said, headers={"Origin": HERE}).status_code == 404
    assert client.post(path, json=said).status_code == 404
    assert "access-control-allow-origin" not in client.get("/api/v1/fleets", headers=elsewhere).headers
    asked = elsewhere | {"Access-Control-Request-Method": "POST"}
    assert client.options(path, headers=asked).status_code == 405
    with asking_of(site, api_origins=("https://ops.example",)) as asking:
        friend = {"Origin": "https://ops.example"}
        assert asking.get("/api/v1/fleets", headers=friend).headers["access-control-allow-origin"] == friend["Origin"]
        assert asking.post(path, json=said, headers=friend).status_code == 404
        assert asking.post(path, json=said, headers=elsewhere).status_code == 403
        assert "access-control-allow-origin" not in asking.get("/api/v1/fleets", headers=elsewhere).headers


def test_damaged_keys_let_nobody_in_and_say_nothing(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "keys.json").write_text("{")
    with asking_of(settled(tmp_path), api_needs_key=True) as asking:
        told = asking.get("/api/v1/fleets", headers=shown("bess_00000000_" + "A" * 43))
        assert told.status_code == 503
        assert str(tmp_path) not in told.text


@pytest.fixture
def served(site):
    """A server that takes no body longer than 100,000 bytes and waits for a second; its port."""
    app = create_app(site.model_copy(update={"api_largest_upload_bytes": 100_000}))
    for place in app.user_middleware:
        if place.cls is Bodies:
            place.kwargs["patience_seconds"] = 1
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [held]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield held.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def sent(port, text, *more, wait=0.0):
    """The answer to what is sent as it stands, as far as it comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(text.replace("\n", "\r\n").encode())
        try:
            for part in more:
                time.sleep(wait)
                line.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        while block := line.recv(65536):
            answer += block
            if b"\r\n\r\n" in answer and b"problem+json" in answer and answer.rstrip().endswith(b"}"):
                break
        return answer.decode()


def head(path, *lines):
    return "\n".join([f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""])


def test_a_length_that_is_claimed_is_refused_before_anything_is_taken(served):
    form = "Content-Type: multipart/form-data; boundary=x"
    told = sent(served, head("/api/v1/process", form, "Content-Length: 10737418240"))
    assert told.startswith("HTTP/1.1 413")
    assert "deliver it in parts" in told
    told = sent(served, head("/api/v1/events/e0/feedback", "Content-Length: 10000000"))
    assert told.startswith("HTTP/1.1 413")


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off(served):
    form = "Content-Type: multipart/form-data; boundary=x"
    begun = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (begun, *[b"a" * 60_000] * 4)]
    told = sent(served, head("/api/v1/process", form, "Transfer-Encoding: chunked"), *chunks)
    assert told.startswith("HTTP/1.1 413")


def test_a_client_that_stalls_is_not_waited_for(served):
    form = "Content-Type: multipart/form-data; boundary=x"
    told = sent(served, head("/api/v1/process", form, "Content-Length: 500"), b"--x\r\n")
    assert told.startswith("HTTP/1.1 408")
    told = sent(
        served, head("/api/v1/events/e0/feedback", "Content-Type: application/json", "Content-Length: 50"), b"{"
    )
    assert told.startswith("HTTP/1.1 408")


def test_other_requests_are_answered_while_a_client_stalls(served):
    with socket.create_connection(("127.0.0.1", served)) as slow:
        slow.sendall(b"POST /api/v1/process HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
        told = sent(served, "GET /api/v1/fleets HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n")
        assert told.startswith("HTTP/1.1 200")
