"""The unit that runs Edge as a service."""
