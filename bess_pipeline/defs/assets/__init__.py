"""Assets, one file per noun."""
