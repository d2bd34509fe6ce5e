"""What every room may lean on: logs, metrics, back-off, beats, notices to systemd."""
