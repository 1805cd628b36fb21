"""Releases in SQL."""

from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter

from services.coordinator.adapters.sql.calls import Calls
from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import campaigns, promotions, releases
from services.coordinator.adapters.sql.snapshots import (
    campaign_id_of,
    lock_campaign,
    lock_phases,
    read_phase,
    touch_campaign,
    touch_phase,
)
from services.coordinator.adapters.sql.tokens import cut, read_token, row_of
from services.coordinator.domain.campaign import Architecture, CampaignState
from services.coordinator.domain.errors import (
    IllegalTransition,
    ReleaseExists,
    ReleaseNotFound,
)
from services.coordinator.domain.ports import Clock, IdFactory, Page, PageRequest
from services.coordinator.domain.releases import (
    ModelVersion,
    NewRelease,
    Release,
    ReleaseKind,
    ReleaseState,
    Serving,
    check_promotable,
)

__all__ = ["SqlReleaseStore"]

_RELEASE = TypeAdapter(Release)
_NO_CHAMPION = "No release has been promoted yet. Promote a segmenter, or wait for the campaign."


class SqlReleaseStore:
    """`ReleaseStore` on a database."""

    def __init__(self, database: Database, calls: Calls, clock: Clock, new_id: IdFactory) -> None:
        self._database = database
        self._calls = calls
        self._clock = clock
        self._new_id = new_id

    def create(self, release: NewRelease) -> Release:
        """See the port."""
        with self._database.writing() as connection:
            lock_phases(connection, release.campaign_id)
            phase = read_phase(connection, release.campaign_id, release.phase)
            of_kind = (
                releases.c.campaign_id == release.campaign_id,
                releases.c.kind == release.kind,
            )
            known = connection.execute(
                sa.select(releases).where(*of_kind, releases.c.phase == release.phase)
            ).one_or_none()
            if known is not None:
                stored = _release(known)
                if stored.model != release.model:
                    raise ReleaseExists(
                        f"Phase {release.phase} has published another {release.kind.value} model "
                        "already."
                    )
                return stored
            connection.execute(
                sa.update(releases)
                .where(*of_kind, releases.c.state == ReleaseState.CANDIDATE)
                .values(state=ReleaseState.RETIRED)
            )
            id = self._new_id()
            connection.execute(
                sa.insert(releases).values(
                    id=id,
                    campaign_id=release.campaign_id,
                    phase=release.phase,
                    kind=release.kind,
                    state=ReleaseState.CANDIDATE,
                    model=release.model.model,
                    version=release.model.version,
                    digest=release.model.digest,
                    labeled=release.labeled,
                    decoder=release.architecture.decoder,
                    encoder=release.architecture.encoder,
                    encoder_weights=release.architecture.encoder_weights,
                    create_time=self._clock(),
                )
            )
            noted: dict[str, Any] = {f"{release.kind.value}_release": id}
            if release.kind is ReleaseKind.CONTROL:
                noted["control_labeled"] = release.labeled
            touch_phase(connection, phase, **noted)
            return _read(connection, id)

    def get(self, id: str) -> Release:
        """See the port."""
        with self._database.reading() as connection:
            return _read(connection, id)

    def list(self, campaign: str, page: PageRequest) -> Page[Release]:
        """See the port."""
        scope = ("releases", campaign)
        last = read_token(page, scope, (int, str))
        order = sa.type_coerce(releases.c.create_time, sa.BigInteger)
        query = (
            sa.select(releases, order.label("position"))
            .order_by(order.desc(), releases.c.id.desc())
            .limit(page.limit + 1)
        )
        if last is not None:
            query = query.where(sa.tuple_(order, releases.c.id) < row_of(last))
        with self._database.reading() as connection:
            if campaign:
                campaign_id = campaign_id_of(connection, campaign)
                query = query.where(releases.c.campaign_id == campaign_id)
            rows = connection.execute(query).all()
        return cut(rows, page, scope, item=_release, keys=lambda row: (row.position, row.id))

    def newest(self, campaign_id: str, kind: ReleaseKind) -> Release | None:
        """See the port."""
        with self._database.reading() as connection:
            found = _newest(connection, campaign_id, kind, 1)
        return found[0] if found else None

    def champion(self, campaign_id: str) -> Release | None:
        """See the port."""
        with self._database.reading() as connection:
            top = _top(connection, campaign_id)
            return None if top is None else _read(connection, top.release_id)

    def promote(self, id: str, *, by_operator: bool = True, request_id: str = "") -> Release:
        """See the port."""

        def work(connection: sa.Connection) -> Release:
            release = _read(connection, id)
            check_promotable(release)
            lock_campaign(connection, release.campaign_id)
            top = _top(connection, release.campaign_id)
            below = None
            if top is not None:
                # The champion promoted again takes its own place, not one on top of itself.
                below = top.below if top.release_id == id else top.id
            return self._crown(connection, release, top, below, by_operator=by_operator)

        return self._calls.once("releases.promote", request_id, (id,), _RELEASE, work)

    def rollback(self, campaign: str, *, request_id: str = "") -> Release:
        """See the port."""

        def work(connection: sa.Connection) -> Release:
            campaign_id = lock_campaign(connection, campaign).id
            top = _top(connection, campaign_id)
            if top is None or top.below is None:
                raise IllegalTransition(
                    "The campaign has no champion before the present one, so there is nothing to "
                    "go back to. Promote another release instead."
                )
            under = _promotion(connection, top.below)
            # Within the campaign only: it does not make the campaign the one that serves.
            return self._crown(
                connection,
                _read(connection, under.release_id),
                top,
                under.below,
                by_operator=False,
            )

        return self._calls.once("releases.rollback", request_id, (campaign,), _RELEASE, work)

    def serving(self, campaign: str = "") -> Serving:
        """See the port."""
        with self._database.reading() as connection:
            campaign_id = (
                campaign_id_of(connection, campaign) if campaign else _serving_campaign(connection)
            )
            top = None if campaign_id is None else _top(connection, campaign_id)
            if top is None:
                raise ReleaseNotFound(_NO_CHAMPION)
            segmenter = _read(connection, top.release_id)
            found = _newest(connection, segmenter.campaign_id, ReleaseKind.UNCERTAINTY, 1)
        return Serving(segmenter, found[0] if found else None)

    def resident(self, *, including: str = "") -> tuple[ModelVersion, ...]:
        """See the port."""
        with self._database.reading() as connection:
            live = sa.select(campaigns.c.id).where(
                campaigns.c.state.in_((CampaignState.RUNNING, CampaignState.PAUSED))
            )
            of = set(connection.execute(live).scalars())
            held = [_read(connection, including)] if including else []
            held += _unmeasured_controls(connection, of)
            serving = _serving_campaign(connection)
            if serving is not None:
                of.add(serving)
            for campaign_id in of:
                held += _newest(connection, campaign_id, ReleaseKind.SEGMENTER, 1)
                held += _newest(connection, campaign_id, ReleaseKind.UNCERTAINTY, 2)
                top = _top(connection, campaign_id)
                if top is not None:
                    held.append(_read(connection, top.release_id))
                    if top.below is not None:
                        below = _promotion(connection, top.below)
                        held.append(_read(connection, below.release_id))
        return tuple(
            sorted({release.model for release in held}, key=lambda m: (m.model, m.version))
        )

    def _crown(
        self,
        connection: sa.Connection,
        release: Release,
        top: sa.Row[Any] | None,
        below: int | None,
        *,
        by_operator: bool,
    ) -> Release:
        """Make a release the champion instead of that of the row `top`."""
        now = self._clock()
        if top is not None:
            connection.execute(
                sa.update(releases)
                .where(releases.c.id == top.release_id)
                .values(state=ReleaseState.RETIRED)
            )
        connection.execute(
            sa.update(releases)
            .where(releases.c.id == release.id)
            .values(state=ReleaseState.CHAMPION, promote_time=now)
        )
        connection.execute(
            sa.insert(promotions).values(
                campaign_id=release.campaign_id,
                release_id=release.id,
                below=below,
                by_operator=by_operator,
                create_time=now,
            )
        )
        touch_campaign(connection, release.campaign_id)
        return _read(connection, release.id)


def _top(connection: sa.Connection, campaign_id: str) -> sa.Row[Any] | None:
    """Return the newest promotion of a campaign."""
    return connection.execute(
        sa.select(promotions)
        .where(promotions.c.campaign_id == campaign_id)
        .order_by(promotions.c.id.desc())
        .limit(1)
    ).one_or_none()


def _serving_campaign(connection: sa.Connection) -> str | None:
    """Return the campaign whose champion serves by default; None before the first promotion."""
    campaign_id = sa.select(promotions.c.campaign_id).limit(1)
    chosen = campaign_id.where(promotions.c.by_operator).order_by(promotions.c.id.desc())
    first = campaign_id.order_by(promotions.c.id)
    found: str | None = connection.execute(chosen).scalar()
    return found if found is not None else connection.execute(first).scalar()


def _promotion(connection: sa.Connection, id: int) -> sa.Row[Any]:
    return connection.execute(sa.select(promotions).where(promotions.c.id == id)).one()


def _newest(
    connection: sa.Connection, campaign_id: str, kind: ReleaseKind, count: int
) -> list[Release]:
    query = (
        sa.select(releases)
        .where(releases.c.campaign_id == campaign_id, releases.c.kind == kind)
        .order_by(releases.c.phase.desc())
        .limit(count)
    )
    return [_release(row) for row in connection.execute(query)]


def _unmeasured_controls(connection: sa.Connection, campaign_ids: set[str]) -> list[Release]:
    query = sa.select(releases).where(
        releases.c.campaign_id.in_(campaign_ids),
        releases.c.kind == ReleaseKind.CONTROL,
        releases.c.state == ReleaseState.CANDIDATE,
    )
    return [_release(row) for row in connection.execute(query)]


def _read(connection: sa.Connection, id: str) -> Release:
    row = connection.execute(sa.select(releases).where(releases.c.id == id)).one_or_none()
    if row is None:
        raise ReleaseNotFound("There is no release of that id. List the releases.")
    return _release(row)


def _release(row: sa.Row[Any]) -> Release:
    return Release(
        id=row.id,
        campaign_id=row.campaign_id,
        phase=row.phase,
        kind=row.kind,
        state=row.state,
        model=ModelVersion(row.model, row.version, row.digest),
        labeled=row.labeled,
        test_iou=row.test_iou,
        architecture=Architecture(row.decoder, row.encoder, row.encoder_weights),
        create_time=row.create_time,
        promote_time=row.promote_time,
    )
