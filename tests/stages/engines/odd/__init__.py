"""A stand-in for TensorRT's builder that fails as it is told to: ``tensorrt.py`` here.

It shows what Edge does about a builder that crashes, hangs or lies. It builds nothing, so nothing
about TensorRT is verified by it.
"""
