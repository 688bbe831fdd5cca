"""Drafted fleet files, held against the fleet files that people wrote for the same data."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from bess_pipeline.sources.draft import draft
from bess_pipeline.sources.draft.written import fleet_file
from bess_pipeline.sources.opening import UnreadableFile
from bess_pipeline.sources.register import read_register
from bess_pipeline.sources.simulate import Plan, simulate, write_fleet
from bess_pipeline.units import conversion

FLEETS = Path(__file__).parents[1] / "fleets"

# --- what is compared ---

#: What is asked of a draft, column by column.
QUESTIONS = ("column", "unit", "sign", "time")


def wrong(drafted, known):
    """Question → the answers of a draft that differ from a fleet file's, and how many were asked."""
    found = {question: [] for question in QUESTIONS}
    asked = dict.fromkeys(QUESTIONS, 0)
    columns = yaml.safe_load(fleet_file(drafted))["source"]["columns"]

    def ask(question, house, expected, answer):
        asked[question] += 1
        if expected != answer:
            found[question].append(f"{house}: {answer!r} for {expected!r}")

    for house in sorted(known.keys() | columns.keys()):
        expected, answer = known.get(house), columns.get(house)
        if answer is None or expected is None:
            ask("column", house, expected and expected.get("from"), answer and answer.get("from"))
            continue
        ask("column", house, expected.get("from"), answer.get("from"))
        if house == "timestamp":
            ask(
                "time",
                house,
                (expected.get("format"), expected.get("unit")),
                (answer.get("format"), answer.get("unit")),
            )
        elif house not in {"battery_id", "status"}:
            ask("unit", house, conversion(house, expected.get("unit")), conversion(house, answer.get("unit")))
        if house in {"current_ampere", "power_watt", "power_ac_watt"}:
            ask("sign", house, expected.get("positive", "charge"), answer.get("positive"))
    return found, asked


def columns_of(path):
    """The column map of a fleet file."""
    return yaml.safe_load(path.read_text())["source"]["columns"]


def nothing_wrong(drafted, known):
    found, asked = wrong(drafted, known)
    assert not any(found.values()), {question: answers for question, answers in found.items() if answers}
    return asked


def filled(text, **decided):
    """The text of a draft with what a person decides, key → value."""
    for key, value in decided.items():
        assert f"{key}: TODO" in text, key
        text = text.replace(f"{key}: TODO", f"{key}: {value}")
    return text


# --- the project's own simulator ---


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A home with a fleet of each dialect, of each chemistry."""
    home = tmp_path_factory.mktemp("home")
    for seed, chemistry in ((31, "LFP"), (32, "NMC")):
        plan = Plan(
            fleet_id=f"sim{seed}", batteries=2, days=4, seed=seed, interval_seconds=120, chemistry=chemistry,
            profile="arbitrage", start=date(2025, 1, 20),
        )  # fmt: skip
        write_fleet(simulate(plan), home)
    return home


@pytest.mark.parametrize("fleet", ["sim31", "sim32"])
def test_a_simulated_fleet_is_drafted_as_it_is(simulated, fleet):
    """Known truth: the fleet file that the simulator writes; one dialect is text in German, the other Parquet."""
    known = yaml.safe_load((simulated / "fleets" / f"{fleet}.yaml").read_text())
    houses = known["source"].get("columns")
    day = max((simulated / "landing" / fleet).iterdir(), key=lambda file: file.stat().st_size)
    drafted = draft(day, fleet_id=fleet)
    nothing_wrong(drafted, houses or {seen.column: {"from": seen.column} for seen in drafted.seen})
    cells, true = drafted.battery["cells_in_series"], known["battery"]["cells_in_series"]
    assert cells.value == (true if cells.sure == "likely" else pytest.approx(true, rel=0.01))
    assert drafted.source["format"].value == known["source"]["format"]
    if houses:
        assert drafted.source["separator"].value == ";"


def test_a_draft_loads_through_the_register_once_its_todos_are_decided(simulated, tmp_path):
    (day, *_) = sorted((simulated / "landing" / "sim31").iterdir())
    drafted = draft(day, fleet_id="mine")
    (tmp_path / "mine.yaml").write_text(fleet_file(drafted))
    refused = read_register(tmp_path)
    assert any("rated_capacity_ah" in line for line in refused.mistakes["mine.yaml"])
    decided = {"rated_capacity_ah": 280, "timezone": "Europe/Berlin"}
    if drafted.battery["chemistry"].value == "TODO":
        decided["chemistry"] = "LFP"
    (tmp_path / "mine.yaml").write_text(filled(fleet_file(drafted), **decided))
    register = read_register(tmp_path)
    assert not register.mistakes
    source = register.fleets["mine"].source
    assert source.mapping["current_ampere"].positive == "discharge"
    assert source.timezone == "Europe/Berlin"


# --- shared data ---


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "fleet"),
    [
        ("m5bat/units_1s.parquet", "m5bat"),
        ("lipo_crate/lipo_crate.parquet", "lipo_crate"),
        ("ev_pack_faults/car2.parquet", "ev_pack"),
        ("fleet_minute/landing/s00/2023-01-05.parquet", "fleet_minute/fleets/s00"),
        ("fleet_minute/landing/s01/2023-01-05.parquet", "fleet_minute/fleets/s01"),
        ("fleet_minute/landing/s02/2023-01-05.csv.gz", "fleet_minute/fleets/s02"),
    ],
)
def test_shared_data_are_drafted_as_people_mapped_them(shared_data, file, fleet):
    written = shared_data / f"{fleet}.yaml" if "/" in fleet else FLEETS / f"{fleet}.yaml"
    nothing_wrong(draft(shared_data / file), columns_of(written))


@pytest.mark.real_data
def test_the_cells_of_the_car_are_found_with_their_offset_and_their_sentinel(shared_data):
    """Expected: the car's fleet file; of the sentinels it lists, this car has only the zero."""
    drafted = draft(shared_data / "ev_pack_faults" / "car2.parquet")
    cells = yaml.safe_load(fleet_file(drafted))["source"]["cells"]
    assert cells["voltage_volt"] == {"from": "V_*", "sentinels": [0]}
    assert cells["temperature_celsius"] == {"from": "T_*", "sentinels": [0], "offset": -40}
    assert drafted.battery["cells_in_series"].value == 88


V, C = "voltage_volt", "current_ampere"
#: File → its map, written by hand from the header and the maker's manual; BDF names the unit in each column.
CYCLERS = {
    "bdf/SINTEF__G20M7-202512-Gru6mV__20251228__C30__25degC__Neware.bdf.csv": {
        "timestamp": {"from": "unix_time_second", "unit": "s"}, V: {"from": V}, C: {"from": C},
    },
    "bdf/SINTEF__SLPBA842124HV__2024-10-23__Rate_25degC__Neware__Time_Bug.bdf.csv": {
        "timestamp": {"from": "test_time_second", "unit": "s"}, V: {"from": V}, C: {"from": C},
        "power_watt": {"from": "power_watt"},
    },
    "bdf/DLR__LiLNMOHydra0b__20221125__POCV__25degC__Basytec.bdf.csv": {
        "timestamp": {"from": "test_time_second", "unit": "s"}, V: {"from": V}, C: {"from": C},
        "ambient_temperature_celsius": {"from": "ambient_temperature_celsius"},
    },
    "batdata/arbin_example.csv": {
        "timestamp": {"from": "DateTime", "unit": "s"}, V: {"from": "Voltage"}, C: {"from": "Current"},
        "temperature_celsius": {"from": "Temperature"},
    },
    "cellpy/neware_uio.csv": {
        "timestamp": {"from": "Date"}, V: {"from": "Voltage(V)"}, C: {"from": "Current(A)"},
        "power_watt": {"from": "Power(W)"},
    },
    "cellpy/maccor_three.txt": {
        "timestamp": {"from": "DPt Time", "format": "%m/%d/%Y %I:%M:%S %p"}, V: {"from": "Volts", "unit": "mV"},
        C: {"from": "mAmps", "unit": "mA"}, "status": {"from": "State"},
    },
    "beep/maccor_PredictionDiagnostics_000109_tztest.010": {
        "timestamp": {"from": "DPt Time", "format": "%m/%d/%Y %H:%M:%S"}, V: {"from": "Volts"}, C: {"from": "Amps"},
        "status": {"from": "State"},
    },
    "pyprobe/novonix.csv": {
        "timestamp": {"from": "Date and Time"}, V: {"from": "Potential (V)"}, C: {"from": "Current (A)"},
        "power_watt": {"from": "Power(W)"}, "temperature_celsius": {"from": "Temperature (°C)"},
    },
}  # fmt: skip


@pytest.mark.real_data
@pytest.mark.parametrize("file", CYCLERS)
def test_files_of_cyclers_are_drafted_as_they_are(shared_data, file):
    path = shared_data / "format_samples" / file
    known = {**CYCLERS[file], "battery_id": {"value": path.name.split(".")[0]}}
    nothing_wrong(draft(path), known)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("beep/arbin_2017-05-09_test-TC-contact_CH33_Metadata.csv", "is no telemetry"),
        ("cellpy/neware_IFE_BTS85.ndax", "zip"),
        ("cellpy/arbin_20160805_test001_45_cc_01.res", "Access"),
    ],
)
def test_files_that_are_no_telemetry_are_refused_with_the_reason(shared_data, file, reason):
    with pytest.raises(UnreadableFile, match=reason):
        draft(shared_data / "format_samples" / file)


# --- dialects of makers, on a battery whose truth is known ---

MINUTES = 1200
START = datetime(2024, 3, 14, tzinfo=UTC)


@pytest.fixture(scope="module")
def truth():
    """A battery of 240 cells of LFP that charges and discharges by turns; currents charge when positive."""
    chance = np.random.default_rng(5)
    minute = np.arange(MINUTES)
    running = chance.random(MINUTES) > 0.1
    current = np.round(12 * np.sign(np.sin(minute / 120 + 0.01)) * running + chance.normal(0, 0.5, MINUTES), 1)
    soc = 50 + np.cumsum(current) / 60 / 280 * 100
    cell = 3.2 + 0.002 * (soc - 50) + 0.0003 * current
    volt = np.round(cell * 240, 1)
    return {
        "at": [START + timedelta(minutes=int(each)) for each in minute],
        "i": current, "u": volt, "kw": volt * current / 1000, "soc": soc, "cell": cell,
        "warm": np.round(24 + chance.random(MINUTES), 1), "soh": 99 + chance.random(MINUTES),
        "text": np.where(running, "run", "idle"),
    }  # fmt: skip


def openems(t):
    yield "timestamp", "time", {}, [at.isoformat() for at in t["at"]]
    yield "soc_bms_percent", "ess0/Soc", {}, t["soc"].round(0)
    yield "voltage_volt", "battery0/Voltage", {}, t["u"]
    yield "current_ampere", "battery0/Current", {"positive": "discharge"}, -t["i"]
    yield "cell_voltage_min_volt", "battery0/MinCellVoltage", {"unit": "mV"}, (t["cell"] * 1000 - 5).round()
    yield "cell_voltage_max_volt", "battery0/MaxCellVoltage", {"unit": "mV"}, (t["cell"] * 1000 + 5).round()
    yield "temperature_min_celsius", "battery0/MinCellTemperature", {}, t["warm"] - 2
    yield "temperature_max_celsius", "battery0/MaxCellTemperature", {}, t["warm"] + 2
    yield "power_watt", "ess0/ActivePower", {"positive": "discharge"}, -1000 * t["kw"]
    yield None, "ess0/AllowedChargePower", {}, 5000 + t["i"]
    yield "soh_bms_percent", "battery0/Soh", {}, t["soh"]


def sunspec(t):
    yield "timestamp", "ts", {"unit": "s"}, [int(at.timestamp()) for at in t["at"]]
    yield "battery_id", "StrIdx", {}, [1] * MINUTES
    for house, point, values in (
        ("voltage_volt", "V", t["u"]), ("current_ampere", "A", t["i"]), ("power_watt", "W", 1000 * t["kw"]),
        ("soc_bms_percent", "SoC", t["soc"]), ("soh_bms_percent", "SoH", t["soh"]),
        ("cell_voltage_max_volt", "CellVMax", t["cell"] + 0.01), (None, "CellVAvg", t["cell"]),
        ("cell_voltage_min_volt", "CellVMin", t["cell"] - 0.01), ("temperature_celsius", "ModTmpAvg", t["warm"]),
        ("temperature_max_celsius", "ModTmpMax", t["warm"] + 2), ("status", "State", np.where(t["i"] > 0, 1, 2)),
    ):  # fmt: skip
        yield house, point, {}, values


def american(t):
    day = "%m/%d/%Y %I:%M:%S %p"
    yield "timestamp", "Time Stamp", {"format": day}, [at.strftime(day) for at in t["at"]]
    yield "battery_id", "Rack ID", {}, ["A1"] * MINUTES
    yield "voltage_volt", "DC Bus Voltage [V]", {}, t["u"]
    yield "current_ampere", "DC Current [A]", {"positive": "discharge"}, -t["i"]
    yield "temperature_celsius", "Avg Module Temp [F]", {"unit": "degF"}, t["warm"] * 1.8 + 32
    yield "ambient_temperature_celsius", "Ambient Temp (F)", {"unit": "degF"}, t["warm"] * 1.8 + 20
    yield "soc_bms_percent", "State of Charge", {"unit": "fraction"}, t["soc"] / 100
    yield "power_ac_watt", "AC Power kW", {"unit": "kW", "positive": "discharge"}, -t["kw"]
    yield "cell_voltage_max_volt", "Max Cell Voltage (mV)", {"unit": "mV"}, t["cell"] * 1000 + 4
    yield "cell_voltage_min_volt", "Min Cell Voltage (mV)", {"unit": "mV"}, t["cell"] * 1000 - 4
    yield None, "Fault Code", {}, [0] * MINUTES


def german(t):
    yield "timestamp", "Datum Uhrzeit", {}, [at.isoformat() for at in t["at"]]
    yield "battery_id", "Speicher", {}, ["S1"] * MINUTES
    yield "voltage_volt", "Batteriespannung / V", {}, t["u"]
    yield "current_ampere", "Batteriestrom / A", {"positive": "discharge"}, -t["i"]
    yield "temperature_max_celsius", "Zelltemperatur max / K", {"unit": "K"}, t["warm"] + 273.15
    yield "cell_voltage_min_volt", "Zellspannung min / mV", {"unit": "mV"}, t["cell"] * 1000 - 4
    yield "cell_voltage_max_volt", "Zellspannung max / mV", {"unit": "mV"}, t["cell"] * 1000 + 4
    yield "soc_bms_percent", "Ladezustand / %", {}, t["soc"]
    yield "power_ac_watt", "Wirkleistung Netz / kW", {"unit": "kW", "positive": "discharge"}, -t["kw"]
    yield "status", "Betriebszustand", {}, t["text"]
    yield None, "Sollwert Leistung / kW", {}, t["kw"]


def chinese(t):
    yield "timestamp", "时间", {}, [at.strftime("%Y-%m-%d %H:%M:%S") for at in t["at"]]
    yield "voltage_volt", "总电压(V)", {}, t["u"]
    yield "current_ampere", "电流(A)", {}, t["i"]
    yield "soc_bms_percent", "SOC(%)", {}, t["soc"]
    yield "cell_voltage_max_volt", "最高单体电压(mV)", {"unit": "mV"}, t["cell"] * 1000 + 4
    yield "cell_voltage_min_volt", "最低单体电压(mV)", {"unit": "mV"}, t["cell"] * 1000 - 4
    yield "temperature_max_celsius", "最高温度(℃)", {}, t["warm"]


def camel(t):
    yield "battery_id", "deviceId", {}, ["bess-1"] * MINUTES
    yield "timestamp", "timestampMs", {"unit": "ms"}, [int(at.timestamp() * 1000) for at in t["at"]]
    yield "voltage_volt", "packVoltage", {}, t["u"]
    yield "current_ampere", "packCurrent", {}, t["i"]
    yield "temperature_max_celsius", "maxCellTempC", {}, t["warm"] + 2
    yield "temperature_celsius", "avgCellTempC", {}, t["warm"]
    yield "cell_voltage_max_volt", "maxCellVoltageV", {}, t["cell"] + 0.004
    yield "cell_voltage_min_volt", "minCellVoltageV", {}, t["cell"] - 0.004
    yield "soc_bms_percent", "stateOfCharge", {}, t["soc"]
    yield "status", "batteryStatus", {}, t["text"]


@pytest.mark.parametrize(
    ("dialect", "suffix", "separator"),
    [
        (openems, "csv", ","), (sunspec, "csv", ","), (american, "csv", ";"), (german, "csv", "\t"),
        (chinese, "csv", ","), (camel, "ndjson", None),
    ],
)  # fmt: skip
def test_dialects_of_makers_are_recognized(truth, tmp_path, dialect, suffix, separator):
    """Known truth: names as the makers' manuals and registers give them, values made here."""
    columns = list(dialect(truth))
    table = pl.DataFrame({column: values for _, column, _, values in columns})
    path = tmp_path / f"site.{suffix}"
    if suffix == "csv":
        table.write_csv(path, separator=separator)
    else:
        table.write_ndjson(path)
    known = {house: {"from": column, **keys} for house, column, keys, _ in columns if house}
    known.setdefault("battery_id", {"value": "site"})
    drafted = draft(path)
    nothing_wrong(drafted, known)
    assert drafted.source["format"].value == suffix
    assert drafted.battery["cells_in_series"].value == 240
    assert drafted.battery["rated_capacity_ah"].value == "TODO"


def test_a_long_file_is_told_by_its_tags(truth, tmp_path):
    rows = [
        (at.isoformat(), "R1", tag, values[minute])
        for minute, at in enumerate(truth["at"])
        for tag, values in (("DC_Voltage", truth["u"]), ("DC_Current", -truth["i"]), ("Ladezustand", truth["soc"]))
    ]
    pl.DataFrame(rows, schema=["time", "rack", "tag", "value"], orient="row").write_csv(tmp_path / "long.csv")
    drafted = draft(tmp_path / "long.csv")
    assert drafted.source["layout"].value == "long"
    assert "tags in tag, values in value" in drafted.undecided["source.layout"]
    assert drafted.columns["battery_id"]["from"].value == "rack"
    assert drafted.columns["soc_bms_percent"]["from"].value == "Ladezustand"
    assert drafted.columns["current_ampere"]["positive"].value == "discharge"
