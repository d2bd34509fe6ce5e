"""Every metric that leaves the process, in one typed place.

Base units, ``_total`` on counters only, ratios 0 to 1. ``tests/test_docs.py`` checks that each is
documented in ``edge/ops/README.md``, which ``reference`` makes. A registry of its own, so that
tests and two boxes in one process do not meet.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_STAGE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_AGE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The box's metrics. Attributes are the metrics; their help text is their documentation."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._add_pictures(self.registry)
        self._add_times(self.registry)
        self._add_sources(self.registry)
        self._add_notifications(self.registry)
        self._add_engine(self.registry)
        self._add_originals(self.registry)
        self._add_store(self.registry)
        self._add_bus(self.registry)
        self._add_deliveries(self.registry)
        self._add_upstream(self.registry)
        self._add_process(self.registry)
        self._add_energy(self.registry)

    def _add_pictures(self, registry: CollectorRegistry) -> None:
        self.pictures_taken = Counter(
            "edge_pictures_taken_total",
            "Pictures that a source brought.",
            ["source"],
            registry=registry,
        )
        self.pictures_dropped = Counter(
            "edge_pictures_dropped_total",
            "Live frames that gave way to newer ones, found no room, or were left out under "
            "the cap on power (power), by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.pictures_withheld = Counter(
            "edge_pictures_withheld_total",
            "Pictures that did not leave because nobody could show that they were safe, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.pictures_rejected = Counter(
            "edge_pictures_rejected_total",
            "Pictures that could not be read or were refused, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.pictures_redacted = Counter(
            "edge_pictures_redacted_total",
            "Redacted pictures that are safe in the outbox.",
            ["source"],
            registry=registry,
        )
        self.people_covered = Counter(
            "edge_people_covered_total",
            "Regions that were covered.",
            ["source"],
            registry=registry,
        )

    def _add_times(self, registry: CollectorRegistry) -> None:
        self.stage_seconds = Histogram(
            "edge_stage_seconds",
            "Time of one picture in one stage: decode, detect, redact, encode, classify, keep.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self.picture_age_seconds = Histogram(
            "edge_picture_age_seconds",
            "From capture to the redacted picture being in the outbox.",
            ["source"],
            buckets=_AGE_BUCKETS,
            registry=registry,
        )

    def _add_sources(self, registry: CollectorRegistry) -> None:
        self.source_up = Gauge(
            "edge_source_up", "1 while a source brings pictures.", ["source"], registry=registry
        )
        self.source_reconnects = Counter(
            "edge_source_reconnects_total",
            "Times that a camera was opened anew.",
            ["source"],
            registry=registry,
        )
        self.source_stalls = Counter(
            "edge_source_stalls_total",
            "Times that a camera stopped sending without a word.",
            ["source"],
            registry=registry,
        )
        self.objects_gone = Counter(
            "edge_objects_gone_total",
            "Pictures that were deleted from their bucket before they could be fetched.",
            ["source"],
            registry=registry,
        )

    def _add_notifications(self, registry: CollectorRegistry) -> None:
        self.notifications = Counter(
            "edge_hook_notifications_total",
            "What object stores sent to /hooks/s3, by outcome: accepted, duplicate (told before), "
            "unwanted (other buckets, keys, happenings), malformed (a dead letter), refused "
            "(turned away: no token, too large, no room).",
            ["outcome"],
            registry=registry,
        )
        self.notification_seconds = Histogram(
            "edge_hook_answer_seconds",
            "Until a notification was answered; whoever is turned away waits on purpose.",
            ["answer"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )

    def _add_originals(self, registry: CollectorRegistry) -> None:
        self.originals = Counter(
            "edge_originals_total",
            "Originals in buckets whose redacted picture is stored, by what became of them: "
            "deleted, tagged, full (ten other tags), gone (deleted before), replaced (written "
            "over: it stays).",
            ["source", "outcome"],
            registry=registry,
        )
        self.pictures_erased = Counter(
            "edge_pictures_erased_total",
            "Redacted pictures that were removed because their original was.",
            ["source"],
            registry=registry,
        )

    def _add_engine(self, registry: CollectorRegistry) -> None:
        self.engine_ready = Gauge(
            "edge_engine_ready",
            "1 while the engine answers.",
            ["engine", "model"],
            registry=registry,
        )
        self.engine_failures = Counter(
            "edge_engine_failures_total",
            "Times that the engine raised or hung.",
            ["reason"],
            registry=registry,
        )
        self.safe_mode = Gauge(
            "edge_safe_mode", "1 while no trained model looks.", registry=registry
        )

    def _add_store(self, registry: CollectorRegistry) -> None:
        self.outbox_parcels = Gauge(
            "edge_outbox_parcels", "Parcels that wait for the store.", registry=registry
        )
        self.outbox_bytes = Gauge(
            "edge_outbox_bytes", "Bytes of parcels that wait for the store.", registry=registry
        )
        self.outbox_oldest_seconds = Gauge(
            "edge_outbox_oldest_seconds",
            "Age of the oldest parcel that waits.",
            registry=registry,
        )
        self.store_up = Gauge(
            "edge_store_up", "1 while the store takes parcels.", registry=registry
        )
        self.parcels_stored = Counter(
            "edge_parcels_stored_total", "Parcels that the store has.", registry=registry
        )
        self.parcels_dead = Counter(
            "edge_parcels_dead_total",
            "Parcels that the store will never take, by reason.",
            ["reason"],
            registry=registry,
        )
        self.parcels_evicted = Counter(
            "edge_parcels_evicted_total",
            "Parcels of live sources that gave way to newer ones, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self.store_retries = Counter(
            "edge_store_retries_total", "Tries at a shut store.", registry=registry
        )

    def _add_bus(self, registry: CollectorRegistry) -> None:
        self.bus_accepted = Counter(
            "edge_bus_events_accepted_total",
            "Events that are safe in the journal, replies included.",
            registry=registry,
        )
        self.bus_duplicates = Counter(
            "edge_bus_events_duplicate_total",
            "Events that were accepted before: same source and id.",
            registry=registry,
        )
        self.bus_refused = Counter(
            "edge_bus_refused_total",
            "Times that events were not taken, by reason.",
            ["reason"],
            registry=registry,
        )
        self.bus_waiting_events = Gauge(
            "edge_bus_waiting_events", "Events that wait in the journal.", registry=registry
        )
        self.bus_waiting_bytes = Gauge(
            "edge_bus_waiting_bytes", "Bytes of events that wait.", registry=registry
        )
        self.bus_oldest_seconds = Gauge(
            "edge_bus_oldest_seconds", "Age of the oldest event that waits.", registry=registry
        )

    def _add_deliveries(self, registry: CollectorRegistry) -> None:
        self.bus_deliveries = Counter(
            "edge_bus_deliveries_total",
            "Deliveries that ended, by outcome: done, dead, or expired (expirytime passed).",
            ["trigger", "outcome"],
            registry=registry,
        )
        self.bus_delivery_seconds = Histogram(
            "edge_bus_delivery_seconds",
            "Time of one try to deliver an event.",
            ["trigger"],
            buckets=_STAGE_BUCKETS,
            registry=registry,
        )
        self.bus_retries = Counter(
            "edge_bus_retries_total",
            "Tries to deliver that failed and are made again.",
            ["trigger"],
            registry=registry,
        )
        self.bus_letters = Gauge(
            "edge_bus_dead_letters", "Dead letters that are kept.", registry=registry
        )
        self.bus_died = Counter(
            "edge_bus_dead_total",
            "Deliveries that became dead letters, by reason.",
            ["trigger", "reason"],
            registry=registry,
        )
        self.bus_letters_dropped = Counter(
            "edge_bus_letters_dropped_total",
            "Dead letters that were dropped: asked (by a person), dead_for, dead_bytes.",
            ["reason"],
            registry=registry,
        )

    def _add_upstream(self, registry: CollectorRegistry) -> None:
        self.upstream_messages = Counter(
            "edge_upstream_messages_total",
            "Messages for the broker, ever: produced, delivered (acknowledged), tombstoned (gave "
            "way, named in a loss message). produced = delivered + tombstoned + what waits.",
            ["class", "outcome"],
            registry=registry,
        )
        self.upstream_waiting = Gauge(
            "edge_upstream_waiting",
            "Messages that wait for the broker.",
            ["class"],
            registry=registry,
        )
        self.upstream_bytes = Gauge(
            "edge_upstream_bytes",
            "Bytes of messages that wait for the broker.",
            ["class"],
            registry=registry,
        )
        self.upstream_oldest_seconds = Gauge(
            "edge_upstream_oldest_seconds",
            "Age of the oldest message that waits for the broker.",
            registry=registry,
        )
        self.upstream_sent_bytes = Counter(
            "edge_upstream_sent_bytes_total",
            "Bytes of messages that were sent to the broker, repeats included.",
            registry=registry,
        )

    def _add_process(self, registry: CollectorRegistry) -> None:
        self.jobs = Gauge("edge_jobs", "Uploads by state.", ["state"], registry=registry)
        self.viewers = Gauge("edge_live_viewers", "Live previews being watched.", registry=registry)
        self.loop_lag_seconds = Gauge(
            "edge_loop_lag_seconds",
            "How late the event loop ran its last tick.",
            registry=registry,
        )
        self.part_restarts = Counter(
            "edge_part_restarts_total",
            "Parts that the supervisor opened anew.",
            ["part"],
            registry=registry,
        )
        self.bugs = Counter(
            "edge_bugs_total",
            "Exceptions that nobody foresaw; each has a traceback in the log.",
            registry=registry,
        )

    def _add_energy(self, registry: CollectorRegistry) -> None:
        self.energy_zones = Gauge(
            "edge_energy_zones",
            "Counters of energy that answer; 0: this machine has none that may be read, and "
            "nothing is estimated in their place.",
            registry=registry,
        )
        self.energy_joules = Counter(
            "edge_energy_joules_total",
            "Energy since the start, by zone: processor and memory (RAPL), GPU (NVML), or a "
            "Jetson's module. Zones do not overlap.",
            ["zone"],
            registry=registry,
        )
        self.power_watts = Gauge(
            "edge_power_watts",
            "Power at the last look; left out while the zone's counter says nothing.",
            ["zone"],
            registry=registry,
        )
        self.energy_per_pictures = Gauge(
            "edge_energy_joules_per_thousand_pictures",
            "Energy of all zones for 1000 redacted pictures, over the last five minutes, what the "
            "machine takes at rest included; NaN: not known.",
            registry=registry,
        )
        self.energy_per_pictures.set(float("nan"))
        self.power_cap_share = Gauge(
            "edge_power_cap_share",
            "Share of live frames that the cap on power let through in the last seconds; 1: all.",
            registry=registry,
        )
        self.power_cap_share.set(1)


def counts_by(counter: Counter, label: str) -> dict[str, int]:
    """Return a counter's totals by one of its labels (the others summed), for the status page."""
    totals: dict[str, int] = {}
    for family in counter.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                name = sample.labels.get(label, "")
                totals[name] = totals.get(name, 0) + int(sample.value)
    return totals


def table() -> list[Mapping[str, str]]:
    """Return every metric: its name, type, labels and meaning."""
    rows: list[Mapping[str, str]] = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, CollectorRegistry):
            continue
        facts = metric.describe()[0]
        total = "_total" if facts.type == "counter" else ""
        rows.append(
            {
                "name": facts.name + total,
                "type": facts.type,
                "labels": ", ".join(metric._labelnames),  # noqa: SLF001 (no public way)
                "meaning": facts.documentation,
            }
        )
    return rows


def reference() -> str:
    """Return every metric as a Markdown table: what ``edge/ops/README.md`` holds."""
    lines = [
        "# Metrics",
        "",
        "Made by `edge config reference --metrics`; do not edit by hand. Served at `/metrics` in",
        "Prometheus' text format. Base units; `_total` on counters only; ratios 0 to 1.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{row['name']}` | {row['type']} | {row['labels']} | {row['meaning']} |"
        for row in table()
    ]
    return "\n".join(lines) + "\n"
