"""Faults injected one by one into a deployment that works, and what becomes of its tables."""
