"""Tests of the doors and of what waits before them."""
