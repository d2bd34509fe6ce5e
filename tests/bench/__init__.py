"""``make bench``: six measurements, each with its goal, as ratios to what was measured beside."""
