"""Every fault that is played, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from faults import collecting, forwarding, landing, publishing, segments
from faults.stage import Result, Stage


@dataclass(frozen=True)
class Fault:
    """`play` is one seed of it; `seeds` how many `make faults` plays."""

    play: Callable[[Stage], Result]
    seeds: int = 20

    @property
    def name(self) -> str:
        return self.play.__name__

    @property
    def needs_kafka(self) -> bool:
        return self.play.__module__ == forwarding.__name__

    @property
    def number(self) -> str:
        """Its place in the list of faults, such as A9."""
        return self._words[0]

    @property
    def about(self) -> str:
        return self._words[1]

    @property
    def _words(self) -> tuple[str, str]:
        number, about = (self.play.__doc__ or "").split(": ", 1)
        return number, " ".join(about.partition("\n\n")[0].split())


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(collecting.killed_collector, 100),
        Fault(collecting.power_cut_at_collector, 100),
        Fault(collecting.answers_before_sync),
        Fault(forwarding.killed_broker),
        Fault(forwarding.killed_forwarder),
        Fault(forwarding.long_outage),
        Fault(forwarding.stuck_producer),
        Fault(forwarding.broker_comes_late),
        Fault(forwarding.forwarder_set_back),
        Fault(forwarding.retention_overrun),
        Fault(forwarding.retention_in_a_landing),
        Fault(forwarding.topic_made_anew),
        Fault(forwarding.more_partitions),
        Fault(forwarding.poison_in_the_topic),
        Fault(segments.flipped_chunk),
        Fault(segments.zeroed_page),
        Fault(segments.cut_segment),
        Fault(segments.zeroed_tail),
        Fault(segments.zeroed_wal_tail),
        Fault(segments.deleted_segment),
        Fault(landing.killed_lander, 100),
        Fault(landing.power_cut_at_lander, 50),
        Fault(landing.wal_cut_short),
        Fault(landing.wal_flipped),
        Fault(landing.wal_deleted),
        Fault(landing.warehouse_stepped_back),
        Fault(landing.segments_released_before_checkpoint),
        Fault(landing.short_of_memory),
        Fault(landing.overtaken_lander),
        Fault(landing.second_lander),
        Fault(landing.opened_by_hand),
        Fault(publishing.readers_through_publishes),
        Fault(publishing.killed_publisher),
        Fault(collecting.repeating_clients),
        Fault(landing.rewound_lander),
        Fault(landing.poison_on_the_log),
        Fault(collecting.rolling_restarts),
    )
}
