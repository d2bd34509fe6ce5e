"""How often, how fast and how long a trigger tries: Knative's delivery spec and its arithmetic.

Attempts are 1 + ``retry``. Before the n-th retry (n from 1) it waits ``delay`` times n (linear) or
times 2 to the n (exponential), and longer where the other side asked for it (``Retry-After``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edge.config.bus import DeliveryConfig

LONGEST_WAIT = 3600.0
"""Seconds between two tries at most, where the number of tries is limited."""
LONGEST_WAIT_ENDLESS = 300.0
"""The same where it is not: who comes back after days should not wait an hour more."""
LONGEST_ASKED = 30 * 86400.0
"""Seconds that another system may ask us to wait, where no ``retryAfterMax`` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySpec:
    """When to try again, and when no more. Times are seconds."""

    #: tries after the first; None: without end
    retry: int | None = None
    policy: Literal["linear", "exponential"] = "exponential"
    delay: float = 0.2
    timeout: float = 30.0
    #: longest Retry-After that is heeded; None: any
    retry_after_max: float | None = None

    @property
    def endless(self) -> bool:
        """Whether it tries until it works."""
        return self.retry is None

    def may_retry(self, tries: int) -> bool:
        """Tell whether there is another try after ``tries`` failed ones (the first included)."""
        return self.retry is None or tries <= self.retry

    def wait(self, tries: int, asked: float = 0.0) -> float:
        """Return the seconds to wait after ``tries`` failed ones, at least 1.

        Args:
            tries: how many failed so far, the newest included.
            asked: seconds that the other side asked for; 0: none.

        """
        most = LONGEST_WAIT_ENDLESS if self.endless else LONGEST_WAIT
        heeded = LONGEST_ASKED if self.retry_after_max is None else self.retry_after_max
        # max() of a NaN and a number is whichever comes first
        asked = 0.0 if math.isnan(asked) else min(asked, heeded, LONGEST_ASKED)
        return max(min(most, self._backoff(tries)), asked)

    def _backoff(self, tries: int) -> float:
        if self.policy == "linear":
            return self.delay * tries
        return self.delay * 2.0 ** min(tries, 60)


def spec_of(own: DeliveryConfig | None, bus: DeliveryConfig) -> tuple[DeliverySpec, DeliveryConfig]:
    """Return the spec of a trigger, and the section it was made of.

    A trigger that sets any key replaces the bus's whole set, as in Knative; then no ``retry``
    means none. In the bus's own set no ``retry`` means without end.
    """
    if own is not None and own.model_fields_set:
        return _spec(own, 0 if own.retry is None else own.retry), own
    return _spec(bus, bus.retry), bus


def _spec(config: DeliveryConfig, retry: int | None) -> DeliverySpec:
    return DeliverySpec(
        retry=retry,
        policy=config.backoffPolicy,
        delay=config.backoffDelay,
        timeout=config.timeout,
        retry_after_max=config.retryAfterMax,
    )
