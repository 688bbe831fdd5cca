import copy

import pytest
import yaml

from bess_pipeline.sources.register import Fleet, nameplates, ocv_curves, read_register
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.fleet import CHEMISTRIES, Battery, OcvPoint

ALPHA = {
    "fleet_id": "alpha",
    "battery": {"chemistry": "LFP", "rated_capacity_ah": 280, "cells_in_series": 240},
    "source": {
        "files": "**/*.csv",
        "format": "csv",
        "separator": ";",
        "timezone": "Europe/Berlin",
        "columns": {
            "timestamp": {"from": "Zeitstempel", "format": "%d.%m.%Y %H:%M:%S"},
            "battery_id": {"from": "Rack"},
            "current_ampere": {"from": "Strom_A", "positive": "discharge"},
            "voltage_volt": {"from": "Spannung_V"},
        },
    },
}


def written(folder, said, name="alpha.yaml"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(said), encoding="utf-8")
    return folder


def changed(path, value):
    said = copy.deepcopy(ALPHA)
    place = said
    *parents, last = path.split(".")
    for part in parents:
        place = place.setdefault(part, {})
    place[last] = value
    return said


def test_the_example_of_the_contract_is_read(tmp_path):
    (tmp_path / "ocv_lfp.csv").write_text("soc_percent,ocv_volt\n0,2.6\n50,3.3\n100,3.5\n")
    (tmp_path / "alpha.yaml").write_text(
        """
fleet_id: alpha
name: Alpha storage park
commissioned: 2024-01-01
battery:
  chemistry: LFP
  rated_capacity_ah: 280
  rated_energy_wh: 218400
  cells_in_series: 240
  resistance_ohm: 0.09
  initial_equivalent_full_cycles: 0
  end_of_life_percent: 70
  ocv_curve: ocv_lfp.csv
  limits:
    {cell_voltage_min_volt: 2.6, cell_voltage_max_volt: 3.6, temperature_min_celsius: 0, temperature_max_celsius: 45}
batteries:
  7: {rated_capacity_ah: 140, end_of_life_percent: 60}
source:
  files: "**/*.csv"
  format: csv
  separator: ";"
  decimal_comma: true
  layout: wide
  sampling: instant
  timezone: Europe/Berlin
  columns:
    timestamp: {from: Zeitstempel, format: "%d.%m.%Y %H:%M:%S"}
    battery_id: {from: [cell, run]}
    current_ampere: {from: Strom_A, positive: discharge}
    voltage_volt: Spannung_V
    cell_voltage_min_volt: {from: umin_mv, unit: mV}
    temperature_celsius: {from: Temp_F, unit: degF}
    soc_bms_percent: {from: soc, unit: fraction}
warranty: {}
economics: {}
""",
        encoding="utf-8",
    )
    register = read_register(tmp_path)
    assert register.mistakes == {}
    fleet = register.fleets["alpha"]
    assert fleet.source.columns.battery_id.from_ == ("cell", "run")
    assert fleet.source.columns.voltage_volt.from_ == "Spannung_V"
    assert ocv_curves(fleet, ["b"])["ocv_volt"].to_list() == [2.6, 3.3, 3.5]
    plates = nameplates(fleet, ["7", "b"], sampling="instant")
    assert plates["rated_energy_wh"].to_list() == [109200.0, 218400.0], "half the capacity, half the energy"
    assert plates["end_of_life_percent"].to_list() == [60.0, 70.0]


UNKNOWN_FIELD = "is not a field that is known here"
COLUMNS = "source.columns"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (f"{COLUMNS}.current_ampere.positive", "up", "input should be 'charge' or 'discharge', got 'up'"),
        (f"{COLUMNS}.voltage_volt.positive", "charge", UNKNOWN_FIELD),
        (f"{COLUMNS}.colour", {"from": "x"}, UNKNOWN_FIELD),
        ("source.layout", "tall", "input should be 'wide' or 'long', got 'tall'"),
        ("source.files", "../*.csv", "must be a pattern below the fleet's landing folder"),
        (
            "source.files",
            "https://example.org/x.csv",
            "addresses on the network are not supported yet; deliver the files to the landing folder",
        ),
        ("source.timezone", "Mars/Base", "'Mars/Base' is no time zone; use a name such as Europe/Berlin"),
        (
            f"{COLUMNS}.timestamp.format",
            "%d.%m.%Y",
            "'%d.%m.%Y' does not hold a full time (year, month, day, hour, minute)",
        ),
        (
            f"{COLUMNS}.timestamp",
            {"from": "t", "origin": "2020-01-01"},
            "origin needs the unit of the count: s, ms, us, ns, min, h, d or duration",
        ),
        (
            f"{COLUMNS}.battery_id",
            {"from": "a", "value": "b"},
            "give one of from (a column or a list of columns), path (a pattern of file names), value",
        ),
        (
            "battery.chemistry",
            "NaS",
            "input should be 'LFP', 'NMC', 'NCA', 'LCO', 'LTO' or 'lead_acid', got 'NaS'",
        ),
        ("battery.rated_capacity_ah", -1, "input should be greater than 0, got -1"),
        (
            "battery.limits",
            {"cell_voltage_min_volt": 3.9},
            f"the lowest cell voltage (3.9) must be below the highest ({CHEMISTRY['LFP'].cell_voltage_high_volt})",
        ),
        ("battery.ocv_curve", "../x.csv", "'../x.csv' must be the name of a .csv file beside the fleet file"),
        ("battery.ocv_curve", "gone.csv", "gone.csv: there is no such file beside the fleet file"),
        ("fleet_id", "be ta", "'be ta' may hold only letters, digits, '_' and '-'"),
        ("fleet_id", "beta", "a fleet 'beta' is described by beta.yaml"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_field(tmp_path, path, value, message):
    register = read_register(written(tmp_path, changed(path, value)))
    assert register.mistakes == {"alpha.yaml": [f"alpha.yaml: {path}: {message}"]}
    assert register.fleets == {}


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (f"{COLUMNS}.voltage_volt.unit", "A", f"{COLUMNS}.voltage_volt: unit 'A' is not one of V, mV, uV, kV"),
        (
            f"{COLUMNS}.timestamp.unit",
            "ms",
            f"{COLUMNS}.timestamp: give either format (a text) or unit (a count), not both",
        ),
        (
            f"{COLUMNS}.voltage_volt",
            None,
            f"{COLUMNS}: voltage_volt with current_ampere, or power_watt, must be mapped too",
        ),
    ],
)
def test_fields_that_do_not_go_together_are_a_mistake_of_what_holds_them(tmp_path, path, value, line):
    register = read_register(written(tmp_path, changed(path, value)))
    assert register.mistakes == {"alpha.yaml": [f"alpha.yaml: {line}"]}


@pytest.mark.parametrize("text", ["fleet_id: [", "- a list", "", "\x00", "fleet_id: alpha\n\tbattery: x"])
def test_one_broken_file_never_stops_the_others(tmp_path, text):
    written(tmp_path, ALPHA)
    (tmp_path / "broken.yaml").write_text(text)
    register = read_register(tmp_path)
    assert list(register.fleets) == ["alpha"]
    (line,) = register.mistakes["broken.yaml"]
    assert line.startswith("broken.yaml: ")
    assert "\n" not in line


def test_a_folder_that_is_not_there_is_an_empty_register(tmp_path):
    register = read_register(tmp_path / "nowhere")
    assert (register.fleets, register.mistakes) == ({}, {})


def test_several_mistakes_are_several_lines(tmp_path):
    register = read_register(written(tmp_path, {"fleet_id": "alpha", "battery": {}}))
    assert register.mistakes["alpha.yaml"] == [
        "alpha.yaml: battery.chemistry: is missing",
        "alpha.yaml: battery.rated_capacity_ah: is missing",
        "alpha.yaml: battery.cells_in_series: is missing",
        "alpha.yaml: source: is missing",
    ]


@pytest.mark.parametrize(
    ("path", "value", "source", "telemetry"),
    [
        ("name", "Other", False, False),
        ("warranty", {"starts_on": "2024-01-01", "years": 10}, False, False),
        ("battery.rated_capacity_ah", 281, False, True),
        ("batteries", {"b": {"resistance_ohm": 0.1}}, False, True),
        ("source.sampling", "mean", True, True),
    ],
)
def test_versions_change_with_what_they_stand_for(path, value, source, telemetry):
    before, after = Fleet.model_validate(ALPHA), Fleet.model_validate(changed(path, value))
    assert (before.source_version != after.source_version) is source
    assert (before.telemetry_version != after.telemetry_version) is telemetry
    assert before.register_version != after.register_version


def test_a_warranty_needs_a_begin(tmp_path):
    said = {name: value for name, value in changed("warranty", {"years": 10}).items() if name != "commissioned"}
    register = read_register(written(tmp_path, said))
    assert "says nothing of its begin" in register.mistakes["alpha.yaml"][0]


@pytest.mark.parametrize(("path", "changes"), [("warranty", True), ("name", False), ("source.sampling", False)])
def test_the_version_of_the_terms_is_that_of_what_was_agreed(path, changes):
    value = {"warranty": {"starts_on": "2024-01-01", "years": 10}, "name": "Other", "source.sampling": "mean"}[path]
    before, after = Fleet.model_validate(ALPHA), Fleet.model_validate(changed(path, value))
    assert (before.terms_version != after.terms_version) is changes


def test_writing_a_default_out_changes_no_version():
    assert (
        Fleet.model_validate(ALPHA).register_version
        == Fleet.model_validate(changed("source.layout", "wide")).register_version
    )


def test_the_content_of_the_curve_file_is_part_of_the_telemetry_version(tmp_path):
    said = changed("battery.ocv_curve", "ocv.csv")
    versions = set()
    for top in (3.5, 3.6):
        (tmp_path / "ocv.csv").write_text(f"soc_percent,ocv_volt\n0,2.6\n50,3.3\n100,{top}\n")
        versions.add(read_register(written(tmp_path, said)).fleets["alpha"].telemetry_version)
    assert len(versions) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("soc_percent,ocv_volt\n0,2.6\n100,3.5\n", "at least 3 points"),
        ("soc_percent,ocv_volt\n0,2.6\n60,3.3\n50,3.3\n", "must rise"),
        ("soc_percent,ocv_volt\n0,2.6\n50,3.3\n100,3.298\n", "must not fall by more than 1 mV"),
        ("soc_percent,ocv_volt\n0,2.6\n50,\n100,3.5\n", "a number in every field"),
        ("soc_percent,ocv_volt\n0,2.6\n50,x\n100,3.5\n", "could not parse"),
        ("soc,ocv\n0,2.6\n50,3\n100,3.5\n", "needs the columns"),
        ("soc_percent,ocv_volt\n0,2.6\n50,3\n101,3.5\n", "between 0 and 100"),
    ],
)
def test_a_curve_that_is_none_is_a_mistake_of_the_fleet(tmp_path, text, why):
    (tmp_path / "ocv.csv").write_text(text)
    (line,) = read_register(written(tmp_path, changed("battery.ocv_curve", "ocv.csv"))).mistakes["alpha.yaml"]
    assert line.startswith("alpha.yaml: battery.ocv_curve: ocv.csv: ")
    assert why in line


def test_a_fall_of_one_millivolt_in_a_curve_is_noise(tmp_path):
    (tmp_path / "ocv.csv").write_text("soc_percent,ocv_volt\n0,2.6\n50,3.300\n60,3.2995\n100,3.4\n")
    assert read_register(written(tmp_path, changed("battery.ocv_curve", "ocv.csv"))).mistakes == {}


@pytest.mark.parametrize("chemistry", CHEMISTRIES)
def test_what_a_fleet_does_not_state_follows_from_its_chemistry(chemistry):
    fleet = Fleet.model_validate(changed("battery.chemistry", chemistry))
    plate = Battery.validate(nameplates(fleet, ["b2", "b1", "b1"], sampling="mean"))
    assert plate["battery_id"].to_list() == ["b1", "b2"]
    assert plate["rated_energy_wh"][0] == pytest.approx(280 * 240 * CHEMISTRY[chemistry].nominal_cell_volt)
    assert plate["cell_voltage_low_volt"][0] == CHEMISTRY[chemistry].cell_voltage_low_volt
    assert plate["end_of_life_percent"][0] == 80.0
    assert OcvPoint.validate(ocv_curves(fleet, ["b1"])).height == len(CHEMISTRY[chemistry].ocv)


def test_a_battery_overrides_single_limits_and_keeps_the_others():
    said = changed("battery.limits", {"cell_voltage_max_volt": 3.6, "temperature_max_celsius": 40})
    said["batteries"] = {"b": {"limits": {"temperature_max_celsius": 35}, "chemistry": "NMC"}}
    (plate,) = nameplates(Fleet.model_validate(said), ["b"], sampling="mean").to_dicts()
    assert (plate["cell_voltage_high_volt"], plate["temperature_high_celsius"]) == (3.6, 35.0)
    assert plate["rated_energy_wh"] == pytest.approx(280 * 240 * CHEMISTRY["NMC"].nominal_cell_volt)


@pytest.mark.real_data
def test_the_shared_fleets_have_no_mistakes(shared_data):
    for name in ("fleet_minute", "fleet_years"):
        register = read_register(shared_data / name / "fleets")
        assert register.mistakes == {}
        assert list(register.fleets) == ["s00", "s01", "s02"]


def test_prices_are_a_file_beside_the_fleet_file_and_part_of_the_version_of_the_terms(tmp_path):
    said = ALPHA | {"economics": {"prices": {"file": "p.csv", "timezone": "Europe/Berlin"}}}
    written(tmp_path, said)
    away = read_register(tmp_path)
    assert away.mistakes == {}, "a battery is watched, whatever became of prices"
    versions = [(away.fleets["alpha"].terms_version, *_others(away.fleets["alpha"]))]
    for content in ("timestamp,price_per_mwh\n", "timestamp,price_per_mwh\n2026-01-01T00:00:00Z,1\n"):
        (tmp_path / "p.csv").write_text(content)
        fleet = read_register(tmp_path).fleets["alpha"]
        versions.append((fleet.terms_version, *_others(fleet)))
    assert len({version[0] for version in versions}) == 3
    assert len({version[1:] for version in versions}) == 1


def _others(fleet):
    return fleet.telemetry_version, fleet.register_version


@pytest.mark.parametrize(
    ("prices", "why"),
    [
        ({"file": "../p.csv"}, "must be the name of a .csv or .parquet file beside the fleet file"),
        ({"file": "p.xlsx"}, "must be the name of a .csv or .parquet file beside the fleet file"),
        ({"file": "p.csv", "timezone": "Berlin"}, "'Berlin' is no time zone such as Europe/Berlin"),
    ],
)
def test_prices_that_cannot_be_read_are_a_mistake_of_the_fleet(tmp_path, prices, why):
    written(tmp_path, ALPHA | {"economics": {"prices": prices}})
    (line,) = read_register(tmp_path).mistakes["alpha.yaml"]
    assert line.endswith(why)
