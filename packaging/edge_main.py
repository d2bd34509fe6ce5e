#!/usr/bin/env python3
"""Where the frozen program begins: the same as ``python -m edge``."""

from edge.__main__ import main

if __name__ == "__main__":
    main()
