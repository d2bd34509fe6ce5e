"""Set-up, lock files, and the built program."""
