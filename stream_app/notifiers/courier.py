"""Tells one target of alerts: reads its feed, sends one change at a time, commits what was told. Stands at the edge.

Three tasks for each target: the reader fills the backlog, the sender empties it, and the committer tells Kafka how far
all is done. So a target that hangs stops no reading, and a Kafka that hangs stops no telling. Between two changes the
sender waits a moment for the commit of the first, so that a kill repeats no more than one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import aiohttp

from stream_app.clock import SECOND_MS, monotonic_seconds, now_ms, to_rfc3339
from stream_app.notifiers.alertmanager import Alertmanager, Register
from stream_app.notifiers.apprise import Apprise
from stream_app.notifiers.backlog import Backlog, Waiting
from stream_app.notifiers.feed import Feed, News
from stream_app.notifiers.message import Outcome, Verdict
from stream_app.notifiers.notice import Notice
from stream_app.notifiers.post import post
from stream_app.notifiers.readiness import State, silent_since_ms
from stream_app.notifiers.targets import Target
from stream_app.output import printable
from stream_app.settings import Settings

logger = logging.getLogger(__name__)

_LONGEST_REST_SECONDS = 1.0
_COMMIT_AGAIN_SECONDS = 5.0
_COMMIT_WAIT_SECONDS = 1.0
_LEAVING_SECONDS = 3.0  # half the shortest usual session: the group waits for us meanwhile
_SHOWN = 300


class Courier:
    """Tells one target until told to stop."""

    def __init__(self, settings: Settings, target: Target, client: aiohttp.ClientSession) -> None:
        self._target = target
        self._client = client
        self._feed = Feed(settings, target.name, target.choice, self._leave)
        self._backlog = Backlog(target.give_up_ms / SECOND_MS, random.random)
        service = target.service
        self._register = Register(service.resend_seconds) if isinstance(service, Alertmanager) else None
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._committed = asyncio.Condition()
        self._done = 0
        self._done_and_committed = 0
        self._stopping = asyncio.Event()
        self._sending = asyncio.Lock()
        self._failing_since_ms: int | None = None
        self._problem = ""
        self._kafka_is_away = False

    @property
    def state(self) -> State:
        """How it is doing."""
        return State(
            name=self._target.name,
            has_joined=self._feed.has_joined,
            in_history=self._feed.in_history,
            waiting=len(self._backlog),
            failing_since_ms=self._failing_since_ms,
            problem=self._problem,
            kafka_answered_ms=self._feed.last_answer_ms(),
            tally=self._backlog.tally,
            unreadable=self._feed.unreadable,
        )

    def stop(self) -> None:
        """End after the change that is being sent."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Tell until stopped.

        Raises:
            Failure: Kafka does not let this user read.
        """
        await self._feed.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(self._read()), tasks.create_task(self._commit())]
                await self._send()
                for task in background:
                    task.cancel()
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LEAVING_SECONDS):
                    await self._feed.commit()
                    await self._feed.stop()

    # --- The three tasks ---

    async def _read(self) -> None:
        while True:
            for news in await self._feed.read(not self._backlog.is_full):
                self._take(news)
            self._make_room()
            self._note_kafka()
            self._progress.set()  # what the target does not want is done as well

    async def _send(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            await self._tell_again()
            now = monotonic_seconds()
            waiting = self._backlog.next(now)
            if waiting is None:
                await self._rest(now)
            else:
                async with self._sending:
                    await self._tell(waiting)
                await self._wait_for_commit()

    async def _commit(self) -> None:
        while True:
            self._progress.clear()
            done = self._done
            await self._feed.commit()
            async with self._committed:
                self._done_and_committed = done
                self._committed.notify_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_COMMIT_AGAIN_SECONDS):
                    await self._progress.wait()

    # --- What they do ---

    def _take(self, news: News) -> None:
        now = monotonic_seconds()
        for record in news.to_tell:
            self._backlog.add(news.place, record, now)
        if self._register is not None:
            for record in news.told_before:
                # An end is told again for five minutes from when it was written, as nobody noted when it was told.
                told_at = now - max(0, now_ms() - record.time_ms) / SECOND_MS
                self._register.note(record.notice, told_at)
                self._register.tell_soon()
        if news.to_tell or news.told_before:
            self._wake.set()

    def _make_room(self) -> None:
        if not self._backlog.is_full:
            return
        left_out = self._backlog.supersede()
        for waiting in left_out:
            self._feed.done(waiting.place, waiting.record.offset)
        if left_out:
            logger.warning(
                "%s: %d changes are left out, as later ones of the same alerts wait as well; the oldest: %s",
                *(self._target.name, len(left_out), _shown(left_out[0].record.notice)),
            )

    async def _tell(self, waiting: Waiting) -> None:
        """Try to deliver one change."""
        notice = waiting.record.notice
        outcome = await deliver(self._client, self._target, notice)
        now = monotonic_seconds()
        if outcome.verdict is Verdict.DELIVERED:
            self._backlog.delivered(waiting)
            if self._register is not None:
                self._register.note(notice, now)
            logger.info("%s: told of %s", self._target.name, _shown(notice))
        elif outcome.verdict is Verdict.REFUSED or self._backlog.failed(waiting, now):
            self._backlog.given_up(waiting)
            logger.error("%s: GIVEN UP on %s: %s", self._target.name, _shown(notice), outcome.problem)
        else:
            self._note(outcome, now)
            return
        self._feed.done(waiting.place, waiting.record.offset)
        self._done += 1
        self._progress.set()
        self._note(outcome, now)

    async def _tell_again(self) -> None:
        """Tell an Alertmanager all that it must not take for ended, when it is time for that."""
        service, now = self._target.service, monotonic_seconds()
        if (
            self._register is None
            or not isinstance(service, Alertmanager)
            or now < self._backlog.paused_until
        ):
            return
        for batch in self._register.take_due(now):
            async with self._sending:
                request = service.request_of(batch, now_ms())
                outcome = await post(self._client, request, self._target.timeout_ms / SECOND_MS)
            self._note(outcome, monotonic_seconds())
            if outcome.verdict is Verdict.FAILED:
                self._register.tell_soon()
                return
            if outcome.verdict is Verdict.REFUSED:
                logger.error(
                    "%s: %d alerts told again are refused: %s",
                    *(self._target.name, len(batch), outcome.problem),
                )

    def _note(self, outcome: Outcome, now: float) -> None:
        """Note how the target is, and let it rest where it does not take what it is sent."""
        if outcome.verdict is not Verdict.FAILED:
            if self._failing_since_ms is not None:
                lasted = (now_ms() - self._failing_since_ms) / SECOND_MS
                logger.info("%s: answers again, after %.0f s", self._target.name, lasted)
            self._failing_since_ms, self._problem = None, ""
            self._backlog.answered()
            return
        if self._failing_since_ms is None:
            self._failing_since_ms = now_ms()
        self._problem = outcome.problem
        pause = self._backlog.pause(now, outcome.retry_after_seconds)
        logger.warning(
            "%s: not delivered, tried again in %.1f s, %d waiting: %s",
            *(self._target.name, pause, len(self._backlog), outcome.problem),
        )

    def _note_kafka(self) -> None:
        """Say once that Kafka is away, and that it is back."""
        since = silent_since_ms(self.state, now_ms())
        if (since is not None) == self._kafka_is_away:
            return
        self._kafka_is_away = since is not None
        if since is not None:
            logger.warning("%s: cannot reach Kafka since %s", self._target.name, to_rfc3339(since))
        else:
            logger.info("%s: Kafka answers again", self._target.name)

    async def _wait_for_commit(self) -> None:
        """Wait until what was done is committed, but not for long: Kafka may be away."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COMMIT_WAIT_SECONDS), self._committed:
                await self._committed.wait_for(lambda: self._done_and_committed == self._done)

    async def _rest(self, now: float) -> None:
        """Wait until there may be something to do."""
        pause = self._backlog.paused_until - now
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause if 0 < pause < _LONGEST_REST_SECONDS else _LONGEST_REST_SECONDS):
                await self._wake.wait()

    async def _leave(self) -> None:
        """Let a change that is being sent arrive, then forget what waits: whoever gets the partitions reads it again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_SECONDS), self._sending:
                self._wake.set()
        self._backlog.forget()
        if self._register is not None:
            self._register.forget()


async def deliver(client: aiohttp.ClientSession, target: Target, notice: Notice) -> Outcome:
    """Try once to tell a target of a change."""
    timeout_seconds = target.timeout_ms / SECOND_MS
    if isinstance(target.service, Apprise):
        return await target.service.send(notice, timeout_seconds)
    return await post(client, target.service.request(notice, now_ms()), timeout_seconds)


def _shown(notice: Notice) -> str:
    alert = notice.alert
    return printable(f"{alert.state} {alert.severity} {alert.rule} {alert.about} ({notice.id})", _SHOWN)
