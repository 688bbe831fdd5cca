"""Keys: what is kept of one, and what makes one no good."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from bess_pipeline.api.keys import Keys, KeysError
from bess_pipeline.cli import app

NOW = datetime.now(UTC)


@pytest.fixture
def keys(tmp_path):
    return Keys(tmp_path / "api" / "keys.json")


def test_a_key_is_known_by_what_was_shown_once_and_by_nothing_else(keys, tmp_path):
    token = keys.add("dashboard", ["read"], ["alpha"])
    key = keys.of(token, NOW)
    assert (key.name, key.scopes, key.fleets) == ("dashboard", ("read",), ("alpha",))
    other = keys.add("loader", ["ingest"])
    assert keys.of(other, NOW).fleets is None
    mixed = f"{token[:13]}_{other[14:]}"
    for wrong in ("", "bess_", token[:-1], token + "A", token.upper(), mixed, token.replace("bess", "BESS")):
        assert keys.of(wrong, NOW) is None


def test_the_file_holds_no_key_and_is_its_users_alone(keys, tmp_path):
    token = keys.add("dashboard", ["read"])
    file = tmp_path / "api" / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert token.split("_", 2)[2] not in file.read_text()
    assert len(json.loads(file.read_text())[0]["digest"]) == 64


def test_what_is_revoked_or_expired_is_no_good_and_stays_on_record(keys):
    first = keys.add("a", ["read"])
    second = keys.add("b", ["read"], expires_at=NOW + timedelta(hours=1))
    assert keys.of(second, NOW + timedelta(minutes=59))
    assert keys.of(second, NOW + timedelta(hours=1)) is None
    # Another process, such as a server, sees it at once.
    elsewhere = Keys(keys._path)
    assert elsewhere.of(first, NOW)
    keys.revoke("a")
    assert elsewhere.of(first, NOW) is None
    assert [key.name for key in elsewhere.every()] == ["a", "b"]
    with pytest.raises(KeysError, match="there is no key 'a' that is good"):
        keys.revoke("a")
    again = keys.add("a", ["read"])
    assert keys.of(again, NOW)


def test_a_name_is_one_keys_and_a_key_is_for_something(keys):
    keys.add("a", ["read"])
    with pytest.raises(KeysError, match="already"):
        keys.add("a", ["ingest"])
    for name, scopes, fleets in ((" ", ["read"], None), ("b", [], None), ("b", ["read"], [])):
        with pytest.raises(KeysError, match="needs a name"):
            keys.add(name, scopes, fleets)


@pytest.mark.usefixtures("every_processor")
def test_keys_that_are_made_at_once_are_all_kept(keys):
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda n: Keys(keys._path).add(f"k{n}", ["read"]), range(24)))
    assert sorted(keys.of(token, NOW).name for token in tokens) == sorted(f"k{n}" for n in range(24))


def test_a_damaged_file_lets_nobody_in(keys):
    token = keys.add("a", ["read"])
    keys._path.write_text('[{"key_id": "x"}]')
    with pytest.raises(KeysError, match="damaged"):
        keys.of(token, NOW)


def test_the_command_makes_lists_and_revokes(home):
    def typed(*words):
        return CliRunner().invoke(app, ["key", *words])

    assert "bess key add" in typed("list").output
    made = typed("add", "site a", "--scope", "ingest", "--scope", "read", "--fleet", "alpha")
    token = made.stdout.strip()
    assert token.startswith("bess_")
    assert "no fleet alpha yet" in made.stderr
    (key,) = Keys(home.api_keys).every()
    assert (key.name, key.scopes, key.fleets) == ("site a", ("read", "ingest"), ("alpha",))
    assert Keys(home.api_keys).of(token, NOW) == key
    listed = typed("list").output
    assert "site a" in listed
    assert token not in listed
    assert typed("add", "x", "--scope", "everything").exit_code == 1
    assert typed("add", "x", "--until", "2020-01-01").exit_code == 1
    assert typed("add", "site a").exit_code == 1
    assert "revoked site a" in typed("revoke", key.key_id).output
    assert typed("revoke", key.key_id).exit_code == 1
    assert "revoked" in typed("list").output
