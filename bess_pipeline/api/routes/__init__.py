"""What can be asked, a file per noun."""
