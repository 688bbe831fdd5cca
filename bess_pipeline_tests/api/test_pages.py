"""The pages: whole, careful with what they show, and only for those who may see it."""

import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from urllib.parse import quote, urljoin

import polars as pl
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from bess_pipeline.api.app import create_app
from bess_pipeline.api.keys import Keys
from bess_pipeline.api.pages.charts import spark
from bess_pipeline.api.pages.sign_in import _own
from bess_pipeline.cli import app
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.tables import catalog
from bess_pipeline_tests.api.made_site import BATTERIES, FIRST, ODD, contents, made, put, settled

HERE = "http://127.0.0.1"
#: As a browser says it.
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
VOID = {"meta", "link", "input", "br", "img", "hr", "polyline", "rect"}
BATTERY = f"/fleets/alpha/batteries/{quote(ODD, safe='')}"
PAGES = (
    "/", "/?fleet=alpha&status=&named=b", "/?sort=soh&down=true", "/events", "/events?every=true&family=&fleet=beta",
    "/events/e0", "/events/e5", BATTERY, f"{BATTERY}?day=2026-03-03", "/fleets/beta/batteries/b2", "/quality",
    "/quality?fleet=beta&until=2026-03-04", "/compare", "/methods", "/dictionary", "/sign-in",
    "/fleets/alpha/lifecycle",
    f"/compare?one_battery={quote(ODD, safe='')}&other_battery=b2",
)  # fmt: skip


class Page(HTMLParser):
    """Reads a page: whether each element ends where it should, what it loads and links to, and its figures."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.loads, self.labels, self.figures = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(told["href"])
        if tag in {"script", "link", "img"}:
            self.loads += [told[name] for name in ("src", "href") if name in told]
        if tag in {"input", "select", "textarea"} and told.get("type") != "hidden":
            self.labels.append("label" in self.open)
        assert not [name for name in told if name.startswith("on") or name == "style"], "the policy forbids it"

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"] and data.strip():
            self.figures.append(json.loads(data))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A deployment in which somebody has named things so that they would break a page."""
    settings = settled(tmp_path_factory.mktemp("site"))
    put(settings, contents())
    return settings


@pytest.fixture(scope="module")
def client(site):
    with TestClient(create_app(site), base_url=HERE, headers=HTML) as asking:
        yield asking


@pytest.mark.parametrize("address", PAGES)
def test_each_page_is_whole_loads_nothing_from_elsewhere_and_names_its_fields(client, address):
    told = client.get(address)
    assert told.status_code == 200, told.text
    assert told.headers["cache-control"] == "private, no-store"
    read = Page(told.text)
    assert all(read.labels)
    for loaded in read.loads:
        assert loaded.startswith("/")
        assert client.get(loaded).status_code == 200
    assert told.text.count("<h1>") == 1
    assert "None" not in re.sub(r"<[^>]*>", "", re.sub(r"<script.*?</script>", "", told.text, flags=re.DOTALL))


def test_every_link_leads_to_a_page(client):
    seen, ahead = set(), ["/"]
    while ahead:
        address = ahead.pop(0)
        if address in seen or len(seen) > 150:
            continue
        seen.add(address)
        told = client.get(address)
        assert told.status_code == 200, address
        if not told.headers["content-type"].startswith("text/html") or address == "/docs":
            continue
        ahead += [urljoin(address, link).partition("#")[0] for link in Page(told.text).links]
    assert len(seen) > 60
    assert BATTERY in seen


def test_charts_hold_what_the_warehouse_holds_and_nothing_that_ends_them(client, site):
    read = Page(client.get(f"{BATTERY}?day=2026-03-03").text)
    health = next(figure for figure in read.figures if figure["data"][1]["name"] == "90 % interval")
    own = next(trace for trace in health["data"] if trace["name"] == "state of health")
    held = Warehouse(site.warehouse).query(
        "SELECT date, round(soh_percent, 4) AS soh FROM state_of_health WHERE fleet_id = 'alpha' "
        "AND battery_id LIKE 'rack%' ORDER BY date"
    )
    assert own["x"] == [f"{day}" for day in held["date"]]
    assert own["y"] == held["soh"].fill_nan(None).to_list()
    assert "<" not in json.dumps(read.figures).replace("\\u003c", "")


def test_what_people_write_is_shown_as_they_wrote_it(site):
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \u202e & 'x'"
    with TestClient(create_app(site), base_url=HERE, headers=HTML) as asking:
        said = {"verdict": "annotated", "note": bad, "by": "<b>anna</b>"}
        told = asking.post("/events/e0/say", data=said, headers={"Origin": HERE}, follow_redirects=False)
        assert (told.status_code, told.headers["location"]) == (303, "/events/e0")
        shown = asking.get("/events/e0").text
    Page(shown)
    assert "<b>anna" not in shown
    assert "&lt;script&gt;alert(1)" in shown
    assert "onerror=alert(2)&gt;" in shown


def test_forms_of_others_and_forms_that_say_nothing_change_nothing(client, site):
    before = Lake(site.lake).read(catalog.EVENT_FEEDBACK).height
    said = {"verdict": "confirmed"}
    assert client.post("/events/e0/say", data=said, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/events/e0/say", data=said, headers={"Origin": "null"}).status_code == 403
    assert client.post("/events/none/say", data=said).status_code == 404
    for wrong in ({"verdict": "deleted"}, {"verdict": "annotated"}, {"verdict": "dismissed", "mute_days": "x"}, {}):
        told = client.post("/events/e0/say", data=wrong)
        assert told.status_code == 422
        assert told.headers["content-type"].startswith("text/html")
    assert Lake(site.lake).read(catalog.EVENT_FEEDBACK).height == before


def test_people_read_what_went_wrong_and_programs_get_it_as_before(client):
    told = client.get("/events/none")
    assert (told.status_code, "there is no event" in told.text) == (404, True)
    Page(told.text)
    assert client.get("/nothing").headers["content-type"].startswith("text/html")
    for address in ("/api/v1/events/none", "/nothing"):
        program = client.get(address, headers={"Accept": "application/json"})
        assert program.headers["content-type"] == "application/problem+json"
    assert client.get("/?sort=x").status_code == 422
    assert client.get("/quality?fleet=none").status_code == 404
    assert client.get("/compare?one_battery=b2&other_battery=b2").status_code == 422


def test_before_the_first_publication_a_page_says_so(tmp_path):
    with TestClient(create_app(settled(tmp_path)), base_url=HERE, headers=HTML) as asking:
        told = asking.get("/")
        assert (told.status_code, told.headers["retry-after"]) == (503, "30")
        assert "nothing has been published yet" in told.text


def test_the_table_is_sorted_and_filtered_as_asked(client, site):
    def shown(address):
        return re.findall(r'<th scope="row"><a href="/fleets/(\w+)/batteries/([^"]*)"', client.get(address).text)

    held = Warehouse(site.warehouse).query(
        "SELECT fleet_id, battery_id FROM battery_latest ORDER BY soh_percent DESC NULLS LAST, fleet_id, battery_id"
    )
    assert shown("/?sort=soh&down=true") == [(fleet, quote(name, safe="")) for fleet, name in held.rows()]
    assert shown("/?named=B2") == [("beta", "b2")]
    assert {fleet for fleet, _ in shown("/?fleet=alpha")} == {"alpha"}
    assert shown("/?named=nobody") == []


def test_signing_in_with_a_key_shows_its_fleets_alone_and_leads_nowhere_else(site):
    keys = Keys(site.api_keys)
    token, loader = keys.add("control room", ["read"], ["beta"]), keys.add("loader", ["ingest"])
    app = create_app(site.model_copy(update={"api_needs_key": True}))
    with TestClient(app, base_url=HERE, headers=HTML, follow_redirects=False) as asking:
        for address in PAGES:
            told = asking.get(address)
            if address != "/sign-in":
                assert (told.status_code, told.headers["location"].startswith("/sign-in?next=")) == (303, True), address
        refused = asking.post("/sign-in", data={"key": "bess_x"})
        assert (refused.status_code, "set-cookie" in refused.headers) == (401, False)
        elsewhere = {"Origin": "https://evil.example"}
        assert asking.post("/sign-in", data={"key": token}, headers=elsewhere).status_code == 403
        told = asking.post("/sign-in", data={"key": token, "next": "//evil.example/"})
        assert (told.status_code, told.headers["location"]) == (303, "/")
        cookie = told.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict"))
        home = asking.get("/")
        assert home.status_code == 200
        assert "alpha" not in home.text
        assert asking.get(BATTERY).status_code == 404
        assert asking.get("/events/e0").status_code == 404
        assert "Confirm" not in asking.get("/events/e2").text
        assert asking.post("/events/e2/say", data={"verdict": "confirmed"}, headers={"Origin": HERE}).status_code == 403
        assert asking.post("/sign-out", headers=elsewhere).status_code == 403
        assert asking.post("/sign-out", headers={"Origin": HERE}).headers["location"] == "/sign-in"
        asking.cookies.clear()
        asking.post("/sign-in", data={"key": loader})
        assert asking.get("/").status_code == 403


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "", "/a\nb"])
def test_after_signing_in_nobody_is_sent_elsewhere(address):
    assert _own(address) == "/"
    assert _own("/events?every=true") == "/events?every=true"


def test_the_report_of_a_month_is_one_whole_file_that_asks_for_nothing(site, tmp_path, monkeypatch):
    monkeypatch.setenv("BESS_HOME", str(site.root))
    lake = Lake(site.lake)
    days = [FIRST + timedelta(days=n) for n in range(5)]
    rows = made(catalog.FLEET_DAILY, 5, fleet_id=["alpha"] * 5, date=days)
    lake.replace(catalog.FLEET_DAILY, rows, Slice("alpha"))
    told = lake.read(catalog.ANOMALY_EVENTS, Slice("alpha")).head(1)
    edges = [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)]
    both = pl.concat([told, told]).with_columns(
        event_id=pl.Series(["inside", "after"]), kind=pl.Series(["of_march", "of_april"]),
        detected_at=pl.Series(edges).cast(told.schema["detected_at"]),
    )  # fmt: skip
    lake.replace(catalog.ANOMALY_EVENTS, both, Slice("alpha"))
    Warehouse(site.warehouse).publish(lake)

    def typed(*words):
        return CliRunner().invoke(app, ["report", *map(str, words)])

    told = typed("alpha", "2026-03", "--out", tmp_path / "r.html")
    assert (told.exit_code, "wrote" in told.output) == (0, True), repr(told.exception)
    text = (tmp_path / "r.html").read_text()
    page = re.sub(r"<script>.*</script>", "", text, flags=re.DOTALL)  # those of the charts stand at its end
    read = Page(page)
    assert read.loads == []
    assert ODD.replace("'", "&#39;") in page
    assert ODD not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert len(read.figures) == 4
    # What is raised with the first instant of a month is that month's, and in no other's report.
    assert ("of march" in page, "of april" in page) == (True, False)
    assert "of 31 days" in page
    for words in (("alpha", "2026-13"), ("alpha", "March"), ("alpha", "2031-01"), ("nobody", "2026-03")):
        refused = typed(*words, "--out", tmp_path / "none.html")
        assert (refused.exit_code, (tmp_path / "none.html").exists()) == (1, False)


def test_a_small_line_needs_two_values_and_keeps_flat_ones_in_the_middle():
    assert spark([1.0], 0, 1) == spark([None, 2.0], 0, 2) == spark([], 0, 1) == ""
    assert spark([5.0, 5.0], 5, 5, 10, 4, places=2) == "0.0,3.0 10.0,3.0"
    # What is half as long begins in the middle, and what moves little beside the others looks so.
    assert spark([0.0, 1.0], 0, 10, 20, 12, places=3) == "10.0,11.0 20.0,10.0"


def test_the_lifecycle_page_holds_terms_margins_and_charts(client):
    told = client.get("/fleets/alpha/lifecycle")
    assert "&lt;Contract&gt; &amp; &#39;annex&#39;" in told.text
    assert "grid works" in told.text
    margins = Page(told.text).figures[0]
    assert margins["layout"]["annotations"][0]["text"] == "guaranteed"
    assert len(margins["data"]) == 2
    assert client.get("/fleets/beta/lifecycle").status_code == 200
    assert client.get("/fleets/gamma/lifecycle").status_code == 404


def test_a_claim_is_a_page_and_the_rows_that_it_rests_on(site, tmp_path):
    runner, target = CliRunner(env={"BESS_HOME": str(site.home)}), tmp_path / "claim"
    told = runner.invoke(app, ["warranty", "report", "alpha", "--out", str(target)])
    assert told.exit_code == 0, told.output
    page = (target / "warranty.html").read_text("utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page) == []
    assert "Warranty of alpha" in page
    ask = Warehouse(site.warehouse).query
    for name in ("assumptions", "warranty_events", "warranty_daily", "warranty_years"):
        count = ask(f"FROM {name}").filter(fleet_id="alpha").height
        assert pl.read_parquet(target / f"{name}.parquet").height == count > 0
    again = runner.invoke(app, ["warranty", "report", "alpha", "--out", str(target)])
    assert (again.exit_code, "not empty" in again.output) == (1, True)
    nothing = runner.invoke(app, ["warranty", "report", "beta", "--out", str(tmp_path / "other")])
    assert (nothing.exit_code, "docs/warranty.md" in nothing.output) == (1, True)
    assert not (tmp_path / "other").exists()


@pytest.fixture
def traded(tmp_path):
    """A deployment whose batteries have gone up and down for three days."""
    instant, hour = datetime(2026, 3, 1, tzinfo=UTC), timedelta(hours=1)
    at = [instant + n * hour for n in range(72)]
    swing = {"power_watt": [1e5, -1e5] * 36, "soc_percent": [40.0, 60.0] * 36}
    rows = [
        made(catalog.TELEMETRY_5MIN, 72, fleet_id=[fleet] * 72, battery_id=[name] * 72, timestamp=at,
             date=[one.date() for one in at], **swing)
        for fleet, name in BATTERIES
    ]  # fmt: skip
    known = {"calendar_unit_percent": 1000.0, "cycle_unit_percent": 1000.0}
    plate = {"rated_energy_wh": 4e5, "end_of_life_percent": 80.0, "chemistry": "LFP"}
    held = contents()
    tables = held | {
        catalog.TELEMETRY_5MIN: pl.concat(rows),
        catalog.DEGRADATION: held[catalog.DEGRADATION].with_columns(
            **{name: pl.lit(one) for name, one in known.items()}
        ),
        catalog.STATE_OF_HEALTH: held[catalog.STATE_OF_HEALTH].with_columns(soh_percent=pl.lit(95.0)),
        catalog.BATTERIES: held[catalog.BATTERIES].with_columns(**{name: pl.lit(one) for name, one in plate.items()}),
        catalog.BATTERY_DAILY: held[catalog.BATTERY_DAILY].clear(),
    }
    settings = settled(tmp_path / "traded")
    put(settings, tables)
    return settings


def test_a_fleet_is_held_against_prices(traded, tmp_path):
    runner = CliRunner(env={"BESS_HOME": str(traded.home), "COLUMNS": "160"})
    prices, steps = tmp_path / "prices.csv", tmp_path / "steps.parquet"
    lines = [f"2026-03-{day:02d}T{hour:02d}:00:00Z,{50 + hour}" for day in range(1, 4) for hour in range(24)]
    prices.write_text("\n".join(["timestamp,price_per_mwh", *lines]))
    told = runner.invoke(app, ["dispatch", "alpha", "--prices", str(prices), "--out", str(steps)])
    assert told.exit_code == 0, told.output
    held = pl.read_parquet(steps)
    assert set(held["schedule"]) == {"done", "revenue", "wear"}
    assert held.height == 2 * 3 * 72
    assert "all" in told.output
    # What was done: 100 kW in at each even hour and out at the next, which is dearer by one.
    done = held.filter(battery_id="b1", schedule="done")
    assert done["power_mw"].to_list() == pytest.approx([0.1, -0.1] * 36)
    for said, complaint in (
        (["gamma", "--prices", str(prices)], "no fleet 'gamma'"),
        (["beta", "--prices", str(prices)], "replacement_cost_per_kwh"),
        (["alpha", "--prices", str(prices), "--from", "2027-01-01"], "from 2026-03-01 to 2026-03-03 alone"),
    ):
        refused = runner.invoke(app, ["dispatch", *said])
        assert (refused.exit_code, complaint in refused.output) == (1, True), refused.output
