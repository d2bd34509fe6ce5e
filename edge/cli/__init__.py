"""The command line: one file per command, nothing but arguments in and text or JSON out."""
