"""`bess`, and `python -m bess_pipeline`: loads the commands, and does one."""

import sys

from bess_pipeline.loading import kept


def main() -> None:
    """Do what was typed."""
    # A run loads the code location when there is something to do: 1.2 s less at its end if that is left alone, too.
    with kept(more=sys.argv[1:2] == ["run"]):
        from bess_pipeline import cli  # noqa: PLC0415 - loaded within
    cli.main()


if __name__ == "__main__":
    main()
