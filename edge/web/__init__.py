"""The status page, the upload API, health and metrics."""
