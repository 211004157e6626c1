"""Why work waits: always one of an enum, in the status, the metrics and the log."""

from __future__ import annotations

from enum import StrEnum


class WaitReason(StrEnum):
    """What a lane or stage is waiting for; `explanation` says it in a line."""

    NO_INPUT = "no_input"
    STARTING = "starting"
    NO_WORKER_READY = "no_worker_ready"
    NO_NODE = "no_node"
    WORKERS_BUSY = "workers_busy"
    NO_SLOT = "no_slot"
    NO_BYTES = "no_bytes"
    BATCH_FILLING = "batch_filling"
    BACKING_OFF = "backing_off"
    OUTAGE = "outage"
    PACKER_FULL = "packer_full"
    SHARD_FILLING = "shard_filling"
    HOLDING_LETTERS = "holding_letters"
    UNCOMMITTED_FULL = "uncommitted_full"
    COMMITTING = "committing"
    DRAINING = "draining"

    @property
    def explanation(self) -> str:
        """One line for people: what is missing, and what brings it."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    WaitReason.NO_INPUT: "nothing to do: the source has no new messages",
    WaitReason.STARTING: "actors are starting and load their models",
    WaitReason.NO_WORKER_READY: "the pool has no worker; scaling or the cluster must bring one",
    WaitReason.NO_NODE: "the cluster has no room for a worker; its autoscaler has been asked for nodes",
    WaitReason.WORKERS_BUSY: "all workers have work; this stage is the bottleneck",
    WaitReason.NO_SLOT: "as many items are in flight as allowed; one must be finished first",
    WaitReason.NO_BYTES: "the lane's memory is used up; rows must reach the packer's disk first",
    WaitReason.BATCH_FILLING: "a batch is not full yet; its age will send it",
    WaitReason.BACKING_OFF: "a store or broker failed; the next try comes after a pause",
    WaitReason.OUTAGE: "a bucket or host is down: its items wait, and go on within seconds of its coming back",
    WaitReason.PACKER_FULL: "the packer is writing or uploading; it takes what waits after that",
    WaitReason.SHARD_FILLING: "rows are packed and wait for their shard to close by size or age",
    WaitReason.HOLDING_LETTERS: "letters are held until the window of the failure share has passed",
    WaitReason.UNCOMMITTED_FULL: "too many messages await a commit; the commit brings room",
    WaitReason.COMMITTING: "a commit to the lake's log is under way",
    WaitReason.DRAINING: "no new work is taken: the run is ending",
}


class WaitClock:
    """Seconds waited, by reason. One at a time: entering a reason ends the one before.

    The caller brings the time, from any clock that never goes back.
    """

    def __init__(self) -> None:
        self._waited_s: dict[WaitReason, float] = {}
        self._reason: WaitReason | None = None
        self._since_s = 0.0

    @property
    def reason(self) -> WaitReason | None:
        """What is waited for now; None while nothing is."""
        return self._reason

    def enter(self, reason: WaitReason | None, now_s: float) -> bool:
        """From now on it waits for this, or (None) for nothing.

        Returns:
            Whether that is news; the moment to log it.
        """
        if reason == self._reason:
            return False
        self._waited_s = self.totals(now_s)
        self._reason, self._since_s = reason, now_s
        return True

    def waiting_s(self, now_s: float) -> float:
        """For how long the present reason has held; 0.0 while nothing is waited for."""
        return 0.0 if self._reason is None else max(0.0, now_s - self._since_s)

    def totals(self, now_s: float) -> dict[WaitReason, float]:
        """Seconds by reason so far, the present wait included."""
        totals = dict(self._waited_s)
        if self._reason is not None:
            totals[self._reason] = totals.get(self._reason, 0.0) + self.waiting_s(now_s)
        return totals
