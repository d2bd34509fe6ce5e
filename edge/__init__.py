"""Edge: a privacy appliance for CCTV. Cameras and pictures in, only redacted pictures out."""

__version__ = "0.1.0"
