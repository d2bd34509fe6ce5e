"""What no single key of ``[jobs]`` can know: whether uploads can wait where it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from edge.config.load_faults import Fault, show_given
from edge.config.sources import BucketConfig, JobsConfig

_ENDING: Final = re.compile(r"[A-Za-z0-9._-]*\.[A-Za-z0-9]+")
"""An ending that the name of an original can be given."""


def faults(jobs: JobsConfig, sources: Mapping[str, Any], names: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with ``jobs.bucket``, which is not empty.

    Args:
        jobs: the section.
        sources: all sources that are sound by themselves, by name.
        names: those of all sources, the unsound ones too.

    """
    if jobs.bucket in names and jobs.bucket not in sources:
        return  # its own faults are told
    source = sources.get(jobs.bucket)
    if not isinstance(source, BucketConfig):
        buckets = [name for name, one in sources.items() if isinstance(one, BucketConfig)]
        known = f"there are {', '.join(buckets)}" if buckets else "there is none"
        yield Fault(
            location=("jobs", "bucket"),
            given=show_given(jobs.bucket),
            message=f"expected the name of a source of kind bucket; {known}",
        )
    elif source.suffixes and not any(_ENDING.fullmatch(one) for one in source.suffixes):
        yield Fault(
            location=("sources", jobs.bucket, "suffixes"),
            message="expected an ending such as .jpg among them: uploads wait in this bucket "
            "(jobs.bucket), and their names end with one",
        )
