"""Alerts from where they begin to where they arrive, on a deployment of a folder."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.partitions.subset.default import DefaultPartitionsSubset
from dagster._core.utils import make_new_run_id

from bess_pipeline.alerting.channels import channels
from bess_pipeline.definitions import defs
from bess_pipeline.defs import alerts, resources
from bess_pipeline.defs.alert_sources import Seen
from bess_pipeline.defs.instance import prepare
from bess_pipeline.defs.partitions import day_key
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.feedback import say
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline.tables.alerts import NO_FLEET
from bess_pipeline.tables.anomalies import AnomalyEvent
from bess_pipeline.tables.landing import LandingDay
from bess_pipeline_tests.alerting.test_occasions import broken, noticed
from bess_pipeline_tests.lake.test_views import happened
from bess_pipeline_tests.receivers import WebReceiver, mail_receiver, web_receiver

NOW = datetime.now(UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CHECKS = sorted(defs.resolve_asset_graph().asset_check_keys, key=str)
PROVENANCE = {"run_id": "r", "code_version": "1", "register_version": "1"}


@dg.op
def read_files():
    raise OSError("disk is full")


@dg.job
def telemetry():
    read_files()


@dg.job
def publish():
    read_files()


class Process:
    """A process of the deployment: what it remembers, apart from what lies in the home, goes with it."""

    def __init__(self, home, instance, cursor=None):
        resources._lake.cache_clear()
        self._instance, self.cursor = instance, cursor

    def sensor(self, sensor):
        """One tick of a sensor, as the daemon would have it."""
        with dg.build_sensor_context(
            self._instance, cursor=self.cursor, definitions=defs, resources={"home": Home()}
        ) as context:
            said = sensor(context) if sensor is alerts.alerts_raised else sensor(home=Home())
            self.cursor = context.cursor
        return said.skip_message

    def raise_alerts(self):
        """One tick of the sensor that looks."""
        return int(self.sensor(alerts.alerts_raised).split()[0])

    def look(self, now):
        """The same at another time."""
        looked = alerts.look(Home(), self._instance, CHECKS, Seen.from_cursor(self.cursor), now=now)
        self.cursor = looked.seen.to_cursor()
        return looked.new

    def send(self, now=None):
        """One tick of the sensor that sends, now or at another time."""
        if now is None:
            return int(self.sensor(alerts.alerts_sent).split()[0])
        return alerts.send_waiting(Home(), channels(Home().settings), clock=lambda: now)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A deployment on which nothing has happened yet."""
    root = tmp_path_factory.mktemp("empty")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BESS_HOME", str(root))
        prepare(Home().settings)
        Home().lake.create()
        with dg.DagsterInstance.from_config(str(Home().settings.dagster_home)) as instance:
            instance.get_runs_count()
    return root


@pytest.fixture
def instance(empty, home):
    shutil.copytree(empty, home.root, dirs_exist_ok=True)
    with dg.DagsterInstance.from_config(str(home.dagster_home)) as instance:
        yield instance


@pytest.fixture
def process(home, instance):
    return Process(home, instance)


@pytest.fixture
def web(monkeypatch):
    """A web server that takes our JSON, and is where alerts go."""
    with web_receiver() as receiver:
        monkeypatch.setenv("BESS_ALERT_WEBHOOKS", f"ops:json={receiver.url}")
        yield receiver


def raise_events(*names, fleet="f", **columns):
    """Events of a fleet, all that it has, each of another battery."""
    rows = [
        happened(name, fleet_id=fleet, battery_id=f"rack {name}", **{
            "detected_at": NOW - HOUR, "detected_on": (NOW - HOUR).date(), "started_at": NOW - 5 * HOUR,
            "ended_at": None,
        } | columns)
        for name in names
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=AnomalyEvent.create_empty().schema)
    signed = frame.with_columns(pl.lit(value).alias(name) for name, value in PROVENANCE.items())
    Home().lake.replace(catalog.ANOMALY_EVENTS, signed, Slice(fleet))


def put_down():
    return Home().lake.read(catalog.ALERTS)


def deliveries():
    return Home().lake.read(catalog.ALERT_DELIVERIES)


def test_a_failed_run_is_told_once_with_its_reason_and_its_page(process, instance, web, monkeypatch):
    monkeypatch.setenv("BESS_DAGSTER_URL", "https://dagster.example/")
    ended = telemetry.execute_in_process(instance=instance, raise_on_error=False, tags={"bess/fleet": "f"})
    for _ in range(2):
        process.raise_alerts()
        process.send()
    (body,) = web.bodies
    (alert,) = body["alerts"]
    assert (alert["fleet_id"], alert["kind"], alert["severity"]) == ("f", "run_failure", "critical")
    assert alert["message"] == "read_files: OSError: disk is full"
    assert alert["link"] == f"https://dagster.example/runs/{ended.run_id}"


def test_the_same_failure_again_is_told_no_more_that_day_and_another_is(process, instance, home):
    for job in (telemetry, telemetry, publish):
        job.execute_in_process(instance=instance, raise_on_error=False)
        process.raise_alerts()
    assert put_down()["subject"].sort().to_list() == ["run of publish failed", "run of telemetry failed"]
    assert put_down()["fleet_id"].unique().to_list() == [NO_FLEET]


def test_runs_that_failed_while_nobody_looked_are_told_however_long_that_was(process, instance, home, monkeypatch):
    """And at the very first look, those of the last week."""
    telemetry.execute_in_process(instance=instance, raise_on_error=False)
    assert Process(home, instance).look(NOW + 8 * DAY) == 0
    process.cursor = Seen((NOW - DAY).isoformat(), 0).to_cursor()
    assert process.look(NOW + 30 * DAY) == 1


def test_more_runs_than_one_tick_looks_at_are_all_looked_at(process, instance, home, monkeypatch):
    monkeypatch.setattr("bess_pipeline.defs.alert_sources._RUNS_AT_ONCE", 2)
    for fleet in "abc":
        telemetry.execute_in_process(instance=instance, raise_on_error=False, tags={"bess/fleet": fleet})
    assert [process.raise_alerts() for _ in range(3)] == [2, 1, 0]


def say_of(instance, run_id, kind, facts):
    instance.report_dagster_event(dg.DagsterEvent(kind.value, "fleet", event_specific_data=facts), run_id=run_id)


def answer(instance, check, partition, *, passed, severity=dg.AssetCheckSeverity.WARN):
    """A check of another run says whether all is well."""
    key = next(one for one in CHECKS if one.name == check)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=key.asset_key, check_name=check, passed=passed, severity=severity, description=f"{check} says",
        partition=partition, metadata={},
    )  # fmt: skip
    say_of(instance, make_new_run_id(), dg.DagsterEventType.ASSET_CHECK_EVALUATION, evaluation)


def ask(instance, check, partition):
    """A run is going to ask a check."""
    key = next(one for one in CHECKS if one.name == check)
    planned = AssetCheckEvaluationPlanned(
        asset_key=key.asset_key, check_name=check, partitions_subset=DefaultPartitionsSubset({partition})
    )
    say_of(instance, make_new_run_id(), dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, planned)


def test_checks_that_fail_are_told_by_their_severity_and_those_that_pass_are_not(process, instance, home):
    error = dg.AssetCheckSeverity.ERROR
    answer(instance, "coverage", "f", passed=False)
    answer(instance, "coverage", "g", passed=True)
    answer(instance, "accounting", "f", passed=False, severity=error)
    answer(instance, "rows", day_key("f", "2026-03-01"), passed=False)
    answer(instance, "rows", day_key("f", "2026-03-02"), passed=False, severity=error)
    answer(instance, "units", "f", passed=False)
    answer(instance, "units", "f", passed=True)
    assert [process.raise_alerts(), process.raise_alerts()] == [3, 0]
    told = put_down().select("fleet_id", "severity", "subject").sort("subject").rows()
    assert told == [
        ("f", "critical", "check accounting failed"),
        ("f", "warning", "check coverage warns"),
        ("f", "critical", "check rows of 2026-03-02 failed"),
    ]


def test_a_check_that_goes_on_failing_is_told_once_and_once_more_when_it_fails_again_days_later(process, instance):
    for passed in (False, False):
        answer(instance, "coverage", "f", passed=passed)
        process.raise_alerts()
    assert put_down().height == 1
    answer(instance, "coverage", "f", passed=True)
    answer(instance, "coverage", "f", passed=False)
    assert process.raise_alerts() == 0
    Home().lake.replace(catalog.ALERTS, put_down().with_columns(pl.col("occurred_at") - 2 * DAY), Slice("f"))
    assert process.raise_alerts() == 1


def test_a_check_that_failed_a_moment_before_it_was_asked_again_is_told(process, instance):
    answer(instance, "coverage", "f", passed=False)
    ask(instance, "coverage", "f")
    assert process.raise_alerts() == 1


def test_a_check_that_failed_a_month_ago_is_history(process, instance, home):
    answer(instance, "coverage", "f", passed=False)
    assert process.look(NOW + 30 * DAY) == 0


def test_a_fleet_is_late_after_more_than_two_whole_days_and_is_told_of_once(process, home, monkeypatch):
    (home.fleets / "f.yaml").write_text(
        "fleet_id: f\ncommissioned: 2024-01-01\nsource: {files: a.csv, format: csv}\n"
        "battery: {chemistry: LFP, rated_capacity_ah: 280, cells_in_series: 240}\n"
    )
    newest = NOW.date() - DAY
    rows = [
        {"fleet_id": fleet, "path": "a.csv", "date": newest - ago * DAY, "battery_id": "b", "checksum": "c",
         "clock_version": "", "rows": 9}
        for fleet in ("f", "gone") for ago in range(3)
    ]  # fmt: skip
    frame = pl.DataFrame(rows, schema=LandingDay.create_empty().schema)
    for fleet in ("f", "gone"):
        Home().lake.replace(catalog.LANDING_DAYS, frame.filter(fleet_id=fleet), Slice(fleet))
    assert [process.look(NOW + days * DAY) for days in range(5)] == [0, 0, 0, 1, 0]
    assert put_down()["message"].item().startswith(f"Nothing came since {newest}.")
    monkeypatch.setenv("BESS_ALERT_LATE_DAYS", "30")
    assert process.look(NOW + 40 * DAY) == 0


def test_an_event_is_told_once_and_one_that_was_dismissed_or_is_old_never(process, home, web):
    raise_events("e1", "e2", "e3")
    raise_events("e4", fleet="g", detected_at=NOW - 8 * DAY)
    raise_events("e5", fleet="h", severity="info")
    say(Home().lake, "e2", "dismissed", by="anna")
    for _ in range(2):
        process.raise_alerts()
        process.send()
    assert sorted(alert["battery_id"] for body in web.bodies for alert in body["alerts"]) == ["rack e1", "rack e3"]


def test_a_term_that_is_not_kept_and_a_battery_that_ages_too_fast_are_told_once(process, home, web):
    signed = [pl.lit(value).alias(name) for name, value in PROVENANCE.items()]
    lake = Home().lake
    lake.replace(catalog.WARRANTY_EVENTS, broken(started_at=NOW - HOUR).with_columns(*signed), Slice("alpha"))
    days = noticed(False, True).with_columns(*signed)
    lake.replace(
        catalog.WARRANTY_DAILY,
        days.with_columns(date=pl.col("date") + (NOW.date() - days["date"].max())),
        Slice("alpha"),
    )
    assert [process.raise_alerts() for _ in range(2)] == [2, 0]
    assert sorted(put_down()["kind"]) == ["early_notice", "warranty_event"]


def test_a_backfill_of_years_raises_nothing(process, home):
    raise_events(*(f"e{number}" for number in range(500)), detected_at=NOW - 400 * DAY)
    assert process.raise_alerts() == 0


def test_without_any_channel_alerts_go_to_the_log(process, home, caplog):
    raise_events("e1")
    process.raise_alerts()
    assert process.send() == 1
    assert "f / rack e1: cell: low_cell" in caplog.text


def test_a_restart_between_finding_and_sending_loses_nothing_and_doubles_nothing(process, instance, home, web):
    raise_events("e1", "e2")
    process.raise_alerts()
    another = Process(home, instance, process.cursor)
    another.raise_alerts()
    another.send()
    Process(home, instance, cursor=None).raise_alerts()
    Process(home, instance).send()
    assert sorted(web.ids()) == sorted(put_down()["alert_id"])


def test_a_look_that_died_before_it_was_recorded_raises_nothing_twice(process, instance, home):
    raise_events("e1")
    answer(instance, "coverage", "f", passed=False)
    telemetry.execute_in_process(instance=instance, raise_on_error=False)
    assert process.raise_alerts() == 3
    assert Process(home, instance, cursor=None).raise_alerts() == 0


def test_a_receiver_that_fails_for_a_while_gets_every_alert_once(process, home, web):
    raise_events("e1", "e2")
    process.raise_alerts()
    web.status = 500
    now, tried = NOW + DAY, []
    for _ in range(20):
        process.send(now)
        tried.append(web.refused)
        now += timedelta(seconds=30)
    assert tried[-1] == 5, "after 0, 30, 90, 210 and 450 s"
    assert deliveries().drop_nulls("error")["error"].to_list() == ["answered 500 ok"]
    web.status = 200
    for _ in range(20):
        process.send(now)
        now += timedelta(minutes=1)
    assert sorted(web.ids()) == sorted(put_down()["alert_id"])
    assert deliveries().filter(channel="ops")["delivered_at"].null_count() == 0


def test_a_receiver_that_is_down_holds_up_no_other_and_gets_its_alerts_when_it_is_back(
    process, instance, home, web, monkeypatch
):
    down = WebReceiver()
    down.close()
    monkeypatch.setenv("BESS_ALERT_WEBHOOKS", f"gone:slack={down.url} ops:json={web.url}")
    with mail_receiver() as (post, port):
        for name, value in {
            "HOST": "127.0.0.1",
            "PORT": port,
            "FROM": "bess@example.com",
            "TO": "ann@example.com",
            "SECURITY": "none",
        }.items():
            monkeypatch.setenv(f"BESS_ALERT_EMAIL_{name}", str(value))
        raise_events("e1", "e2")
        process.raise_alerts()
        process.send()
        assert sorted(web.ids()) == sorted(put_down()["alert_id"])
        assert len(post.mails) == 2
        waits = alerts.waiting(Home())
        assert waits["channel"].to_list() == ["gone", "gone"]
        assert "SECRET" not in str(deliveries().to_dicts())
        with web_receiver() as back:
            monkeypatch.setenv("BESS_ALERT_WEBHOOKS", f"gone:json={back.url} ops:json={web.url}")
            Process(home, instance).send(NOW + DAY)
            assert sorted(back.ids()) == sorted(web.ids())
        assert len(post.mails) == 2


def test_a_receiver_that_hangs_up_before_it_answers_may_get_an_alert_twice_and_can_tell(process, home, web):
    raise_events("e1")
    process.raise_alerts()
    web.status = 0
    process.send(NOW)
    web.status = 200
    process.send(NOW + HOUR)
    process.send(NOW + 2 * HOUR)
    assert web.ids() == put_down()["alert_id"].to_list() * 2


def test_a_flood_is_folded_into_one_message_a_tick_and_tells_of_every_alert_once(process, home, web):
    raise_events(*(f"e{number}" for number in range(90)))
    raise_events("worst", fleet="g", severity="critical")
    process.raise_alerts()
    sent = [process.send(NOW + minute * timedelta(minutes=1)) for minute in range(4)]
    assert [len(body["alerts"]) for body in web.bodies] == [40, 40, 11]
    assert sent == [2, 2, 2, 0], "to the web server and to the log"
    assert web.bodies[0]["alerts"][0]["battery_id"] == "rack worst"
    assert sorted(web.ids()) == sorted(put_down()["alert_id"])


def test_one_that_still_sends_keeps_another_from_sending_the_same(process, home, web):
    raise_events("e1")
    process.raise_alerts()
    with alerts._alone(Home()) as first:
        assert first
        assert process.sensor(alerts.alerts_sent) == "another tick is still sending"
    assert process.send() == 2


def test_a_source_that_cannot_be_read_keeps_no_other_from_being_told_and_is_not_passed_over(process, instance, home):
    raise_events("e1")
    telemetry.execute_in_process(instance=instance, raise_on_error=False)
    held = {file: file.read_bytes() for file in (home.root / "lake" / "anomaly_events").rglob("*.parquet")}
    for file in held:
        file.unlink()
    with pytest.raises(ExceptionGroup, match="some sources"):
        process.raise_alerts()
    assert put_down()["kind"].to_list() == ["run_failure"]
    for file, content in held.items():
        file.write_bytes(content)
    assert process.raise_alerts() == 1


def test_a_channel_that_came_later_gets_later_alerts_and_one_that_went_is_waited_for(process, home, web, monkeypatch):
    raise_events("e1")
    process.raise_alerts()
    monkeypatch.setenv("BESS_ALERT_WEBHOOKS", f"new:json={web.url}")
    process.send()
    assert web.ids() == []
    assert alerts.waiting(Home())["channel"].to_list() == ["ops"]
    raise_events("e1", "e2")
    process.raise_alerts()
    process.send()
    assert len(web.ids()) == 1


def test_analysts_see_alerts_which_by_themselves_are_no_reason_to_publish(process, instance, home):
    lake, warehouse = Home().lake, Warehouse(home.warehouse)
    raise_events("e1")
    telemetry.execute_in_process(instance=instance, raise_on_error=False)
    process.raise_alerts()
    warehouse.publish(lake)
    known = warehouse.query("SELECT fleet_id, battery_id, link IS NULL AS alone FROM alerts ORDER BY fleet_id")
    assert known.rows() == [("f", "rack e1", True), (NO_FLEET, None, False)]
    process.send()
    assert warehouse.is_current(lake)
