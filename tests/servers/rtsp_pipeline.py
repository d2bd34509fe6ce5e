"""Run by the system's Python: one RTSP(S) camera, ``/cam0``, from a GStreamer pipeline.

``rtsp_pipeline.py PORT LAUNCH CERTIFICATE KEY LOGIN`` (the last three may be empty); prints READY.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def main(port: str, launch: str, certificate: str, key: str, login: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    guard = GstRtspServer.RTSPAuth()
    if certificate:
        guard.set_tls_certificate(Gio.TlsCertificate.new_from_files(certificate, key))
    if login:
        user, _, password = login.partition(":")
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        guard.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        guard.add_basic(guard.make_basic(user, password), token)
        role = Gst.Structure.new_empty("viewer")
        role.set_value("media.factory.access", True)
        role.set_value("media.factory.construct", True)
        factory.add_role_from_structure(role)
    if certificate or login:
        server.set_auth(guard)
    server.get_mount_points().add_factory("/cam0", factory)
    server.attach(None)
    print("READY", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:6])
