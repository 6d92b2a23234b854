"""The pure cores: what shall live, what lives, and what to do about the difference. No I/O, no clock, no log."""
