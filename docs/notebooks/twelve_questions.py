"""Twelve questions to the warehouse: `marimo edit docs/notebooks/twelve_questions.py`, with BESS_HOME set."""

import marimo

app = marimo.App(width="medium")


@app.cell
def _():
    import os
    from pathlib import Path

    import duckdb
    import marimo as mo

    home = Path(os.environ.get("BESS_HOME", "data"))
    connection = duckdb.connect()
    connection.execute(f"ATTACH '{home / 'warehouse' / 'bess.duckdb'}' AS warehouse (READ_ONLY)")
    connection.execute("USE warehouse; SET TimeZone = 'UTC'")
    connection.execute(f"SET VARIABLE warehouse_folder = '{home.resolve() / 'warehouse'}/'")
    mo.md(f"""
    # Twelve questions

    The warehouse of `{home}`, one publication of it: any DuckDB client from 1.1 on can ask the same. Every column has its
    meaning as a comment (`SELECT * FROM duckdb_columns()`); the data dictionary lists them. Instants are UTC; what is not
    known is null. The end of the data stands for "now", so that the questions work on old data, too.
    """)
    return connection, mo


@app.cell
def _():
    questions = {
        "Which five batteries are the worst, and why?": """
            SELECT l.fleet_id, l.battery_id, l.health_status, round(l.soh_percent, 1) AS soh_percent,
                round(l.degradation_percent_per_year, 2) AS loss_percent_per_year, l.open_events,
                string_agg(e.family || ': ' || e.kind, '; ' ORDER BY e.detected_at DESC) AS open_now
            FROM battery_latest l LEFT JOIN event_verdicts e
                ON e.fleet_id = l.fleet_id AND e.battery_id = l.battery_id AND e.ended_at IS NULL
                AND e.effective_severity <> 'info'
            GROUP BY ALL
            ORDER BY array_position(['critical', 'warning', 'watch', 'unknown', 'good'], any_value(l.health_status)),
                soh_percent NULLS LAST, fleet_id, battery_id LIMIT 5
        """,
        "Is any battery used beyond its warranty, say 350 full cycles a year?": """
            WITH used AS (
                SELECT fleet_id, battery_id, sum(equivalent_full_cycles) AS cycles,
                    sum(discharging_energy_wh) / 1e6 AS discharged_mwh, min(date) AS since, max(date) AS until
                FROM battery_daily GROUP BY ALL
            )
            SELECT *, round(365.25 * cycles / (until - since + 1), 1) AS cycles_per_year,
                round(365.25 * cycles / (until - since + 1) / 350, 3) AS of_warranty
            FROM used ORDER BY of_warranty DESC, fleet_id, battery_id LIMIT 20
        """,
        "How efficient was each fleet, month by month?": """
            SELECT fleet_id, date_trunc('month', date)::DATE AS month,
                round(100 * sum(discharging_energy_wh) / sum(charging_energy_wh), 2) AS energy_out_over_in_percent,
                round(median(round_trip_efficiency_30d_percent), 2) AS at_the_same_charge_percent,
                round(sum(discharging_energy_wh) / 1e6, 2) AS discharged_mwh
            FROM battery_daily GROUP BY ALL HAVING sum(charging_energy_wh) > 0 ORDER BY ALL
        """,
        "What has changed since last week?": """
            WITH last AS (SELECT max(date) AS day FROM state_of_health),
            two AS (
                SELECT fleet_id, battery_id, max_by(soh_percent, date) AS now,
                    max_by(soh_percent, date) FILTER (date <= day - 7) AS before
                FROM state_of_health, last WHERE date > day - 21 GROUP BY ALL
            ),
            raised AS (
                SELECT fleet_id, battery_id, count(*) AS new_events FROM event_verdicts, last
                WHERE detected_at > day - 7 AND effective_severity <> 'info' GROUP BY ALL
            )
            SELECT fleet_id, battery_id, round(now, 2) AS soh_percent, round(now - before, 3) AS change,
                coalesce(new_events, 0) AS new_events
            FROM two LEFT JOIN raised USING (fleet_id, battery_id)
            ORDER BY new_events DESC, abs(change) DESC NULLS LAST, fleet_id, battery_id LIMIT 20
        """,
        "Which batteries run warmer than the others of their fleet?": """
            WITH recent AS (
                SELECT fleet_id, battery_id, avg(temperature_mean_celsius) AS mean, max(temperature_max_celsius) AS most
                FROM battery_daily WHERE date > (SELECT max(date) FROM battery_daily) - 30 GROUP BY ALL
            )
            SELECT *, round(mean - median(mean) OVER (PARTITION BY fleet_id), 2) AS kelvin_above_fleet
            FROM recent ORDER BY kelvin_above_fleet DESC NULLS LAST, fleet_id, battery_id LIMIT 10
        """,
        "Where does imbalance grow?": """
            SELECT fleet_id, battery_id, round(max_by(imbalance_percent, date), 3) AS imbalance_percent,
                round(365.25 * regr_slope(imbalance_percent, epoch(date) / 86400), 3) AS percent_per_year,
                count(imbalance_percent) AS days
            FROM cell_balance WHERE date > (SELECT max(date) FROM cell_balance) - 180
            GROUP BY ALL HAVING count(imbalance_percent) >= 10
            ORDER BY percent_per_year DESC NULLS LAST, fleet_id, battery_id LIMIT 10
        """,
        "Whose resistance has risen the most, and is that certain?": """
            SELECT fleet_id, battery_id, round(max_by(resistance_increase_percent, date), 1) AS increase_percent,
                round(max_by(resistance_increase_lower_percent, date), 1) AS at_least,
                round(max_by(resistance_increase_upper_percent, date), 1) AS at_most
            FROM resistance_daily WHERE resistance_increase_percent IS NOT NULL GROUP BY ALL
            ORDER BY at_least DESC NULLS LAST, fleet_id, battery_id LIMIT 10
        """,
        "How much of each month was seen, and who was silent?": """
            SELECT fleet_id, date_trunc('month', date)::DATE AS month, round(100 * avg(coverage_fraction), 2) AS seen_percent,
                mode(battery_id) FILTER (coverage_fraction < 0.5) AS most_silent,
                count(*) FILTER (coverage_fraction < 0.5) AS silent_battery_days
            FROM battery_data_quality_daily GROUP BY ALL ORDER BY ALL
        """,
        "Which batteries reach their end of life within five years?": """
            SELECT fleet_id, battery_id, as_of, as_of + remaining_life_days_p50::INTEGER AS likely,
                as_of + remaining_life_days_p10::INTEGER AS early, as_of + remaining_life_days_p90::INTEGER AS late,
                round(degradation_percent_per_year, 2) AS loss_percent_per_year
            FROM degradation QUALIFY row_number() OVER (PARTITION BY fleet_id, battery_id ORDER BY as_of DESC) = 1
                AND remaining_life_days_p10 < 5 * 365.25
            ORDER BY early, fleet_id, battery_id LIMIT 20
        """,
        "Who stands full and warm, which ages most?": """
            SELECT fleet_id, battery_id, round(100 * sum(observed_hours) FILTER (quantity = 'soc' AND band_lower >= 90)
                    / sum(observed_hours) FILTER (quantity = 'soc'), 1) AS full_percent_of_time,
                round(100 * sum(observed_hours) FILTER (quantity = 'temperature' AND band_lower >= 35)
                    / sum(observed_hours) FILTER (quantity = 'temperature'), 1) AS warm_percent_of_time
            FROM time_in_bands GROUP BY ALL
            ORDER BY full_percent_of_time DESC NULLS LAST, fleet_id, battery_id LIMIT 10
        """,
        "What was raised, and what became of it?": """
            SELECT fleet_id, family, kind, count(*) AS raised, count(*) FILTER (ended_at IS NULL) AS still_open,
                count(*) FILTER (verdict = 'confirmed') AS confirmed, count(*) FILTER (verdict = 'dismissed') AS dismissed,
                round(median(epoch(coalesce(ended_at, detected_at) - started_at) / 86400), 1) AS days
            FROM event_verdicts GROUP BY ALL ORDER BY raised DESC, fleet_id, family, kind
        """,
        "Which rows were refused, and from which files?": """
            SELECT fleet_id, reason, path, count(*) AS rows, min(date) AS first_day, max(date) AS last_day, min(detail) AS example
            FROM quarantine GROUP BY ALL ORDER BY rows DESC, fleet_id, path, reason LIMIT 20
        """,
    }
    return (questions,)


@app.cell
def _(connection, mo, questions):
    answers = {question: connection.sql(sql).pl() for question, sql in questions.items()}
    mo.vstack(
        [mo.vstack([mo.md(f"## {n}. {question}"), answers[question]]) for n, question in enumerate(questions, start=1)]
    )
    return (answers,)


if __name__ == "__main__":
    app.run()
