"""The modules that know every room: build, wire, open, close. ``box.py`` has the whole."""
