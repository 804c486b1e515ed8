"""The configuration: references, secrets, and one line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from vecferry.config import Config, load_config
from vecferry.errors import ConfigError, Refused
from vecferry.replicas import open_replica
from vecferry.schemas.collection import Placement, Replica, Space
from vecferry.stores.pgvector.options import Options
from vecferry.stores.pgvector.quirks import connection_parameters

PASSWORD = "hunter2-p4ssw0rd"


def document(**changes: Any) -> dict[str, Any]:
    return {
        "namespace": "shop",
        "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
        "stores": {
            "old": {"kind": "pgvector", "url": "postgresql://127.0.0.1:5432/shop"},
            "new": {"kind": "lancedb", "uri": "./lance"},
        },
        "collections": {
            "products": {
                "dimension": 4,
                "metric": "cosine",
                "space": {"model": "m", "version": "1"},
                "partitions": 3,
                "in": {"old": {"table": "products"}, "new": {"table": "products"}},
            }
        },
        "migrations": {"products": {"from": "old", "to": "new"}},
        **changes,
    }


def with_url(url: str) -> dict[str, Any]:
    data = document()
    data["stores"]["old"]["url"] = url
    return data


def url_of(config: Config) -> str:
    options = config.store_options("old")
    assert isinstance(options, Options)
    return options.url.get_secret_value()


def problem_of(data: dict[str, Any]) -> str:
    """The one line that says what is wrong with ``data``."""
    with pytest.raises(ConfigError) as refused:
        load_config(data)
    assert refused.value.__cause__ is None
    (line,) = str(refused.value).splitlines()
    return line.removeprefix("configuration: ")


def test_environment_variables_are_resolved_inside_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    monkeypatch.setenv("SHOP_HOST", "db.example")
    monkeypatch.setenv("SHOP_KAFKA", "kafka.example:9092")
    data = with_url("postgresql://me:${SHOP_PASSWORD}@${SHOP_HOST}/shop")
    data["kafka"] = {"bootstrap_servers": "${SHOP_KAFKA}", "client": {"sasl.password": "${SHOP_PASSWORD}"}}
    config = load_config(data)
    assert url_of(config) == f"postgresql://me:{PASSWORD}@db.example/shop"
    assert config.kafka.bootstrap_servers == "kafka.example:9092"
    assert config.kafka.client["sasl.password"].get_secret_value() == PASSWORD


def problem_of_old_store(data: dict[str, Any]) -> str:
    """The one line that says why the store ``old`` cannot be opened, in a configuration that is right otherwise."""
    config = load_config(data)
    with pytest.raises(ConfigError) as refused:
        open_replica(config, "products", "old")
    assert refused.value.__cause__ is None
    (line,) = str(refused.value).splitlines()
    return line


def test_a_variable_that_is_not_set_is_named_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    line = problem_of_old_store(with_url("${SHOP_URL}"))
    assert line == "stores.old.url: environment variable SHOP_URL is not set"
    line = problem_of(document(kafka={"bootstrap_servers": "${SHOP_URL}:9092"}))
    assert line == "kafka.bootstrap_servers: environment variable SHOP_URL is not set"


def test_a_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"postgresql://me:{PASSWORD}@db/shop\n")
    config = load_config(with_url(f"file:{tmp_path / 'url'}"))
    assert url_of(config) == f"postgresql://me:{PASSWORD}@db/shop"


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    line = problem_of_old_store(with_url(f"file:{tmp_path / 'absent'}"))
    assert line == f"stores.old.url: cannot read {tmp_path / 'absent'}: No such file or directory"


def test_a_secret_file_that_is_no_text_is_one_line_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "url").write_bytes(b"\xff" + PASSWORD.encode())
    line = problem_of_old_store(with_url(f"file:{tmp_path / 'url'}"))
    assert line == f"stores.old.url: cannot read {tmp_path / 'url'}: it is not UTF-8 text"


def test_a_process_needs_no_secret_of_a_store_that_it_never_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_URL", raising=False)
    config = load_config(with_url("${SHOP_URL}"))
    assert "SHOP_URL" not in repr(config)
    assert config.collection("products").partitions == 3
    open_replica(config, "products", "new").close()
    monkeypatch.setenv("SHOP_URL", "postgresql://db/shop")
    assert url_of(config) == "postgresql://db/shop"


def test_a_path_may_begin_with_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "url").write_text("postgresql://db/shop?sslrootcert=~/ca.pem")
    data = with_url("file:~/url")
    data["kafka"]["client"] = {"ssl.ca.location": "~/ca.pem", "sasl.password": "~/secret"}
    data["stores"]["new"]["uri"] = "~/lance"
    config = load_config(data)
    assert {key: value.get_secret_value() for key, value in config.kafka.client.items()} == {
        "ssl.ca.location": f"{tmp_path}/ca.pem",
        "sasl.password": "~/secret",  # which is no path
    }
    assert url_of(config).endswith("~/ca.pem")
    assert connection_parameters(url_of(config))["sslrootcert"] == f"{tmp_path}/ca.pem"
    store = open_replica(config, "products", "new")
    with pytest.raises(Refused, match=f"in {tmp_path}/lance does not exist"):
        store.fetch(["a"])
    store.create(complete=True)
    assert len(store.fetch(["a"])) == 0
    assert (tmp_path / "lance").is_dir()
    (tmp_path / "vecferry.toml").write_text('namespace = "shop"\n[kafka]\n[collections]\n')
    with pytest.raises(ConfigError, match="bootstrap_servers: Field required"):
        load_config("~/vecferry.toml")


def test_a_home_directory_that_is_not_there_is_refused() -> None:
    data = document()
    data["stores"]["new"]["uri"] = "~nobody-of-that-name/lance"
    with pytest.raises(ConfigError, match="write the path in full"):
        open_replica(load_config(data), "products", "new")


def test_what_is_no_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match="int is no configuration"):
        load_config(7)  # type: ignore[arg-type]


def test_secrets_are_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", PASSWORD)
    data = with_url("postgresql://me:${SHOP_PASSWORD}@db/shop")
    data["kafka"]["client"] = {"sasl.password": PASSWORD}
    config = load_config(data)
    for shown in (repr(config), str(config), repr(config.stores["old"]), repr(config.kafka), config.model_dump_json()):
        assert PASSWORD not in shown


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data["stores"]["old"].update(urll="x"),
        lambda data: data["stores"]["old"].update(kind="pgvektor"),
        lambda data: data["stores"]["old"].update(url={"password": PASSWORD}),
        lambda data: data["kafka"]["client"].update({"acks": PASSWORD}),
        lambda data: data["kafka"].update(client=[PASSWORD]),
        lambda data: data["collections"]["products"].update(dimension="four"),
        lambda data: data.update(stores=[PASSWORD]),
    ],
)
def test_secrets_are_in_no_error(damage: Any) -> None:
    data = with_url(f"postgresql://me:{PASSWORD}@db/shop")
    data["kafka"]["client"] = {"sasl.password": PASSWORD}
    damage(data)
    with pytest.raises(ConfigError) as refused:
        load_config(data)
    assert PASSWORD not in str(refused.value)
    assert PASSWORD not in repr(refused.value)


def test_a_migration_from_a_store_to_itself_is_refused() -> None:
    line = problem_of(document(migrations={"products": {"from": "old", "to": "old"}}))
    assert line == "migrations.products: from and to are both 'old'"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"namespace": "my.shop"}, "namespace 'my.shop' may hold only letters"),
        ({"stores": {"o ld": {"kind": "lancedb", "uri": "x"}}}, "store 'o ld' may hold only letters"),
        ({"migrations": {"product": {"from": "old", "to": "new"}}}, "migrations.product: collection 'product' is not"),
        (
            {"migrations": {"products": {"from": "odl", "to": "new"}}},
            "migrations.products.from: placement 'odl' is not",
        ),
        ({"migrations": {"products": {"from": "old", "to": "nwe"}}}, "did you mean 'new'?"),
        ({"stores": {"old": {"kind": "lancedb", "uri": "x"}}}, "collections.products.in.new: store 'new' is not known"),
        (
            {"stores": {"old": {"kind": "qdrant"}}},
            "stores.old: kind 'qdrant' is not known; use one of",
        ),
        ({"stores": {"old": {"kind": "pgvector"}}}, "stores.old: kind 'pgvector' needs the key 'url'"),
    ],
)
def test_a_name_that_is_wrong_is_one_line(changes: dict[str, Any], line: str) -> None:
    assert line in problem_of(document(**changes))


@pytest.mark.parametrize(
    ("where", "key", "near"),
    [
        ((), "namespce", "namespce: key 'namespce' is not known; did you mean 'namespace'?"),
        (("kafka",), "bootstrap", "kafka.bootstrap: key 'bootstrap' is not known; did you mean 'bootstrap_servers'?"),
        (("stores", "old"), "urll", "stores.old: 'urll' is not known; did you mean 'url'?"),
        (("collections", "products"), "dimensions", "did you mean 'dimension'?"),
        (
            ("collections", "products", "in", "old"),
            "tabel",
            "collections.products.in.old.tabel: key 'tabel' is not",
        ),
        (("collections", "products", "in", "old"), "tabel", "did you mean 'table'?"),
        (("migrations", "products"), "form", "migrations.products.form: key 'form' is not known; did you mean 'from'?"),
        (("worker",), "batch_row", "worker.batch_row: key 'batch_row' is not known; did you mean 'batch_rows'?"),
        (("gates",), "xyz", "gates.xyz: key 'xyz' is not known; known: max_lag_records, max_verify_age_s"),
    ],
)
def test_an_unknown_key_is_refused_by_the_nearest_known_one(where: tuple[str, ...], key: str, near: str) -> None:
    data = document()
    section = data
    for part in where:
        section = section.setdefault(part, {})
    section[key] = "x"
    assert near in problem_of(data)


def test_every_problem_has_its_line_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "vecferry.toml"
    path.write_text('namespace = "shop"\nnamespaze = "x"\n[kafka]\n[collections]\n')
    with pytest.raises(ConfigError) as refused:
        load_config(path)
    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}: ") for line in lines)


def test_a_space_has_a_name_and_all_that_makes_it_one() -> None:
    other = {"model": "n", "version": "2", "dimension": 8, "metric": "dot"}
    config = load_config(document(spaces={"other": other}))
    assert config.space("other") == Space(model="n", version="2", dimension=8, metric="dot")
    with pytest.raises(ConfigError, match="space 'othr' is not known; did you mean 'other'"):
        config.space("othr")
    for key in other:
        line = problem_of(document(spaces={"other": {k: v for k, v in other.items() if k != key}}))
        assert line.startswith(f"spaces.other.{key}: ")


def test_a_replica_lies_in_the_store_of_its_name_and_in_the_space_of_its_collection() -> None:
    config = load_config(document())
    space = Space(model="m", version="1", dimension=4, metric="cosine")
    old, new = config.replicas("products")
    assert old == Replica(name="old", store="old", placement=Placement(table="products"), space=space, role="from")
    assert (new.name, new.role) == ("new", "to")


def with_third(**keys: str) -> dict[str, Any]:
    """With a third replica, and a space of another model."""
    data = document(spaces={"other": {"model": "n", "version": "2", "dimension": 8, "metric": "dot"}})
    data["collections"]["products"]["in"]["third"] = keys
    return data


def test_a_replica_may_name_another_store_and_another_space() -> None:
    config = load_config(with_third(store="new", space="other", table="products_3"))
    third = config.replica("products", "third")
    assert (third.name, third.store, third.role) == ("third", "new", "")
    assert third.space == Space(model="n", version="2", dimension=8, metric="dot")
    with pytest.raises(ConfigError, match=r"in\.third: space 'other' is another one .*; remove the key"):
        open_replica(config, "products", "third")


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"table": "t"}, "collections.products.in.third: store 'third' is not known; known: new, old"),
        ({"table": "t", "store": "nw"}, "collections.products.in.third: store 'nw' is not known; did you mean 'new'?"),
        (
            {"table": "t", "store": "new", "space": "othr"},
            "collections.products.in.third: space 'othr' is not known; did you mean 'other'?",
        ),
        (
            {"table": "products", "store": "new"},
            "collections.products.in.third: table 'products' of store 'new' is that of 'new'; name another one",
        ),
        (
            {"table": "t", "store": "new", "tabel": "t"},
            "collections.products.in.third.tabel: key 'tabel' is not known; did you mean 'table'?",
        ),
    ],
)
def test_what_is_wrong_with_a_replica_is_one_line(keys: dict[str, str], line: str) -> None:
    assert problem_of(with_third(**keys)) == line


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"metadata": ["title", "title"]}, "column 'title' is named 2 times; a column has one use"),
        ({"id": "sku", "metadata": ["sku"]}, "column 'sku' is named 2 times; a column has one use"),
        ({"metadata": ""}, "the name of a column is empty; write it, or leave it out"),
        ({"metadata": ["title", ""]}, "the name of a column is empty; write it, or leave it out"),
    ],
)
def test_a_column_that_is_named_twice_or_not_at_all_is_refused(keys: dict[str, Any], line: str) -> None:
    data = document()
    data["collections"]["products"]["in"]["old"] |= keys
    assert problem_of(data) == f"collections.products.in.old: {line}"


def test_metadata_may_be_no_column_at_all() -> None:
    data = document()
    data["collections"]["products"]["in"]["old"]["metadata"] = []
    config = load_config(data)
    assert config.placement("products", "old").metadata == ()
    assert config.metadata_fields("products") == frozenset()


def test_it_is_frozen() -> None:
    config = load_config(document())
    with pytest.raises(ValidationError, match="frozen"):
        config.namespace = "other"
    assert load_config(config) is config
