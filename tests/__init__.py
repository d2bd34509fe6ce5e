"""Tests mirror ``edge/``; contracts, journeys and benchmarks have rooms of their own."""
