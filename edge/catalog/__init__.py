"""Models: manifests, download, import, the canonical graph."""
