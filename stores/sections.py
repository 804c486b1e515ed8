"""The sections of a configuration that speak of stores: ``[stores.NAME]`` and ``[collections.NAME.in.REPLICA]``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny, model_validator

from .options import StoreOptions, StorePlacement, TablePlacement, options_model, placement_model
from .registry import KINDS


class StoreSection(BaseModel):
    """``[stores.NAME]``: a connection. The keys beside ``kind`` are those of the kind's ``Options``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    options: SerializeAsAny[StoreOptions]

    @model_validator(mode="before")
    @classmethod
    def _options_of_the_kind(cls, data: object) -> object:
        if not isinstance(data, Mapping) or "options" in data:
            return data
        kind = str(data.get("kind"))
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is not known; use one of {', '.join(sorted(KINDS))}")
        model = options_model(kind)
        for key in data:
            if key != "kind" and key not in model.model_fields:
                raise ValueError(unknown(key, ("kind", *model.model_fields)))
        for key, field in model.model_fields.items():
            if field.is_required() and key not in data:
                raise ValueError(f"kind {kind!r} needs the key {key!r}")
        return {"kind": kind, "options": model.model_validate({key: data[key] for key in data if key != "kind"})}


@dataclass(frozen=True, slots=True)
class _Placed:
    """What ``[collections.NAME.in.REPLICA]`` holds, and the kind of that store."""

    kind: str
    data: object


def _placement_of_the_kind(given: object) -> object:
    if not isinstance(given, _Placed):
        return given
    if given.kind not in KINDS:  # the store is refused, or its name is: that is the line to show
        return TablePlacement.model_construct(store=store_of("", given.data))
    return placement_model(given.kind).model_validate(given.data)


def with_kinds(collection: object, kinds: Mapping[str, str]) -> object:
    """``collection`` as it stands in the file, each of its placements with the kind of its store."""
    placements = collection.get("in") if isinstance(collection, Mapping) else None
    if not isinstance(collection, Mapping) or not isinstance(placements, Mapping):
        return collection
    placed = {name: _Placed(kinds.get(store_of(name, data), ""), data) for name, data in placements.items()}
    return {**collection, "in": placed}


def store_of(replica: str, placement: object) -> str:
    """The store of a replica, of what stands in the file."""
    store = placement.get("store") if isinstance(placement, Mapping) else None
    return store if isinstance(store, str) and store else replica


def kinds_of(stores: object) -> dict[str, str]:
    """Store -> kind, of what stands in the file."""
    sections = stores if isinstance(stores, Mapping) else {}
    return {name: str(section.get("kind")) for name, section in sections.items() if isinstance(section, Mapping)}


PlacementSection = Annotated[SerializeAsAny[StorePlacement], BeforeValidator(_placement_of_the_kind)]
"""``[collections.NAME.in.REPLICA]``: the ``PlacementOptions`` of the store's kind."""


def unknown(name: str, known: tuple[str, ...]) -> str:
    """That ``name`` is none of the ``known`` ones, with the nearest of them."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
    return f"{name!r} is not known; {hint}"
