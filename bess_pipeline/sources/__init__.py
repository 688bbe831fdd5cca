"""The outside world as rows: the fleet register, landing files, the synthetic fleet."""
