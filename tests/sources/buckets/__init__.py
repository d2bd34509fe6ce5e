"""Tests of ``edge/sources/buckets``."""
