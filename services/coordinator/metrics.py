"""Metrics of the coordinator, besides the RPC metrics that every process has.

Read from the store when Prometheus scrapes, so they are right after a restart and whoever made the
change. The label `campaign` is the campaign's name; campaigns that are DRAFT, RUNNING or PAUSED are
listed, and the COMPLETED ones among the newest hundred campaigns.

| metric | labels | meaning |
|---|---|---|
| `echoloop_campaigns` | state | campaigns in each state |
| `echoloop_campaign_phase` | campaign | number of the current phase |
| `echoloop_campaign_phase_state` | campaign, state | 1 for the state that the phase is in |
| `echoloop_campaign_labels` | campaign | labeled frames |
| `echoloop_campaign_label_budget` | campaign | label budget; 0 means no limit |
| `echoloop_campaign_unlabeled_frames` | campaign | frames that may still be chosen |
| `echoloop_campaign_test_frames` | campaign | frames that measure |
| `echoloop_campaign_excluded_frames` | campaign | frames that readers skipped |
| `echoloop_campaign_test_iou` | campaign | test IoU of the newest evaluated segmenter |
| `echoloop_campaign_target_iou` | campaign | where the campaign stops; absent without a target |
| `echoloop_annotation_requests` | campaign, state | annotation requests in each state |
| `echoloop_annotation_leases` | campaign | requests held by readers |
| `echoloop_annotation_requests_open` | campaign | requests that wait for a label |
| `echoloop_step_progress_ratio` | campaign | share of the step that is done, where known |
| `echoloop_step_eta_seconds` | campaign | time left of the step, where known |
| `echoloop_scored_frames_total` | outcome | frames scored by this process: scored, failed |
| `echoloop_step_failures_total` | state | steps that made their phase FAILED |
| `echoloop_step_waits_total` | state | waits of steps for a dependency that was down |

Labels to come and labels saved are in `services.coordinator.label_metrics`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.coordinator.domain.annotation import AnnotationState
from services.coordinator.domain.campaign import Campaign, CampaignState
from services.coordinator.domain.outlook import LabelOutlook
from services.coordinator.domain.phase import PhaseState
from services.coordinator.domain.ports import PageRequest, Stores
from services.coordinator.label_metrics import label_gauges
from services.platform.errors import EchoLoopError

__all__ = ["CampaignCollector", "DriverMetrics"]

_NEWEST: Final = 100
_OPEN: Final = (AnnotationState.PENDING, AnnotationState.LEASED, AnnotationState.SUBMITTED)

StepReader = Callable[[str], tuple[int, int, float | None]]
"""Returns units done, units in all and seconds left of a campaign's step."""


class DriverMetrics:
    """Counters that the driver keeps; one instance a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._scored = Counter(
            "echoloop_scored_frames",
            "Frames whose outcome was stored, by outcome: scored or failed.",
            ["outcome"],
            registry=registry,
        )
        self._failures = Counter(
            "echoloop_step_failures",
            "Steps that made their phase FAILED, by phase state.",
            ["state"],
            registry=registry,
        )
        self._waits = Counter(
            "echoloop_step_waits",
            "Waits of steps for a dependency that was down, by phase state.",
            ["state"],
            registry=registry,
        )

    def frames_scored(self, scored: int, failed: int) -> None:
        """Count stored outcomes."""
        self._scored.labels("scored").inc(scored)
        self._scored.labels("failed").inc(failed)

    def step_failed(self, state: PhaseState) -> None:
        """Count a failed step."""
        self._failures.labels(state.value).inc()

    def step_waits(self, state: PhaseState) -> None:
        """Count a wait."""
        self._waits.labels(state.value).inc()


class CampaignCollector(Collector):
    """Reads the gauges of the table above from the store at each scrape.

    Runs in the metrics server's thread; a store that cannot be read gives no gauges rather than old
    ones.

    Args:
        stores: Read.
        step: Progress of a campaign's step.
        outlook: What was found last of a campaign's labels; None before.
    """

    def __init__(
        self,
        stores: Stores,
        step: StepReader,
        outlook: Callable[[str], LabelOutlook | None] = lambda _: None,
    ) -> None:
        self._stores = stores
        self._step = step
        self._outlook = outlook

    def describe(self) -> list[Metric]:
        """Name nothing in advance: registering must not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every gauge."""
        try:
            counts = self._stores.campaigns.count_by_state()
            campaigns = self._campaigns()
            requests = {
                campaign.name: self._stores.annotations.count_by_state(campaign.id)
                for campaign in campaigns
                if campaign.state is not CampaignState.DRAFT
            }
        except EchoLoopError:
            return
        states = GaugeMetricFamily("echoloop_campaigns", "Campaigns by state.", labels=["state"])
        for state, count in counts.items():
            states.add_metric([state.value], count)
        yield states
        yield from _campaign_gauges(campaigns)
        yield from _request_gauges(requests)
        yield from self._step_gauges(campaigns)
        known = {campaign.name: self._outlook(campaign.id) for campaign in campaigns}
        yield from label_gauges({name: each for name, each in known.items() if each is not None})

    def _campaigns(self) -> list[Campaign]:
        listed = {
            campaign.id: campaign
            for campaign in self._stores.campaigns.list(PageRequest(_NEWEST)).items
        }
        for state in (CampaignState.DRAFT, CampaignState.RUNNING, CampaignState.PAUSED):
            listed |= {c.id: c for c in self._stores.campaigns.in_state(state)}
        return list(listed.values())

    def _step_gauges(self, campaigns: list[Campaign]) -> Iterator[Metric]:
        ratio = _gauge("echoloop_step_progress_ratio", "Share of the step that is done.")
        eta = _gauge("echoloop_step_eta_seconds", "Time left of the step.")
        for campaign in campaigns:
            done, total, eta_s = self._step(campaign.id)
            if total:
                ratio.add_metric([campaign.name], done / total)
            if eta_s is not None:
                eta.add_metric([campaign.name], eta_s)
        yield ratio
        yield eta


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["campaign", *labels])


def _campaign_gauges(campaigns: list[Campaign]) -> Iterator[Metric]:
    phase = _gauge("echoloop_campaign_phase", "Number of the current phase.")
    state = _gauge("echoloop_campaign_phase_state", "1 for the phase's state.", "state")
    labels = _gauge("echoloop_campaign_labels", "Labeled frames.")
    budget = _gauge("echoloop_campaign_label_budget", "Label budget; 0 means no limit.")
    unlabeled = _gauge("echoloop_campaign_unlabeled_frames", "Frames that may still be chosen.")
    test = _gauge("echoloop_campaign_test_frames", "Frames that measure.")
    excluded = _gauge("echoloop_campaign_excluded_frames", "Frames that readers skipped.")
    iou = _gauge("echoloop_campaign_test_iou", "Test IoU of the newest evaluated segmenter.")
    target = _gauge("echoloop_campaign_target_iou", "Test IoU at which the campaign stops.")
    for campaign in campaigns:
        name = campaign.name
        phase.add_metric([name], campaign.phase)
        if campaign.phase_state is not None:
            state.add_metric([name, campaign.phase_state.value], 1)
        labels.add_metric([name], campaign.labeled)
        budget.add_metric([name], campaign.config.label_budget)
        unlabeled.add_metric([name], campaign.unlabeled)
        test.add_metric([name], campaign.test)
        excluded.add_metric([name], campaign.excluded)
        if campaign.test_iou is not None:
            iou.add_metric([name], campaign.test_iou)
        if campaign.config.target_iou is not None:
            target.add_metric([name], campaign.config.target_iou)
    yield from (phase, state, labels, budget, unlabeled, test, excluded, iou, target)


def _request_gauges(requests: dict[str, Mapping[AnnotationState, int]]) -> Iterator[Metric]:
    by_state = _gauge("echoloop_annotation_requests", "Annotation requests by state.", "state")
    leases = _gauge("echoloop_annotation_leases", "Requests held by readers.")
    unfinished = _gauge("echoloop_annotation_requests_open", "Requests that wait for a label.")
    for name, counts in requests.items():
        for state, count in counts.items():
            by_state.add_metric([name, state.value], count)
        leases.add_metric([name], counts[AnnotationState.LEASED])
        unfinished.add_metric([name], sum(counts[state] for state in _OPEN))
    yield from (by_state, leases, unfinished)
