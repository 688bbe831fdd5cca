"""The files of a deployment: the image, docker-compose.yml, the units of systemd. No container runs here."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from importlib import resources
from pathlib import Path

import dagster_webserver.cli
import jsonschema
import pytest
import typer
import yaml
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli

from bess_pipeline.cli import app
from bess_pipeline.config import Settings
from bess_pipeline.defs.deployment import prepared
from bess_pipeline.lake.store import Lake

ROOT = Path(__file__).parents[1]
UNITS = ROOT / "deploy" / "systemd"

#: How the programs of the image read what stands behind their names.
PROGRAMS = {
    "bess": typer.main.get_command(app),
    "dagster": create_dagster_cli(),
    "dagster-daemon": create_dagster_daemon_cli(),
    "dagster-webserver": dagster_webserver.cli.dagster_webserver,
}
#: A variable in docker-compose.yml, and what follows where it is not set: nothing, a default, or a message.
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")

#: Until somebody has it stopped.
WAITS = "until [ -e stopped ]; do sleep 0.05; done"


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def example():
    """The variables of .env.example and their values."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def commands():
    """Every command of a service and of a unit, with where it stands."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name, service in services.items():
        test = service["healthcheck"].get("test", ["CMD"])[1:]
        for words in (service.get("command", []), test):
            if service["image"].startswith("bess-pipeline:") and words:
                yield pytest.param([str(word) for word in words], id=f"{name} {words[0]}")
    for unit in UNITS.glob("*.service"):
        (line,) = re.findall(r"^ExecStart=/opt/bess/venv/bin/(.*)$", unit.read_text(), re.MULTILINE)
        yield pytest.param(shlex.split(line), id=unit.name)


def parsed(command, words):
    """What a program makes of its words, down to the last of its subcommands; nothing is run."""
    context = command.make_context(command.name, list(words), resilient_parsing=False)
    # Typer has a click of its own: what is a group is told by what it can do.
    if hasattr(command, "resolve_command"):
        name, inner, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None, name
        return parsed(inner, rest)
    return context


def test_compose_is_what_the_compose_specification_says(compose):
    schema = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(compose, json.loads(schema.read_text()))


def test_every_variable_is_in_the_example_with_the_same_default_and_none_is_left_over(example):
    used = VARIABLE.findall((ROOT / "docker-compose.yml").read_text())
    assert {name for name, _, _ in used} | {"COMPOSE_PROFILES"} == set(example)
    for name, kind, default in used:
        assert kind, f"{name} has neither a default nor a message for when it is missing"
        if kind == "-":
            assert example[name] == default, name


def test_no_secret_has_a_default_that_works(example):
    used = VARIABLE.findall((ROOT / "docker-compose.yml").read_text())
    secrets = {name for name in example if re.search("PASSWORD|SECRET|ACCESS_KEY", name)}
    assert {(example[name], kind) for name, kind, _ in used if name in secrets} == {("", "?")}


def test_every_service_is_pinned_watched_and_held_in(compose):
    for name, service in compose["services"].items():
        image, _, tag = service["image"].partition(":")
        assert re.match(r"\$\{BESS_VERSION:\?" if image == "bess-pipeline" else r"\d+\.\d+", tag), name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "stop_grace_period" in service, name
        once = service["restart"] == "on-failure:5"
        assert once or service["restart"] == "unless-stopped", name
        assert service["healthcheck"].get("disable", False) == once, name


def test_the_image_is_built_once_and_never_pulled(compose):
    ours = {name: one for name, one in compose["services"].items() if one["image"].startswith("bess-pipeline:")}
    assert [name for name, service in ours.items() if "build" in service] == ["prepare"]
    assert {service["pull_policy"] for service in ours.values()} == {"never"}


def test_what_starts_after_something_waits_for_it_to_be_well(compose):
    services = compose["services"]
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            once = services[other]["restart"] == "on-failure:5"
            assert wait["condition"] == ("service_completed_successfully" if once else "service_healthy"), name


def test_a_container_that_may_not_be_written_gets_no_file_of_composes_own(compose):
    """Compose copies a config's content into the container; Docker refuses that where the container is read-only."""
    assert "configs" not in compose
    assert not [name for name, service in compose["services"].items() if "configs" in service or "secrets" in service]


def test_a_root_that_becomes_another_user_may_still_tell_it_to_stop(compose):
    """Without it the first process cannot pass a signal on: the store would be killed at every stop."""
    for name, service in compose["services"].items():
        if "SETUID" in service.get("cap_add", []):
            assert "KILL" in service["cap_add"], name


def test_the_store_knows_its_keys_by_a_file_that_the_shell_makes_of_them(compose, tmp_path):
    (script,) = compose["services"]["store"]["command"]
    made = script.replace("$$", "$").replace("/tmp/", f"{tmp_path}/").partition("exec ")[0]  # noqa: S108
    known = {"AWS_ACCESS_KEY_ID": "name1", "AWS_SECRET_ACCESS_KEY": "secret2"}
    subprocess.run(["/bin/sh", "-ec", made], env=known, check=True)
    (identity,) = json.loads((tmp_path / "s3.json").read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": "name1", "secretKey": "secret2"}]


def test_ports_are_on_loopback_unless_somebody_says_otherwise(compose, example):
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    binds = [VARIABLE.match(port) for port in ports]
    assert [bind and bind.groups() for bind in binds] == [
        ("BESS_BIND", "-", "127.0.0.1"), ("BESS_API_BIND", "-", "127.0.0.1"),
    ]  # fmt: skip
    assert example["BESS_BIND"] == example["BESS_API_BIND"] == "127.0.0.1"


def test_secrets_go_only_where_they_are_needed(compose):
    knows = {name for name, service in compose["services"].items() if "AWS_SECRET" in json.dumps(service)}
    assert knows == {"prepare", "code", "api", "store"}
    records = {name for name, service in compose["services"].items() if "POSTGRES_PASSWORD" in json.dumps(service)}
    assert records == {"database", "prepare", "code", "daemon", "webserver"}


@pytest.mark.parametrize("words", list(commands()))
def test_each_command_is_one_that_there_is(words):
    program, *rest = words
    if program == "python":
        compile(rest[1], program, "exec")
    else:
        here = ROOT / "deploy" / "workspace.yaml"
        parsed(PROGRAMS[program], [word.replace("/etc/bess/workspace.yaml", str(here)) for word in rest])


@pytest.mark.parametrize(
    "words", ["bess serv", "bess serve --port 1", "dagster api grpcs", "dagster-daemon run --wrkspace x"]
)
def test_a_command_that_there_is_not_is_refused(words):
    program, *rest = words.split()
    with pytest.raises(Exception, match="No such"):
        parsed(PROGRAMS[program], rest)


def test_what_a_command_names_is_in_the_image():
    image = (ROOT / "Dockerfile").read_text()
    assert "deploy/workspace.yaml /etc/bess/workspace.yaml" in image
    (location,) = yaml.safe_load((ROOT / "deploy" / "workspace.yaml").read_text())["load_from"]
    assert location["grpc_server"] == {"host": "code", "port": 4000, "location_name": "bess_pipeline.definitions"}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.MULTILINE) for word in line.split()}
    assert kept == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_is_pinned_and_runs_as_nobody_in_particular():
    image = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON=python:\d+\.\d+\.\d+-slim-\w+$", image, re.MULTILINE)
    assert image.count("FROM ${PYTHON}") == len(re.findall("^FROM", image, re.MULTILINE)) == 3
    assert re.findall(r"^USER (.*)$", image, re.MULTILINE) == ["10001:10001"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"BESS_VERSION={version}\n" in (ROOT / ".env.example").read_text()


def test_the_dockerfile_has_nothing_that_hadolint_minds():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_finds_no_fault_in_the_units(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not there: no systemd-analyze")
    shutil.copytree(UNITS, tmp_path, dirs_exist_ok=True)
    units = [*tmp_path.glob("*.service"), tmp_path / "bess.target"]
    for unit in units:
        unit.write_text(unit.read_text().replace("/opt/bess/venv/bin", str(Path(sys.executable).parent)))
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("ends", "stopped", "code"), [("exit 2", False, 2), ("exit 0", False, 0), (WAITS, True, 130)])
def test_a_command_on_the_units_ends_as_it_ended_there_and_one_that_was_stopped_as_stopped(
    tmp_path, ends, stopped, code
):
    for name, does in {"systemd-run": f"sleep 0.2; touch begun; {ends}", "systemctl": 'echo "$@" >stopped'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    asked = subprocess.Popen(
        [UNITS / "bess", "status"], cwd=tmp_path, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL
    )
    if stopped:
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        asked.send_signal(signal.SIGTERM)
    assert asked.wait(60) == code
    assert (tmp_path / "stopped").exists() == stopped
    if stopped:
        assert (tmp_path / "stopped").read_text() == f"stop bess-ask-{asked.pid}\n"


def test_a_deployment_is_prepared_once_and_what_is_there_stays(home):
    said = prepared(home)
    assert str(home.root) in said
    assert all(folder.is_dir() for folder in (home.fleets, home.landing, home.warehouse.parent))
    assert Lake(home.lake).outdated() == []
    settings = home.dagster_home / "dagster.yaml"
    settings.write_text("telemetry: {enabled: false}\n")
    assert prepared(Settings()) == said
    assert settings.read_text() == "telemetry: {enabled: false}\n"


def test_the_marked_blocks_of_the_runbook_run_as_they_stand_there(tmp_path):
    text = (ROOT / "docs" / "operations.md").read_text()
    blocks = re.findall(r"^<!-- runbook -->\n```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    program = tmp_path / "bin" / "bess"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bess_pipeline "$@"\n')
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BESS_", "DAGSTER_"))}
    environment |= {"PATH": f"{program.parent}:{environment['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Lake(str(tmp_path / "restored" / "lake")).outdated() == []
    assert Lake(str(tmp_path / "elsewhere")).outdated() == []
