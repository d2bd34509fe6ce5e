"""Upstream: what goes to the broker, and what the broker keeps of a box."""
