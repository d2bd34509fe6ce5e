"""Buckets as sources: who tells of objects, what their words mean, and how they are fetched."""
