"""The families that Edge knows, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edge.catalog.families.end_to_end import END_TO_END
from edge.catalog.families.family import Family
from edge.catalog.families.fastestdet import FASTESTDET
from edge.catalog.families.picodet import NANODET, PICODET
from edge.catalog.families.ssd import SSD
from edge.catalog.families.v8 import V8
from edge.catalog.families.yolox import YOLOX

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {one.name: one for one in (PICODET, NANODET, YOLOX, V8, END_TO_END, SSD, FASTESTDET)}
)
