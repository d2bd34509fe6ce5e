"""Redact a picture that is on the GPU already: it looks as ``redact`` makes it look.

Worth it only where a decoder left the frame there; a 1080p frame costs more to carry there and
back than to cover here. No source does yet (``sources/capture_nvdec.py`` brings frames to the
processor), so nothing in the walk calls this.
"""

from __future__ import annotations

import logging

from edge.config.privacy import Policy
from edge.detections import Sighting
from edge.errors import PartFailed
from edge.frame import Pixels
from edge.parcel import Redaction
from edge.stages.kernels.pictures import GpuPicture, Kernels
from edge.stages.redact import redact
from edge.stages.redact_areas import Area

log = logging.getLogger(__name__)


class GpuRedactor:
    """Covers people on the GPU, and with the processor from its first failure on.

    Args:
        kernels: of the GPU that has the pictures; ``close`` it after this.

    """

    def __init__(self, kernels: Kernels) -> None:
        self._kernels = kernels
        #: why the processor does it now; empty: the GPU does
        self.given_up = ""

    def redact(self, sighting: Sighting, policy: Policy, picture: GpuPicture) -> Redaction:
        """Cover everyone in ``sighting`` as ``policy`` says.

        Masks and ``blur`` are the processor's, as is everything after a failure of the GPU.

        Args:
            sighting: the frame and who was seen in it.
            policy: how they are covered.
            picture: the frame's pixels on the GPU; they are covered in place.

        Raises:
            Withheld: as ``redact``.

        """
        frame, seen = sighting.frame, sighting.detections
        for_gpu = policy.method in ("cells", "fill") and seen.masks is None
        if self.given_up or not for_gpu or (picture.width, picture.height) != frame.size:
            return redact(sighting, policy)
        try:
            return redact(sighting, policy, lambda found: self._covered(picture, found, policy))
        except PartFailed as error:
            self.given_up = str(error)
            log.warning("redaction goes on with the processor, the GPU failed: %s", error)
            return redact(sighting, policy)

    def _covered(self, picture: GpuPicture, found: list[Area], policy: Policy) -> Pixels:
        for area in found:
            corners = (area.x1, area.y1, area.x2, area.y2)
            if policy.method == "fill":
                self._kernels.fill(picture, corners, policy.fill_colour)
            else:
                self._kernels.cells(picture, corners)
        return self._kernels.download(picture)
