"""Ask every operation of the API once, and write what it answered as the examples of its description.

    python -m bess_pipeline_tests.api_examples HOME

HOME is a simulated one, long enough for forecasts: `bess simulate --fleet park --batteries 4 --days 420`, `bess run`.
Long lists are cut to their first entries.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from bess_pipeline.api.app import create_app
from bess_pipeline.api.openapi import EXAMPLES
from bess_pipeline.config import Settings
from bess_pipeline.lake.warehouse import Warehouse

_MOST = 2


def main(home: str) -> None:
    """Write the examples."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "home"
        shutil.copytree(home, copy, ignore=shutil.ignore_patterns("dagster_home", "truth"))
        settings = Settings.model_validate({"home": copy})
        with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
            found = answers(client, settings)
    EXAMPLES.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def answers(client: TestClient, settings: Settings) -> dict[str, Any]:
    """Operation → what was asked and what it answered."""
    ask = Warehouse(settings.warehouse).query
    ((fleet_id, battery_id, last),) = ask(
        "SELECT fleet_id, battery_id, (timestamp::DATE - 1)::VARCHAR FROM battery_latest"
        " WHERE health_status = 'watch' ORDER BY soh_percent LIMIT 1"
    ).rows()
    ((event_id,),) = ask(
        "SELECT event_id FROM event_verdicts WHERE ended_at IS NULL ORDER BY detected_at LIMIT 1"
    ).rows()
    given = {"fleet_id": fleet_id, "battery_id": battery_id, "event_id": event_id}
    found: dict[str, Any] = {}
    for address, operations in client.app.openapi()["paths"].items():  # type: ignore[attr-defined]
        if "get" not in operations or "{job_id}" in address:
            continue
        names = [parameter["name"] for parameter in operations["get"].get("parameters", [])]
        query = {"fleet_id": fleet_id, "limit": 1, "from": last}
        # Of the last whole day if there is anything, else of any.
        tried = [query, query | {"from": None}]
        for asked in tried:
            chosen = {name: value for name, value in asked.items() if name in names and value is not None}
            told = client.get(address.format(**given), params=chosen)
            told.raise_for_status()
            if told.json().get("items", [1]):
                break
        found[operations["get"]["operationId"]] = {
            "path": {name: value for name, value in given.items() if f"{{{name}}}" in address},
            "answer": _cut(told.json()),
        }
    return found | _posted(client, settings, given, ask)


def _posted(client: TestClient, settings: Settings, given: dict[str, str], ask: Any) -> dict[str, Any]:
    samples = ask(
        "SELECT timestamp, voltage_volt, current_ampere, temperature_celsius FROM telemetry_5min"
        " SEMI JOIN (FROM battery_latest WHERE health_status = 'watch' ORDER BY soh_percent LIMIT 1)"
        " USING (fleet_id, battery_id) WHERE voltage_volt IS NOT NULL ORDER BY timestamp DESC LIMIT 2"
    )
    rows = [row | {"timestamp": row["timestamp"].isoformat().replace("+00:00", "Z")} for row in samples.to_dicts()]
    body = {"battery_id": given["battery_id"], "fleet_id": given["fleet_id"], "data": rows, "contamination": 0.05}
    saying = {"verdict": "confirmed", "note": "Seen on site: a loose busbar.", "by": "Kim"}
    file = max((settings.landing / given["fleet_id"]).glob("**/*.*"))
    form = {"files": {"file": (file.name, file.read_bytes())}, "data": {"fleet_id": given["fleet_id"]}}
    process = client.post("/api/v1/process", **form)
    told = {
        "process": (None, process),
        "job": (None, client.get(process.headers["Location"])),
        "detect": (body, client.post("/api/v1/anomalies/detect", json=body)),
        "say": (saying, client.post(f"/api/v1/events/{given['event_id']}/feedback", json=saying)),
    }
    paths = {
        "job": {"job_id": process.json()["job_id"]},
        "say": {"event_id": given["event_id"]},
    }
    return {
        name: {"path": paths.get(name, {}), "answer": _cut(answer.raise_for_status().json())}
        | ({} if asked is None else {"body": asked})
        for name, (asked, answer) in told.items()
    }


def _cut(answer: Any) -> Any:
    """An answer whose lists are short."""
    if isinstance(answer, dict):
        return {name: _cut(value) for name, value in answer.items()}
    return [_cut(value) for value in answer[:_MOST]] if isinstance(answer, list) else answer


if __name__ == "__main__":
    main(*sys.argv[1:])
