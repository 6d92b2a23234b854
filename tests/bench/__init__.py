"""That the yardstick does not rot: what runs without a network is driven once, small. Nothing here looks at a clock."""
