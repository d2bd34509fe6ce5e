"""Where events come from: cameras, the drawn scene, folders, uploads."""
