"""What the numbers are: the data dictionary, and the methods behind them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bess_pipeline.analytics.features import DATA_FAULTS, FEATURES
from bess_pipeline.analytics.lanes import LANES
from bess_pipeline.api.pages.site import Viewed, page
from bess_pipeline.lake import dictionary

router = APIRouter(include_in_schema=False)


@router.get("/methods")
def methods(asked: Viewed, request: Request) -> Response:
    """How the numbers are found, and what bounds them."""
    del asked  # who may see nothing sees no page either
    return page(request, "methods", features=FEATURES, lanes=LANES, faults=DATA_FAULTS)


@router.get("/dictionary")
def data_dictionary(asked: Viewed, request: Request) -> Response:
    """Every table of the warehouse, column by column."""
    del asked
    return page(request, "dictionary", tables=list(dictionary.tables()))
