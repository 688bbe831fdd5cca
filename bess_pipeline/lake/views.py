"""Views: questions that the warehouse answers from its tables, and the lake from the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import polars as pl

from bess_pipeline.tables import catalog
from bess_pipeline.tables.anomalies import SEVERITIES
from bess_pipeline.tables.catalog import Table


@dataclass(frozen=True)
class View:
    """One view.

    Attributes:
        name: Name in the warehouse.
        about: What a row is.
        reads: Tables that it reads.
        sql: The query.
        own: Meanings of the columns that no table has.
    """

    name: str
    about: str
    reads: tuple[Table, ...]
    sql: str
    own: Mapping[str, str]

    def meanings(self) -> dict[str, str]:
        """Column → what it means, of the tables' columns, too."""
        known = {
            name: column.description or "" for table in reversed(self.reads) for name, column in table.columns.items()
        }
        return known | dict(self.own)


#: Events that data and limits raise are told apart by kind, all others by family: as their identities are.
_STRAND = "coalesce(component, '') AS part, CASE WHEN family IN ('data', 'limit') THEN kind ELSE '' END AS strand"
_SAME = "USING (fleet_id, battery_id, part, family, strand)"
_RANK = " ".join(f"WHEN '{name}' THEN {rank}" for rank, name in enumerate(SEVERITIES))

EVENT_VERDICTS = View(
    "event_verdicts",
    "One row per event: what people said of it, whether an earlier dismissal mutes it, and how much it matters now.",
    (catalog.ANOMALY_EVENTS, catalog.EVENT_FEEDBACK),
    f"""
    WITH happened AS (SELECT *, {_STRAND} FROM anomaly_events),
    said AS (SELECT *, {_STRAND} FROM event_feedback),
    attached AS (
        SELECT e.event_id, f.verdict, f.severity, f.note, f.given_by, f.given_at, f.feedback_id
        FROM happened e JOIN said f {_SAME}
        WHERE e.started_at <= f.until_at AND (e.ended_at IS NULL OR e.ended_at >= f.started_at)
    ),
    judged AS (
        SELECT event_id, verdict, severity, given_by, given_at FROM attached WHERE verdict <> 'annotated'
        QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY given_at DESC, feedback_id DESC) = 1
    ),
    noted AS (
        SELECT event_id, string_agg(given_by || ': ' || note, chr(10) ORDER BY given_at, feedback_id) AS notes
        FROM attached WHERE note IS NOT NULL GROUP BY event_id
    ),
    dismissals AS (
        SELECT * FROM said f
        WHERE verdict = 'dismissed' AND mute_until IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM said g
            WHERE g.fleet_id = f.fleet_id AND g.battery_id = f.battery_id AND g.part = f.part
                AND g.family = f.family AND g.strand = f.strand AND g.verdict <> 'annotated'
                AND (g.given_at, g.feedback_id) > (f.given_at, f.feedback_id)
                AND g.started_at <= f.until_at AND g.until_at >= f.started_at
        )
    ),
    muted AS (
        SELECT e.event_id, min(f.feedback_id) AS muted_by
        FROM happened e JOIN dismissals f {_SAME}
        WHERE e.detected_at > f.until_at AND e.detected_at < f.mute_until AND e.detector <> 'safety'
            AND CASE e.severity {_RANK} END <= CASE f.severity {_RANK} END
        GROUP BY e.event_id
    )
    SELECT e.fleet_id, e.event_id, e.battery_id, e.family, e.kind, e.detector, e.severity, e.component, e.started_at,
        e.ended_at, e.detected_at, e.score, e.next_step,
        CASE WHEN j.verdict <> 'withdrawn' THEN j.verdict END AS verdict,
        CASE WHEN j.verdict <> 'withdrawn' THEN j.given_by END AS verdict_by,
        CASE WHEN j.verdict <> 'withdrawn' THEN j.given_at END AS verdict_at,
        n.notes,
        CASE WHEN j.verdict IS NULL THEN m.muted_by END AS muted_by,
        CASE WHEN j.verdict IS NULL AND m.muted_by IS NOT NULL THEN 'info'
            WHEN j.verdict = 'dismissed' AND CASE e.severity {_RANK} END <= CASE j.severity {_RANK} END THEN 'info'
            ELSE e.severity END AS effective_severity
    FROM happened e
    LEFT JOIN judged j USING (event_id) LEFT JOIN noted n USING (event_id) LEFT JOIN muted m USING (event_id)
    ORDER BY e.fleet_id, e.detected_at, e.event_id
    """,  # noqa: S608 - of constants of this module alone
    {
        "verdict": "What was said of it last: confirmed or dismissed",
        "verdict_by": "Who said so",
        "verdict_at": "When it was said",
        "notes": "Remarks, one a line, with who made them",
        "muted_by": "Earlier dismissal that mutes it: feedback_id",
        "effective_severity": "Severity; info where it was dismissed, or is muted, and has not got worse since",
    },
)

VIEWS: tuple[View, ...] = (EVENT_VERDICTS,)


def answered(view: View, tables: dict[str, pl.DataFrame]) -> pl.DataFrame:
    """What a view says of tables that are not in the warehouse (yet).

    Args:
        view: The view.
        tables: By name, all that it reads.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in view.reads:
            connection.register(table.name, tables[table.name])
        answer: pl.DataFrame = connection.sql(view.sql).pl()
    return answer
