"""``make bench``: what the goals are about, as ratios to what was measured beside."""
