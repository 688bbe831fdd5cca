"""A first fleet file, drafted from a sample of its data for a person to review."""

from bess_pipeline.sources.draft.drafted import Draft, draft

__all__ = ["Draft", "draft"]
