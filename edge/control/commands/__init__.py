"""Commands: what may be asked of a box from outside, whichever way it comes in."""
