"""Annotation requests, leases and labels in SQL."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from services.coordinator.adapters.sql.calls import Calls
from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.leasing import expire_leases, lease_next, open_campaigns
from services.coordinator.adapters.sql.request_rows import (
    SNAPSHOT,
    append_move,
    change_request,
    read_request,
    read_requests,
    request_not_found,
    to_request,
)
from services.coordinator.adapters.sql.schema import (
    campaigns,
    labels,
    pool_entries,
    request_history,
    requests,
)
from services.coordinator.adapters.sql.snapshots import (
    CONFIG,
    campaign_id_of,
    leave_unlabeled,
    touch_campaign,
)
from services.coordinator.adapters.sql.tokens import cut, read_token, row_of
from services.coordinator.domain.annotation import (
    IMPORT_READER,
    AnnotationRequest,
    AnnotationState,
    Label,
    Lease,
    RequestTransition,
    SkipReason,
    Submission,
    check_held,
    grant,
)
from services.coordinator.domain.errors import (
    IllegalTransition,
    InvalidArgument,
    StaleLabel,
)
from services.coordinator.domain.frames import Pool
from services.coordinator.domain.ports import Clock, IdFactory, Page, PageRequest

__all__ = ["SqlAnnotationStore"]

_MAX_PULL = 100
_MAX_TEXT = 200
_LEASE = TypeAdapter(Lease)
_REQUEST = TypeAdapter(AnnotationRequest)
_SUBMISSION = TypeAdapter(Submission)
_LABEL = TypeAdapter(Label)


class SqlAnnotationStore:
    """`AnnotationStore` on a database."""

    def __init__(self, database: Database, calls: Calls, clock: Clock, new_id: IdFactory) -> None:
        self._database = database
        self._calls = calls
        self._clock = clock
        self._new_id = new_id

    def pull(
        self, campaign: str, reader: str, k: int, *, request_id: str = ""
    ) -> tuple[AnnotationRequest, ...]:
        """See the port."""
        _check_reader(reader)
        if not 1 <= k <= _MAX_PULL:
            raise InvalidArgument(f"k is {k}; it must be 1 to {_MAX_PULL}.")

        def work(connection: sa.Connection) -> tuple[AnnotationRequest, ...]:
            now = self._clock()
            pulled: list[AnnotationRequest] = []
            for row in open_campaigns(connection, campaign):
                expire_leases(connection, now, row.id)
                lease_s = CONFIG.validate_json(row.config).lease_s
                pulled += lease_next(
                    connection,
                    row.id,
                    row.phase,
                    reader=reader,
                    k=k - len(pulled),
                    now=now,
                    lease_s=lease_s,
                )
                if len(pulled) == k:
                    break
            return tuple(pulled)

        def write(answer: tuple[AnnotationRequest, ...]) -> str:
            return json.dumps([(r.id, r.lease.token) for r in answer if r.lease is not None])

        def read(connection: sa.Connection, text: str) -> tuple[AnnotationRequest, ...]:
            tokens: dict[str, int] = dict(json.loads(text))
            return tuple(
                request
                for request in read_requests(connection, list(tokens))
                if request.lease is not None and request.lease.token == tokens[request.id]
            )

        return self._calls.once_as(
            "annotations.pull",
            request_id,
            (campaign, reader, k),
            work,
            write=write,
            read=read,
            # A lease that a power failure takes back is a request that waits again; the reader's
            # submit is then refused as for any lost lease. Pulling need not wait for the disk.
            durable=False,
        )

    def get(self, id: str) -> AnnotationRequest:
        """See the port."""
        with self._database.reading() as connection:
            return read_request(connection, id)

    def list(
        self, campaign: str, state: AnnotationState | None, page: PageRequest
    ) -> Page[AnnotationRequest]:
        """See the port."""
        with self._database.reading() as connection:
            campaign_id = campaign_id_of(connection, campaign)
            scope = ("requests", campaign_id, state or "")
            last = read_token(page, scope, (int, int))
            query = (
                SNAPSHOT.where(requests.c.campaign_id == campaign_id)
                .order_by(requests.c.phase, requests.c.rank)
                .limit(page.limit + 1)
            )
            if state is not None:
                query = query.where(requests.c.state == state)
            if last is not None:
                query = query.where(sa.tuple_(requests.c.phase, requests.c.rank) > row_of(last))
            rows = connection.execute(query).all()
        return cut(rows, page, scope, item=to_request, keys=lambda row: (row.phase, row.rank))

    def count_by_state(
        self, campaign: str, phase: int | None = None
    ) -> Mapping[AnnotationState, int]:
        """See the port."""
        with self._database.reading() as connection:
            query = (
                sa.select(requests.c.state, sa.func.count())
                .where(requests.c.campaign_id == campaign_id_of(connection, campaign))
                .group_by(requests.c.state)
            )
            if phase is not None:
                query = query.where(requests.c.phase == phase)
            counted = {row[0]: row[1] for row in connection.execute(query)}
        return {state: counted.get(state, 0) for state in AnnotationState}

    def history(self, id: str) -> tuple[RequestTransition, ...]:
        """See the port."""
        query = (
            sa.select(request_history)
            .where(request_history.c.request_id == id)
            .order_by(request_history.c.id)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise request_not_found()
        return tuple(
            RequestTransition(
                request_id=row.request_id,
                from_state=row.from_state,
                to_state=row.to_state,
                reader=row.reader,
                token=row.token,
                note=row.note,
                create_time=row.create_time,
            )
            for row in rows
        )

    def extend(self, id: str, reader: str, token: int, *, request_id: str = "") -> Lease:
        """See the port."""

        def work(connection: sa.Connection) -> Lease:
            now = self._clock()
            before = _read_held(connection, id, reader, token, now)
            lease = grant(
                reader, last_token=token - 1, now=now, lease_s=_lease_s(connection, before)
            )
            change_request(connection, id, expire_time=lease.expire_time)
            return lease

        return self._calls.once("annotations.extend", request_id, (id, reader, token), _LEASE, work)

    def submit(
        self,
        id: str,
        reader: str,
        token: int,
        *,
        mask_ref: str,
        lv_absent: bool,
        request_id: str = "",
    ) -> Submission:
        """See the port."""

        def work(connection: sa.Connection) -> Submission:
            now = self._clock()
            before = _read_held(connection, id, reader, token, now)
            label = Label(
                id=self._new_id(),
                campaign_id=before.campaign_id,
                frame_id=before.frame_id,
                version=1,
                reader=reader,
                mask_ref=mask_ref,
                lv_absent=lv_absent,
                create_time=now,
            )
            _leave_pool(connection, before, Pool.LABELED, mask_ref=mask_ref, label_version=1)
            _insert_label(connection, label)
            _end_lease(connection, before, AnnotationState.SUBMITTED, now)
            change_request(connection, id, state=AnnotationState.ACCEPTED)
            append_move(
                connection, before, AnnotationState.SUBMITTED, AnnotationState.ACCEPTED, now
            )
            return Submission(read_request(connection, id), label)

        return self._calls.once(
            "annotations.submit",
            request_id,
            (id, reader, token, mask_ref, lv_absent),
            _SUBMISSION,
            work,
        )

    def release(
        self, id: str, reader: str, token: int, *, request_id: str = ""
    ) -> AnnotationRequest:
        """See the port."""

        def work(connection: sa.Connection) -> AnnotationRequest:
            now = self._clock()
            before = _read_held(connection, id, reader, token, now)
            _end_lease(connection, before, AnnotationState.PENDING, now, note="released")
            return read_request(connection, id)

        return self._calls.once(
            "annotations.release", request_id, (id, reader, token), _REQUEST, work
        )

    def skip(
        self,
        id: str,
        reader: str,
        token: int,
        reason: SkipReason,
        note: str = "",
        *,
        request_id: str = "",
    ) -> AnnotationRequest:
        """See the port."""
        if reason is SkipReason.OTHER and not note.strip():
            raise InvalidArgument("Skipping with reason OTHER needs a note that says why.")
        if len(note) > _MAX_TEXT:
            raise InvalidArgument(f"A note has at most {_MAX_TEXT} characters.")

        def work(connection: sa.Connection) -> AnnotationRequest:
            now = self._clock()
            before = _read_held(connection, id, reader, token, now)
            _leave_pool(connection, before, Pool.EXCLUDED)
            _end_lease(connection, before, AnnotationState.SKIPPED, now, note=reason.value)
            change_request(connection, id, skip_reason=reason, skip_note=note)
            return read_request(connection, id)

        return self._calls.once(
            "annotations.skip", request_id, (id, reader, token, reason, note), _REQUEST, work
        )

    def correct(
        self,
        id: str,
        reader: str,
        *,
        replaces_version: int,
        mask_ref: str,
        lv_absent: bool,
        request_id: str = "",
    ) -> Label:
        """See the port."""
        _check_reader(reader)

        def work(connection: sa.Connection) -> Label:
            request = read_request(connection, id, lock=True)
            if request.state is not AnnotationState.ACCEPTED:
                raise IllegalTransition(
                    f"The annotation request is {request.state.value.upper()}; only an ACCEPTED "
                    "one has a label to correct."
                )
            entry = _entry(request)
            newest = connection.execute(
                sa.select(pool_entries.c.label_version).where(*entry)
            ).scalar_one()
            if newest != replaces_version:
                raise StaleLabel(
                    f"The newest label has version {newest}, the correction replaces version "
                    f"{replaces_version}. Look at the newest label and correct that one."
                )
            label = Label(
                id=self._new_id(),
                campaign_id=request.campaign_id,
                frame_id=request.frame_id,
                version=newest + 1,
                reader=reader,
                mask_ref=mask_ref,
                lv_absent=lv_absent,
                create_time=self._clock(),
            )
            _insert_label(connection, label)
            connection.execute(
                sa.update(pool_entries)
                .where(*entry)
                .values(mask_ref=mask_ref, label_version=label.version)
            )
            touch_campaign(connection, request.campaign_id)
            return label

        return self._calls.once(
            "annotations.correct",
            request_id,
            (id, reader, replaces_version, mask_ref, lv_absent),
            _LABEL,
            work,
        )

    def labels(self, campaign: str, frame_id: str) -> tuple[Label, ...]:
        """See the port."""
        with self._database.reading() as connection:
            query = (
                sa.select(labels)
                .where(
                    labels.c.campaign_id == campaign_id_of(connection, campaign),
                    labels.c.frame_id == frame_id,
                )
                .order_by(labels.c.version)
            )
            return tuple(Label(**row._mapping) for row in connection.execute(query))

    def sweep_expired(self) -> int:
        """See the port."""
        with self._database.writing() as connection:
            return expire_leases(connection, self._clock())


def _read_held(
    connection: sa.Connection, id: str, reader: str, token: int, now: datetime
) -> AnnotationRequest:
    request = read_request(connection, id, lock=True)
    check_held(request.state, request.lease, reader=reader, token=token, now=now)
    return request


def _end_lease(
    connection: sa.Connection,
    before: AnnotationRequest,
    to_state: AnnotationState,
    now: datetime,
    *,
    note: str = "",
) -> None:
    change_request(connection, before.id, reader=None, expire_time=None, state=to_state)
    append_move(connection, before, AnnotationState.LEASED, to_state, now, note=note)


def _leave_pool(
    connection: sa.Connection, request: AnnotationRequest, pool: Pool, **values: Any
) -> None:
    moved = connection.execute(
        sa.update(pool_entries)
        .where(*_entry(request), pool_entries.c.pool == Pool.UNLABELED)
        .values(pool=pool, **values)
    )
    if moved.rowcount != 1:
        raise AssertionError(f"frame {request.frame_id} of an open request is not unlabeled")
    leave_unlabeled(connection, request.campaign_id, pool, 1)


def _entry(request: AnnotationRequest) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        pool_entries.c.campaign_id == request.campaign_id,
        pool_entries.c.frame_id == request.frame_id,
    )


def _insert_label(connection: sa.Connection, label: Label) -> None:
    connection.execute(
        sa.insert(labels).values({name: getattr(label, name) for name in Label.__slots__})
    )


def _lease_s(connection: sa.Connection, request: AnnotationRequest) -> int:
    config = connection.execute(
        sa.select(campaigns.c.config).where(campaigns.c.id == request.campaign_id)
    ).scalar_one()
    return CONFIG.validate_json(config).lease_s


def _check_reader(reader: str) -> None:
    if not 1 <= len(reader) <= _MAX_TEXT or reader == IMPORT_READER:
        raise InvalidArgument(
            f"A reader is named by 1 to {_MAX_TEXT} characters, other than '{IMPORT_READER}'."
        )
