"""``edge decode-child``: decodes a camera with the GPU. Started by Edge, not by people."""

from __future__ import annotations

import socket

import click


@click.command(name="decode-child", hidden=True)
@click.option("--talk", type=int, required=True, help="Descriptor of the socket.")
@click.option("--memory", type=int, default=-1, help="Descriptor of the memory; none: just look.")
@click.option("--device", type=int, default=0, help="Which GPU.")
@click.option("--library-path", default="", help="Where else the library may be.")
def decode_child(*, talk: int, memory: int, device: int, library_path: str) -> None:
    """Decode what comes on standard input."""
    from edge.sources.decode_child import look, serve

    with socket.socket(fileno=talk) as asking:
        if memory < 0:
            look(asking, device, library_path)
        else:
            serve(asking, memory, device, library_path)
