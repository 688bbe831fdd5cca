"""The battery science: pure functions, frames in, frames out, one file per noun."""
