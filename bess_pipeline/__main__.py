"""`bess`, and `python -m bess_pipeline`: loads the commands, and does one."""

from bess_pipeline.loading import kept


def main() -> None:
    """Do what was typed."""
    with kept():
        from bess_pipeline import cli  # noqa: PLC0415 - loaded within
    cli.main()


if __name__ == "__main__":
    main()
