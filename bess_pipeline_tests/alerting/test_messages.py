"""How alerts read in each shape."""

import json
from email import message_from_bytes, policy

import pytest

from bess_pipeline.alerting import messages
from bess_pipeline.alerting.messages import told
from bess_pipeline.alerting.outbox import MOST_IN_DIGEST
from bess_pipeline.tables.alerts import NO_FLEET
from bess_pipeline_tests.alerting.made_alerts import LINK, NOW, alerts, message, occasion

SHAPES = [messages.slack, messages.teams, messages.plain]
#: As long as texts get.
LONG = {"subject": "x" * 300, "message": "y" * 600, "link": "https://bess.example/" + "z" * 200}


def mail(many):
    sent = messages.email(many, sender="bess@example.com", recipients=["a@example.com", "b@example.com"], now=NOW)
    return message_from_bytes(sent.as_bytes(), policy=policy.default)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", [1, 2, MOST_IN_DIGEST])
def test_every_message_names_each_of_its_alerts_and_leads_to_the_page_of_one(shape, number):
    many = message(number)
    text = json.dumps(shape(many))
    assert all(text.count(one.alert_id) >= 1 for one in many)
    assert LINK in text or (number > 1 and shape is messages.teams)


def test_slack_gets_one_alert_in_full():
    (one,) = message()
    title, foot = (
        f"<{LINK}|alpha / rack-0: thermal: hot_spot>",
        f"anomaly_event, 2026-05-04 11:59 UTC, alert {one.alert_id}",
    )
    assert messages.slack([one]) == {
        "text": "warning: alpha / rack-0: thermal: hot_spot",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "verbatim": True,
             "text": f":large_orange_circle: {title}\nBegan yesterday. Look at the fan."}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": foot, "verbatim": True}]},
        ],
    }  # fmt: skip


def test_slack_takes_no_name_of_a_battery_for_an_instruction():
    told_of = told(alerts(occasion("<!channel>&", subject="<https://evil.example|click>")))
    assert "<!channel>" not in json.dumps(messages.slack(told_of))
    assert "&lt;https://evil.example|click&gt;" in json.dumps(messages.slack(told_of))


def test_no_message_is_longer_than_slack_and_teams_take():
    """Slack: 50 blocks of 3000 characters. Teams: 28 KB in all."""
    many = message(MOST_IN_DIGEST, **LONG)
    blocks = messages.slack(many)["blocks"]
    assert len(blocks) <= 50
    assert max(len(block["text"]["text"]) for block in blocks if "text" in block) <= 3000
    assert len(json.dumps(messages.teams(many))) < 28 * 1024
    assert len(messages.slack(message(1, **LONG))["blocks"][0]["text"]["text"]) <= 3000


def test_teams_gets_an_adaptive_card_with_a_button_to_the_page():
    (attachment,) = messages.teams(message())["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open the page", "url": LINK}]
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}


def test_without_a_page_there_is_no_button():
    (attachment,) = messages.teams(message(link=None))["attachments"]
    assert attachment["content"]["actions"] == []


def test_json_is_a_list_of_one_or_of_many_with_times_in_utc():
    one, many = messages.plain(message()), messages.plain(message(3))
    assert [len(body["alerts"]) for body in (one, many)] == [1, 3]
    assert one["message_id"] == one["alerts"][0]["alert_id"]
    assert one["alerts"][0]["occurred_at"] == "2026-05-04T11:59:00+00:00"
    assert messages.plain(message(fleet_id=NO_FLEET))["alerts"][0]["fleet_id"] is None


def test_many_are_counted_by_severity_in_the_first_line():
    mixed = message(2) + message(1, severity="critical")
    assert messages.headline(mixed) == "3 alerts: 1 critical, 2 warning"


def test_the_same_alerts_are_the_same_message_in_whatever_order():
    many = message(3)
    assert messages.message_id(many) == messages.message_id(many[::-1]) != messages.message_id(many[:2])


def test_a_mail_reads_well_as_plain_text():
    (one,) = message()
    read = mail([one])
    assert read["Subject"] == "[BESS] warning: alpha / rack-0: thermal: hot_spot"
    assert read["To"] == "a@example.com, b@example.com"
    assert read["Message-ID"] == f"<{one.alert_id}@example.com>"
    assert read.get_content_type() == "text/plain"
    assert read.get_content() == (
        "WARNING  alpha / rack-0: thermal: hot_spot\n"
        "Began yesterday. Look at the fan.\n"
        f"{LINK}\n"
        f"anomaly_event, 2026-05-04 11:59 UTC, alert {one.alert_id}\n"
    )


def test_a_mail_of_many_holds_all_of_them_and_names_them_in_its_head():
    many = message(MOST_IN_DIGEST, **LONG)
    read = mail(many)
    assert read["X-BESS-Alert-IDs"].split() == [one.alert_id for one in many]
    assert read.get_content().count(many[0].message) == len(many)


def test_a_name_cannot_add_a_header_to_a_mail_or_a_line_to_the_log():
    many = told(alerts(occasion("rack\r\nBcc: evil@example.com")))
    assert mail(many)["Bcc"] is None
    assert "\n" not in messages.log_line(many)
