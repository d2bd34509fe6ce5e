"""Tests of ``edge/app``."""
