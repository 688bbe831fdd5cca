"""A draft as YAML: what is proposed, and behind each line why, and how sure."""

from __future__ import annotations

import textwrap

import yaml

from bess_pipeline.sources.draft.drafted import Draft
from bess_pipeline.sources.draft.sample import Told

_WIDEST = 64
_PAGE = 150


def fleet_file(draft: Draft) -> str:
    """The draft as the text of a fleet file; it is accepted once every ``TODO`` in it is decided.

    Args:
        draft: The draft.
    """
    lines: list[tuple[str, str]] = []
    rows = f"{'all' if draft.is_whole else 'the first'} {draft.rows:,} rows".replace(",", " ")
    todo = len(draft.undecided)
    head = [
        f"# Drafted from {rows} of {draft.file}; a person has to review it.",
        "# Behind each line: how sure (sure, likely, guess) and why. "
        + (f"{todo} TODO to decide." if todo else "Nothing is left to decide."),
        *(f"# Note: {remark}." for remark in draft.remarks),
    ]
    lines.append((f"fleet_id: {_text(draft.fleet_id)}", "the file must be called like this, .yaml"))
    lines.append(("# name:", "what people call it"))
    lines.append(("# commissioned: YYYY-MM-DD", "first day of operation"))
    lines.append(("battery:", "nameplate of one battery (rack, string, pack or cell)"))
    lines += [_line(2, key, told) for key, told in draft.battery.items()]
    lines.append(("source:", ""))
    lines += [_line(2, key, told) for key, told in draft.source.items()]
    lines.append(("  columns:", ""))
    for house, keys in draft.columns.items():
        lines += _column(house, keys)
    if draft.cells:
        lines.append(("  cells:", ""))
        for house, keys in draft.cells.items():
            lines += _column(house, keys)
        lines += [_line(4, key, told) for key, told in draft.cell_keys.items()]
    unmapped = [seen for seen in draft.seen if seen.house is None]
    width = min(_WIDEST, max(len(text) for text, _ in lines))
    written = []
    for text, comment in lines:
        first, *more = textwrap.wrap(comment, max(48, _PAGE - width)) or [""]
        written.append(f"{text:<{width}}  # {first}" if first else text)
        written += [f"{'':<{width}}  #   {rest}" for rest in more]
    if unmapped:
        written.append("# Not mapped, and therefore ignored:")
        written += [f"#   {seen.column}" + (f": {seen.why}" if seen.why else "") for seen in unmapped]
    return "\n".join(map(_printable, [*head, *written])) + "\n"


def _printable(line: str) -> str:
    """A line without characters that YAML does not allow, which only comments can still have."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


def _line(indent: int, key: str, told: Told) -> tuple[str, str]:
    comment = _comment(told)
    if told.value is None:
        return f"{' ' * indent}# {key}:", comment
    return f"{' ' * indent}{key}: {_text(told.value)}", comment


def _column(house: str, keys: dict[str, Told]) -> list[tuple[str, str]]:
    """A column on one line, with the reasons of its keys behind it; those that are left to a person above it."""
    said = {key: told.value for key, told in keys.items()}
    text = f"    {house}: {_text(said)}"
    main = next((told for key, told in keys.items() if key in {"from", "value"}), None)
    comments = [] if main is None else [_comment(main)]
    comments += [
        f"{key}: {_comment(told)}"
        for key, told in keys.items()
        if told is not main and (told.why or told.sure == "TODO")
    ]
    first, *rest = [comment for comment in comments if comment] or [""]
    return [(text, first), *(("", comment) for comment in rest)]


def _comment(told: Told) -> str:
    return f"{told.sure}: {told.why}" if told.why else told.sure


def _text(value: object) -> str:
    """A value as YAML on one line.

    Examples:
        >>> _text({"from": "U [V]", "unit": "mV"})
        "{from: 'U [V]', unit: mV}"
        >>> _text("%d.%m.%Y")
        "'%d.%m.%Y'"
    """
    if isinstance(value, str) and value == "\t":
        return '"\\t"'
    dumped = yaml.safe_dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return dumped.strip().removesuffix("...").strip()
