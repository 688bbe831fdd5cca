"""What a row is: one contract per table, one file per noun."""
