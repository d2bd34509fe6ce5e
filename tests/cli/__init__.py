"""Tests of edge/cli."""
