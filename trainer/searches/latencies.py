"""The latency of every network of a search, measured once each."""

import asyncio

from trainer.domain.search.trials import Trial
from trainer.searches.ledger import TrialLedger
from trainer.searches.ports import LatencyMeter

__all__ = ["Latencies"]


class Latencies:
    """Measures a network when it is first asked for; its other trials copy what is known.

    Args:
        ledger: Keeps what was measured.
        meter: Measures.
        slots: One is held while measuring: the network is exported by a process of its own.
        image_size: Working resolution of the trials.
        stop: Once set, a measurement ends.
    """

    def __init__(
        self,
        ledger: TrialLedger,
        meter: LatencyMeter,
        slots: asyncio.Semaphore,
        image_size: int,
        stop: asyncio.Event,
    ) -> None:
        self._ledger = ledger
        self._meter = meter
        self._slots = slots
        self._image_size = image_size
        self._stop = stop
        self._turn = asyncio.Lock()

    async def know(self, trial: Trial) -> Trial:
        """Return the trial with its latency.

        Raises:
            See `LatencyMeter.measure`.
        """
        if trial.latency_ms is not None:
            return trial
        async with self._turn:
            latency_ms = self._known(trial)
            if latency_ms is None:
                async with self._slots:
                    latency_ms = await self._meter.measure(
                        trial.configuration.model, self._image_size, self._stop
                    )
            return await self._ledger.measured(trial.number, latency_ms)

    def _known(self, trial: Trial) -> float | None:
        network = trial.configuration.model
        return next(
            (
                other.latency_ms
                for other in self._ledger.trials
                if other.latency_ms is not None and other.configuration.model == network
            ),
            None,
        )
