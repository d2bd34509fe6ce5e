"""Tests of edge/ops."""
