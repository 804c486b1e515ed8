"""Configuration: read once, checked whole, then frozen.

``load_config`` takes the path of a TOML file or a dict of the same shape. Values may be ``${ENV}`` references, or
``file:PATH`` for a secret in a file (``references.py``): those of Kafka are resolved on loading, once, and those of a
store when it is opened, so that a process needs no access to stores that it never opens. Options of stores and of the
Kafka client are held as ``SecretStr``: they never show in a repr, a log or an error.
"""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from .errors import ConfigError
from .references import Resolved, Secret, local_path
from .schemas.collection import MAX_DIMENSION, Collection, IdType, Metric, Placement, Replica, Role, Space
from .schemas.guarantees import GUARANTEED
from .schemas.position import MAX_EPOCH, MIN_EPOCH
from .schemas.topics import check_name
from .stores.options import StoreOptions, placement_model
from .stores.sections import PlacementSection, StoreSection, kinds_of, store_of, unknown, with_kinds

_PATHS = (".location", ".keytab", ".file")  # how the names of those client properties end that are paths


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class KafkaSection(_Section):
    """``[kafka]``: ``client`` takes any librdkafka property except those that carry a guarantee."""

    bootstrap_servers: Resolved
    client: dict[str, Secret] = {}

    @field_validator("client")
    @classmethod
    def _paths_are_whole(cls, client: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return {
            key: SecretStr(local_path(value.get_secret_value())) if key.endswith(_PATHS) else value
            for key, value in client.items()
        }

    @model_validator(mode="after")
    def _no_guarantee_is_overridden(self) -> Self:
        for key in sorted(set(self.client) & GUARANTEED):
            raise ValueError(f"client property {key!r} carries a guarantee and cannot be set; remove it")
        return self


class SpaceSection(_Section):
    """``space = {model = "…", version = "…"}``: the embedding model that made the vectors."""

    model: str = Field(min_length=1)
    version: str = Field(min_length=1)


class SpaceOptions(SpaceSection):
    """``[spaces.NAME]``: a space that a replica may name."""

    dimension: int = Field(ge=1, le=MAX_DIMENSION)
    metric: Metric


class CollectionSection(_Section):
    """``[collections.NAME]``."""

    dimension: int = Field(ge=1, le=MAX_DIMENSION)
    metric: Metric
    space: SpaceSection
    partitions: int = Field(ge=1, le=1024)
    epoch: int = Field(default=MIN_EPOCH, ge=MIN_EPOCH, le=MAX_EPOCH)
    id_type: IdType = "text"
    placements: dict[str, PlacementSection] = Field(alias="in", min_length=1)


class MigrationSection(_Section):
    """``[migrations.NAME]``: which store a collection leaves and which one it goes to."""

    source: str = Field(alias="from")
    target: str = Field(alias="to")


class WorkerSection(_Section):
    """``[worker]``: bounds of one batch, and how long a worker tries a store before it gives up the batch."""

    batch_rows: int = Field(default=20_000, ge=1)
    batch_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    linger_ms: int = Field(default=20, ge=0, le=10_000)
    commit_interval_ms: int = Field(default=1_000, ge=0)
    live_lag_bound_records: int = Field(default=5_000, ge=1)
    drain_timeout_s: float = Field(default=30.0, gt=0)


class BackfillSection(_Section):
    """``[backfill]``: size of a chunk, pace, the lags above which the copy waits, and what it does with bad rows."""

    chunk_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    rows_per_s: float = Field(default=0.0, ge=0)  # 0 = as fast as it goes
    max_live_lag_records: int = Field(default=10_000, ge=1)
    max_source_latency_ms: float = Field(default=1_000.0, gt=0)
    uncarried: Literal["stop", "skip"] = "stop"  # rows that the log cannot carry


class GatesSection(_Section):
    """``[gates]``: what must hold before reads move."""

    max_lag_records: int = Field(default=1_000, ge=0)
    max_verify_age_s: float = Field(default=3_600.0, gt=0)
    min_retention_h: float = Field(default=24.0 * 6.5, gt=0)


class Config(_Section):
    """The whole configuration, frozen."""

    namespace: str
    kafka: KafkaSection
    stores: dict[str, StoreSection] = {}
    spaces: dict[str, SpaceOptions] = {}
    collections: dict[str, CollectionSection]
    migrations: dict[str, MigrationSection] = {}
    worker: WorkerSection = WorkerSection()
    backfill: BackfillSection = BackfillSection()
    gates: GatesSection = GatesSection()

    @model_validator(mode="before")
    @classmethod
    def _placements_by_kind(cls, data: object) -> object:
        if not isinstance(data, Mapping) or not isinstance(data.get("collections"), Mapping):
            return data
        kinds = kinds_of(data.get("stores"))
        return {**data, "collections": {n: with_kinds(c, kinds) for n, c in data["collections"].items()}}

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        check_name("namespace", self.namespace)
        for name in self.stores:
            check_name("store", name)
        for name in self.spaces:
            check_name("space", name)
        for name, collection in self.collections.items():
            check_name("collection", name)
            self._replicas_fit(name, collection)
        for name, migration in self.migrations.items():
            _must_name("collection", name, self.collections, f"migrations.{name}")
            for key, store in (("from", migration.source), ("to", migration.target)):
                _must_name("placement", store, self.collections[name].placements, f"migrations.{name}.{key}")
            if migration.source == migration.target:
                raise ValueError(f"migrations.{name}: from and to are both {migration.source!r}")
        return self

    def _replicas_fit(self, name: str, collection: CollectionSection) -> None:
        taken: dict[tuple[str, str], str] = {}
        for replica, section in collection.placements.items():
            where, store = f"collections.{name}.in.{replica}", section.store or replica
            check_name("replica", replica)
            _must_name("store", store, self.stores, where)
            if section.space:
                _must_name("space", section.space, self.spaces, where)
            table = section.placement().table
            other = taken.setdefault((store, table), replica)
            if other != replica:
                raise ValueError(f"{where}: table {table!r} of store {store!r} is that of {other!r}; name another one")

    def collection(self, name: str) -> Collection:
        """The collection called ``name``; raises ConfigError naming the nearest known one."""
        if not isinstance(name, str) or name not in self.collections:
            raise ConfigError("collection " + unknown(str(name), tuple(self.collections)))
        section = self.collections[name]
        model, version = section.space.model, section.space.version
        space = Space(model=model, version=version, dimension=section.dimension, metric=section.metric)
        return Collection(
            name=name, space=space, partitions=section.partitions, epoch=section.epoch, id_type=section.id_type
        )

    def space(self, name: str) -> Space:
        """The space called ``name``; raises ConfigError."""
        if name not in self.spaces:
            raise ConfigError("space " + unknown(name, tuple(self.spaces)))
        return Space(**self.spaces[name].model_dump())

    def placement(self, collection: str, store: str) -> Placement:
        """How the replica ``store`` of ``collection`` lies in its store; raises ConfigError."""
        self.collection(collection)
        placements = self.collections[collection].placements
        if store not in placements:
            raise ConfigError(f"collections.{collection}.in: store " + unknown(store, tuple(placements)))
        return placements[store].placement()

    def replica(self, collection: str, name: str) -> Replica:
        """The replica ``name`` of ``collection``; raises ConfigError."""
        placement = self.placement(collection, name)
        section, migration = self.collections[collection].placements[name], self.migrations.get(collection)
        role: Role = ""
        if migration is not None:
            role = "from" if name == migration.source else "to" if name == migration.target else ""
        return Replica(
            name=name,
            store=section.store or name,
            placement=placement,
            space=self.space(section.space) if section.space else self.collection(collection).space,
            role=role,
        )

    def replicas(self, collection: str) -> tuple[Replica, ...]:
        """Every replica of ``collection``; raises ConfigError."""
        self.collection(collection)
        return tuple(self.replica(collection, name) for name in self.collections[collection].placements)

    def store_options(self, name: str) -> StoreOptions:
        """The options of the store ``name``, its secrets looked up now; raises ConfigError."""
        try:
            return self.stores[name].options.resolved()
        except ValueError as error:
            raise ConfigError(f"stores.{name}.{error}") from None

    def migration(self, collection: str) -> MigrationSection:
        """The migration of ``collection``; raises ConfigError."""
        self.collection(collection)
        if collection not in self.migrations:
            raise ConfigError(f"no [migrations.{collection}] in the configuration; add it with from and to")
        return self.migrations[collection]

    def metadata_fields(self, collection: str) -> frozenset[str] | None:
        """The metadata keys that every store of ``collection`` can hold; None = any key."""
        fields = [section.placement().fields for section in self.collections[collection].placements.values()]
        columns = [frozenset(names) for names in fields if names is not None]
        return frozenset.intersection(*columns) if columns else None


def load_config(source: str | os.PathLike[str] | Mapping[str, object] | Config) -> Config:
    """Read, resolve and check; raises ConfigError with one line per problem."""
    if isinstance(source, Config):
        return source
    if isinstance(source, Mapping):
        name, data = "configuration", dict(source)
    else:
        name, data = _read(source)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{name}: {line}" for line in _lines(error, data))) from None


def _read(source: object) -> tuple[str, dict[str, object]]:
    if not isinstance(source, (str, os.PathLike)):
        raise ConfigError(
            f"{type(source).__name__} is no configuration; give the path of a TOML file, a dict or a Config"
        )
    name = os.fspath(source)
    try:
        return name, tomllib.loads(Path(local_path(name)).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{name}: no such file; `vecferry init` writes one, --config names another") from None
    except (OSError, ValueError) as error:  # neither text nor TOML, or no path
        raise ConfigError(f"{name}: {error}") from error


def _must_name(what: str, name: str, known: Mapping[str, object], where: str) -> None:
    if name not in known:
        raise ValueError(f"{where}: {what} " + unknown(name, tuple(known)))


def _lines(error: ValidationError, data: Mapping[str, object]) -> list[str]:
    lines = []
    for entry in error.errors(include_url=False, include_input=False):
        place = entry["loc"]  # the options of a store stand beside its kind
        where = ".".join(map(str, place[:2] + place[3:] if place[2:3] == ("options",) else place))
        if entry["type"] == "extra_forbidden":
            lines.append(f"{where}: key " + unknown(str(place[-1]), _keys_at(place[:-1], data)))
        else:
            message = entry["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message}" if where else message)
    return lines


def _keys_at(path: tuple[int | str, ...], data: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that the section at ``path`` may have, as a user writes them."""
    if path[:1] == ("collections",) and path[2:3] == ("in",) and len(path) == 4:
        store = store_of(str(path[3]), data["collections"][path[1]]["in"][path[3]])
        return tuple(placement_model(kinds_of(data.get("stores"))[store]).model_fields)
    current: Any = Config
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            names = {field.alias or name: field.annotation for name, field in current.model_fields.items()}
            current = names.get(str(part))
        else:
            current = typing.get_args(current)[1]  # the value type of dict[str, Section]
    if not (isinstance(current, type) and issubclass(current, BaseModel)):
        return ()
    return tuple(field.alias or name for name, field in current.model_fields.items())
