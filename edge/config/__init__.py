"""What the operator may say: one frozen section a room, read from TOML."""
