"""Data sets and frames in SQL."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from services.coordinator.adapters.sql.database import Database
from services.coordinator.adapters.sql.schema import campaigns, datasets, frames, patients
from services.coordinator.adapters.sql.tokens import cut, read_token
from services.coordinator.domain.campaign import CampaignState
from services.coordinator.domain.errors import (
    DatasetNotFound,
    FrameNotFound,
    InvalidArgument,
    PatientLeakage,
)
from services.coordinator.domain.frames import (
    Dataset,
    Frame,
    ImportOutcome,
    NewFrame,
    PoolFrame,
    RejectedFrame,
    Split,
    frame_id,
    settle_split,
)
from services.coordinator.domain.names import check_name
from services.coordinator.domain.ports import Clock, Page, PageRequest

__all__ = ["SqlDatasetStore", "chunks"]

T = TypeVar("T")
_CHUNK = 500
_NAME_TAKEN = "Another image has that name in the data set. Give every frame a name of its own."
_MASK_REQUIRED = (
    "The frame is on the test side and has no expert mask. Send the mask, or state the train side."
)


def chunks(values: Sequence[T], size: int = _CHUNK) -> Iterator[Sequence[T]]:
    """Cut a sequence into parts that fit the number of parameters of a statement."""
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]


class SqlDatasetStore:
    """`DatasetStore` on a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def ensure(self, name: str, *, test_fraction: float, seed: int) -> Dataset:
        """See the port."""
        check_name("data set", name)
        if not 0 <= test_fraction <= 1:
            raise InvalidArgument(f"test_fraction is {test_fraction}; it must be 0 to 1.")
        if not -(2**63) <= seed < 2**63:
            raise InvalidArgument("The seed must fit into 64 bits.")
        with self._database.writing() as connection:
            connection.execute(
                self._database.insert(datasets)
                .values(
                    name=name,
                    test_fraction=test_fraction,
                    seed=seed,
                    train_frames=0,
                    test_frames=0,
                    patients=0,
                    create_time=self._clock(),
                )
                .on_conflict_do_nothing()
            )
            return _dataset(_read(connection, name))

    def get(self, name: str) -> Dataset:
        """See the port."""
        with self._database.reading() as connection:
            return _dataset(_read(connection, name))

    def list(self, page: PageRequest) -> Page[Dataset]:
        """See the port."""
        scope = ("datasets",)
        last = read_token(page, scope, (str,))
        query = sa.select(datasets).order_by(datasets.c.name).limit(page.limit + 1)
        if last is not None:
            query = query.where(datasets.c.name > last[0])
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return cut(rows, page, scope, item=_dataset, keys=lambda row: (row.name,))

    def find_missing(
        self, name: str, sha256s: Sequence[str], *, labeled: bool = False
    ) -> tuple[str, ...]:
        """See the port."""
        by_id = {sha256: frame_id(name, sha256) for sha256 in sha256s}
        with self._database.reading() as connection:
            masked = _masked_by_id(connection, list(by_id.values()))
            wanting = labeled and _takes_masks(connection, name)
        return tuple(
            sha256
            for sha256, identity in by_id.items()
            if identity not in masked or (wanting and not masked[identity])
        )

    def import_frames(self, name: str, new: Sequence[NewFrame]) -> ImportOutcome:
        """See the port."""
        with self._database.writing() as connection:
            # Imports into one data set take turns, or two could put a patient on two sides.
            dataset = _read(connection, name, lock=True)
            batch = _Batch(connection, dataset, new)
            leakage = batch.sort_out()
            batch.store(self._clock())
        return ImportOutcome(
            imported=tuple(row["id"] for row in batch.rows),
            duplicates=batch.duplicates,
            masks_added=len(batch.masks),
            rejected=tuple(batch.rejected),
            leakage=leakage,
        )

    def labeled_frames(self, name: str, split: Split, page: PageRequest) -> Page[PoolFrame]:
        """See the port."""
        scope = ("labeled_frames", name, split)
        last = read_token(page, scope, (str,))
        query = (
            sa.select(
                frames.c.id.label("frame_id"),
                frames.c.name,
                frames.c.image_ref,
                frames.c.mask_ref,
                frames.c.height,
                frames.c.width,
                frames.c.patient_id,
                frames.c.clip_id,
                frames.c.view,
                frames.c.cardiac_phase,
            )
            .where(
                frames.c.dataset == name,
                frames.c.split == split,
                frames.c.mask_ref.is_not(None),
            )
            .order_by(frames.c.id)
            .limit(page.limit + 1)
        )
        if last is not None:
            query = query.where(frames.c.id > last[0])
        with self._database.reading() as connection:
            _read(connection, name)
            rows = connection.execute(query).all()
        return cut(
            rows,
            page,
            scope,
            item=lambda row: PoolFrame(**row._mapping),
            keys=lambda row: (row.frame_id,),
        )

    def get_frame(self, id: str) -> Frame:
        """See the port."""
        with self._database.reading() as connection:
            row = connection.execute(sa.select(frames).where(frames.c.id == id)).one_or_none()
        if row is None:
            raise FrameNotFound("There is no frame of that id. Take ids from a pool's list.")
        return _frame(row)


class _Batch:
    """One batch on its way in: what is known of it, and what becomes of it."""

    def __init__(
        self, connection: sa.Connection, dataset: sa.Row[Any], new: Sequence[NewFrame]
    ) -> None:
        self._connection = connection
        self._dataset = dataset
        self._new = new
        self.rows: list[dict[str, Any]] = []
        self.duplicates = 0
        self.masks: dict[str, str] = {}
        self.rejected: list[RejectedFrame] = []
        self._new_patients: dict[str, Split] = {}
        self._ids = [frame_id(dataset.name, frame.sha256) for frame in new]
        masked = _masked_by_id(connection, self._ids)
        self._seen = set(masked)
        self._unmasked: set[str] = set()
        if not all(masked.values()) and _takes_masks(connection, dataset.name):
            self._unmasked = {identity for identity, has_mask in masked.items() if not has_mask}
        self._names: set[str] = set()
        for part in chunks([frame.name for frame in new]):
            self._names.update(
                connection.execute(
                    sa.select(frames.c.name).where(
                        frames.c.dataset == dataset.name, frames.c.name.in_(part)
                    )
                ).scalars()
            )
        self._sides: dict[str, Split] = {}
        for part in chunks(sorted({frame.patient_id for frame in new})):
            self._sides.update(
                (row.patient_id, row.split)
                for row in connection.execute(
                    sa.select(patients.c.patient_id, patients.c.split).where(
                        patients.c.dataset == dataset.name, patients.c.patient_id.in_(part)
                    )
                )
            )

    def sort_out(self) -> PatientLeakage | None:
        """Decide on every frame up to the first that leaks, and return that error."""
        for identity, frame in zip(self._ids, self._new, strict=True):
            if identity in self._seen:
                if frame.mask_ref is not None and identity in self._unmasked:
                    self._unmasked.remove(identity)
                    self.masks[identity] = frame.mask_ref
                else:
                    self.duplicates += 1
                continue
            if frame.name in self._names:
                self.rejected.append(RejectedFrame(frame.name, "NAME_TAKEN", _NAME_TAKEN))
                continue
            try:
                split = settle_split(
                    frame,
                    self._sides.get(frame.patient_id),
                    seed=self._dataset.seed,
                    test_fraction=self._dataset.test_fraction,
                )
            except PatientLeakage as error:
                return error
            if split is Split.TEST and frame.mask_ref is None:
                self.rejected.append(RejectedFrame(frame.name, "MASK_REQUIRED", _MASK_REQUIRED))
                continue
            self._take(identity, frame, split)
        return None

    def _take(self, identity: str, frame: NewFrame, split: Split) -> None:
        self._seen.add(identity)
        self._names.add(frame.name)
        if frame.patient_id not in self._sides:
            self._sides[frame.patient_id] = self._new_patients[frame.patient_id] = split
        row_mm, column_mm = frame.spacing_mm or (None, None)
        self.rows.append(
            {
                "id": identity,
                "dataset": self._dataset.name,
                "name": frame.name,
                "sha256": frame.sha256,
                "image_ref": frame.image_ref,
                "mask_ref": frame.mask_ref,
                "height": frame.height,
                "width": frame.width,
                "patient_id": frame.patient_id,
                "clip_id": frame.clip_id,
                "frame_index": frame.frame_index,
                "view": frame.view,
                "cardiac_phase": frame.cardiac_phase,
                "split": split,
                "row_mm": row_mm,
                "column_mm": column_mm,
            }
        )

    def store(self, now: Any) -> None:
        """Insert patients and frames and count them; add the masks of stored frames."""
        if self.masks:
            self._connection.execute(
                sa.update(frames)
                .where(frames.c.id == sa.bindparam("of_frame"))
                .values(mask_ref=sa.bindparam("mask")),
                [{"of_frame": identity, "mask": mask} for identity, mask in self.masks.items()],
            )
        if not self.rows:
            return
        if self._new_patients:
            self._connection.execute(
                sa.insert(patients),
                [
                    {"dataset": self._dataset.name, "patient_id": patient, "split": split}
                    for patient, split in self._new_patients.items()
                ],
            )
        self._connection.execute(
            sa.insert(frames), [{**row, "create_time": now} for row in self.rows]
        )
        test = sum(row["split"] is Split.TEST for row in self.rows)
        self._connection.execute(
            sa.update(datasets)
            .where(datasets.c.name == self._dataset.name)
            .values(
                train_frames=datasets.c.train_frames + len(self.rows) - test,
                test_frames=datasets.c.test_frames + test,
                patients=datasets.c.patients + len(self._new_patients),
            )
        )


def _read(connection: sa.Connection, name: str, *, lock: bool = False) -> sa.Row[Any]:
    query = sa.select(datasets).where(datasets.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise DatasetNotFound(
            "There is no data set of that name. Import frames into it first, or list the data sets."
        )
    return row


def _masked_by_id(connection: sa.Connection, ids: Sequence[str]) -> dict[str, bool]:
    """Return whether each stored frame has a mask; without those that are not stored."""
    masked: dict[str, bool] = {}
    for part in chunks(ids):
        query = sa.select(frames.c.id, frames.c.mask_ref.is_not(None)).where(frames.c.id.in_(part))
        masked.update((row[0], bool(row[1])) for row in connection.execute(query))
    return masked


def _takes_masks(connection: sa.Connection, name: str) -> bool:
    """Return whether no campaign on the data set has started yet.

    An initial query prefers frames with masks; a mask that came later would make it look wrong.
    """
    started = sa.select(campaigns.c.id).where(
        campaigns.c.dataset == name, campaigns.c.state != CampaignState.DRAFT
    )
    return connection.execute(started.limit(1)).one_or_none() is None


def _dataset(row: sa.Row[Any]) -> Dataset:
    return Dataset(**row._mapping)


def _frame(row: sa.Row[Any]) -> Frame:
    fields = dict(row._mapping)
    del fields["create_time"]
    row_mm, column_mm = fields.pop("row_mm"), fields.pop("column_mm")
    return Frame(**fields, spacing_mm=None if row_mm is None else (row_mm, column_mm))
