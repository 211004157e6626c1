"""The YAML file, validated: the only place where pydantic is used. Unknown keys are refused with their path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from operators.errors import ConfigError
from operators.records import Modality
from operators.tokenize.base import Precision

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Count = Annotated[int, Field(ge=0)]
Bytes = Annotated[int, Field(gt=0)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProductConfig(_Model):
    """One tokenizer's dataset.

    Attributes:
        tokenizer: a built-in's name, `package.module:Class`, or an entry point's name.
        revision: raise it with every change of what the product's values depend on.
        options: of the tokenizer.
    """

    tokenizer: str
    revision: Annotated[int, Field(ge=1)] = 1
    options: dict[str, Any] = Field(default_factory=dict[str, Any])


class PoolConfig(_Model):
    """A pool of actors.

    Attributes:
        min, max: workers; 0 lets the pool go when there is no work.
        cpus, gpus: of one worker; a fraction shares a device.
        idle_s: how long a pool must have had nothing to do before it shrinks.
        memory_bytes: that one worker may have of its own: above it, it leaves after its call and another takes its
            place. None: no limit; none is derived, since what a worker needs depends on its tokenizers.
        precision: of the encoders of the tokenizers that run in this pool. bfloat16 changes some codes, so that it is
            part of their products' fingerprints; codes are searched in float32 either way.
    """

    min: Count = 0
    max: Annotated[int, Field(ge=1)] = 4
    cpus: Annotated[float, Field(gt=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    idle_s: Annotated[float, Field(ge=0)] = 60.0
    memory_bytes: Bytes | None = None
    precision: Precision = Precision.FLOAT32

    @model_validator(mode="after")
    def _ordered(self) -> PoolConfig:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is above max ({self.max})")
        if self.gpus > 1 and not self.gpus.is_integer():
            raise ValueError(f"gpus is a fraction of one or a whole number of them, not {self.gpus:g}")
        return self


class LimitsConfig(_Model):
    """A lane's budgets. See `pipeline.flow.core.LaneSettings` for what each one bounds.

    Attributes:
        prepare_batch, tokenize_windows: by default what suits the modality.
        call_deadline_s: the longest that any call of a worker or packer may take before its process is killed. Most
            have less: twenty times the 99th percentile of their stage's calls, at least a minute (ten where a call may
            fetch a whole film).
    """

    prepare_batch: Annotated[int, Field(ge=1)] | None = None
    tokenize_windows: Annotated[int, Field(ge=1)] | None = None
    window_bytes: Bytes = 512 << 20
    token_bytes: Bytes = 256 << 20
    spool_bytes: Bytes = 4 << 30
    most_ready: Annotated[int, Field(ge=4)] = 2048
    most_uncommitted: Annotated[int, Field(ge=4)] = 50_000
    seal_age_s: Annotated[float, Field(gt=0)] = 30.0
    shard_bytes: Bytes = 192 << 20
    call_deadline_s: Annotated[float, Field(gt=0)] = 1800.0


class FailuresConfig(_Model):
    """When a lane's failures stop it. Letters are held for the window and committed only if it is fine.

    Attributes:
        window_s: how long letters are held, and over which their share is taken; 0 holds none.
        most_share: of the items of a product that end within the window, letters above this share stop the lane, and
            none of those that are held is committed; 1.0 never stops it.
        least_items: fewer items prove nothing; where fewer end in the window, the share is taken over the last so many.
        outage_most_s: how long a bucket or host that is down is waited for. After that its items become letters; they
            do not count in the share if others of the lane worked meanwhile. Lower it where references lead to many
            hosts, some of which are dead for good: what waits for them takes room among the uncommitted.
    """

    window_s: Annotated[float, Field(ge=0)] = 30.0
    most_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    least_items: Annotated[int, Field(ge=1)] = 100
    outage_most_s: Annotated[float, Field(gt=0)] = 21_600.0


class LaneConfig(_Model):
    """One modality's pipeline.

    Attributes:
        modality: what it takes; by default its name.
        topics: that it reads.
        start: where the first start of a topic begins: "earliest", "latest" or a time (ISO 8601).
        products: what it makes, by name.
        workers: the pool that fetches and decodes, and tokenizes too unless `tokenize` says otherwise.
        tokenize: a pool of its own for the tokenizers, with its GPU share.
        packers: actors that assemble shards.
        weight: its share where several lanes want the same CPUs or GPUs.
        on_damage: what a truncated file becomes: refused with a letter, or kept as rows marked partial.
        failures: how many letters are too many, and how long an outage is waited for.
    """

    modality: Modality | None = None
    topics: list[str] = Field(default_factory=list[str])
    start: Literal["earliest", "latest"] | datetime = "earliest"
    products: Annotated[dict[Name, ProductConfig], Field(min_length=1)]
    workers: PoolConfig = PoolConfig()
    tokenize: PoolConfig | None = None
    packers: Annotated[int, Field(ge=1)] = 1
    weight: Annotated[float, Field(gt=0)] = 1.0
    limits: LimitsConfig = LimitsConfig()
    on_damage: Literal["refuse", "keep"] = "refuse"
    failures: FailuresConfig = FailuresConfig()

    @model_validator(mode="after")
    def _precision_is_of_tokenizers(self) -> LaneConfig:
        if self.tokenize is not None and self.workers.precision is not Precision.FLOAT32:
            raise ValueError("workers.precision: nothing is tokenized there; valid: tokenize.precision")
        return self


class FetchConfig(_Model):
    """What may be fetched, and how much of it.

    Attributes:
        schemes: allowed URI schemes.
        places: globs of scheme, bucket or host, and path, e.g. "s3://media-*/incoming/*". Files are held by `roots`.
        roots: folders below which `file://` references may be read; none by default.
        allow_private_addresses: let http(s) reach private, loopback and link-local addresses.
        max_object_bytes: of one image or text: it is held in memory.
        max_file_bytes: of one audio or video object: it goes to disk, not memory.
        disk_bytes: what fetched audio and video may take of a node's disk.
        max_pixels: of one image.
        max_duration_s: of one recording or film.
        max_streams: of one container.
        max_channels: of one stream of sound.
        retry_s: how long one object's transient trouble is retried on the spot; after that the item backs off.
    """

    schemes: list[str] = Field(default_factory=lambda: ["s3", "gs", "az", "https", "http", "file"])
    places: list[str] = Field(default_factory=lambda: ["*"])
    roots: list[Path] = Field(default_factory=list[Path])
    allow_private_addresses: bool = False
    max_object_bytes: Bytes = 256 << 20
    max_file_bytes: Bytes = 64 << 30
    disk_bytes: Bytes = 128 << 30
    max_pixels: Bytes = 100_000_000
    max_duration_s: Annotated[float, Field(gt=0)] = 86_400.0
    max_streams: Annotated[int, Field(ge=1)] = 64
    max_channels: Annotated[int, Field(ge=1)] = 32
    retry_s: Annotated[float, Field(ge=0)] = 5.0


class RayConfig(_Model):
    """Which Ray.

    Attributes:
        address: "local" starts one here; "auto" or "ray://..." joins a running cluster.
        cpus, gpus: of a local Ray; by default what the machine has.
        object_store_bytes: of a local Ray.
        autoscale: the cluster that is joined has an autoscaler: it is asked for what the pools want beyond what fits,
            and a run waits for nodes instead of refusing to start. It can't be told from outside: every head runs one
            that only looks.
        metrics_port: where a local Ray shows its metrics and ours (`/metrics`, on all interfaces); by default one that
            is free. A cluster that is joined has its own.
    """

    address: str = "local"
    cpus: Annotated[int, Field(ge=1)] | None = None
    gpus: Count | None = None
    object_store_bytes: Bytes = 1 << 30
    autoscale: bool = False
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None

    @model_validator(mode="after")
    def _grows_if_joined(self) -> RayConfig:
        if self.autoscale and self.address == "local":
            raise ValueError("autoscale: a local Ray has the one node; it needs the address of a cluster")
        return self


class CommitConfig(_Model):
    """How often the lake's log grows.

    Attributes:
        interval_s: between two commits, at least; conflicts stretch it.
        checkpoint_every: versions between two checkpoints.
        single_writer_lock: for a store that ignores conditional puts: a file on a local disk that whoever writes the
            lake holds, so that there is one writer at a time, always on this host. None: the store must be honest.
    """

    interval_s: Annotated[float, Field(gt=0)] = 5.0
    checkpoint_every: Annotated[int, Field(ge=1)] = 100
    single_writer_lock: Path | None = None


class Config(_Model):
    """A whole run.

    Attributes:
        lake: where the tokens go: a folder, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.
        storage: options for fsspec, by scheme; `{env: NAME}` and `{file: PATH}` stand for secrets.
        kafka: librdkafka's properties, passed through; secrets likewise. None: the embedded broker.
        source_epoch: raise it when a topic on a broker without topic ids was made anew.
        state: folder for status and spool.
        lanes: by name.
    """

    lake: str
    storage: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]])
    kafka: dict[str, Any] | None = None
    source_epoch: str = "0"
    state: Path = Path("out/state")
    fetch: FetchConfig = FetchConfig()
    ray: RayConfig = RayConfig()
    commit: CommitConfig = CommitConfig()
    lanes: Annotated[dict[Name, LaneConfig], Field(min_length=1)]

    @model_validator(mode="after")
    def _lanes_fit(self) -> Config:
        seen: dict[str, str] = {}
        for name, lane in self.lanes.items():
            if lane.modality is None and name not in {m.value for m in Modality}:
                valid = ", ".join(m.value for m in Modality)
                raise ValueError(f"lanes.{name}: its name is no modality, so it needs `modality:` ({valid})")
            for product in lane.products:
                if product in seen:
                    raise ValueError(f"lanes.{name}.products.{product}: lane {seen[product]} has it already")
                seen[product] = name
        return self


def load_config(path: Path) -> Config:
    """Read and validate a YAML file.

    Raises:
        ConfigError: with every wrong field's path and what would be valid.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected a mapping with the keys {', '.join(Config.model_fields)}")
    return parse_config(raw, str(path))


def parse_config(raw: Mapping[str, Any], name: str = "config") -> Config:
    """Validate a config that has been read already.

    Raises:
        ConfigError: with every wrong field's path and what would be valid.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{name}: {line}" for line in _explain(error))) from error


def modality_of(name: str, lane: LaneConfig) -> Modality:
    """What a lane takes."""
    return lane.modality or Modality(name)


def resolve_secrets(value: object, path: str = "") -> Any:  # noqa: ANN401  the shape is the config's
    """Replace `{env: NAME}` and `{file: PATH}` anywhere in a structure by what they stand for.

    Raises:
        ConfigError: the variable is not set or the file can't be read; names the field's path, never a value.
    """
    match value:
        case {"env": str(variable), **rest} if not rest:
            if variable not in os.environ:
                raise ConfigError(f"{path}: the environment variable {variable} is not set")
            return os.environ[variable]
        case {"file": str(file), **rest} if not rest:
            try:
                return Path(file).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigError(f"{path}: {file} can't be read: {error.strerror}") from error
        case dict():
            return {key: resolve_secrets(inner, f"{path}.{key}".lstrip(".")) for key, inner in value.items()}
        case list():
            return [resolve_secrets(inner, f"{path}[{number}]") for number, inner in enumerate(value)]
        case _:
            return value


def _explain(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"]) or "(top)"
        if item["type"] == "extra_forbidden":
            valid = sorted(_fields_at(item["loc"][:-1]))
            nearest = difflib.get_close_matches(str(item["loc"][-1]), valid, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            yield f"{path}: unknown key; {hint}valid here: {', '.join(valid)}"
        else:
            message = item["msg"].removeprefix("Value error, ")
            yield f"{path}: {message}" + ("" if item["type"] == "missing" else f" (is: {item['input']!r})")


def _fields_at(location: tuple[int | str, ...]) -> set[str]:
    """The keys that the model at this place of the config takes."""
    models: Mapping[str, tuple[type[_Model], bool]] = {
        "fetch": (FetchConfig, False),
        "ray": (RayConfig, False),
        "commit": (CommitConfig, False),
        "lanes": (LaneConfig, True),
        "products": (ProductConfig, True),
        "workers": (PoolConfig, False),
        "tokenize": (PoolConfig, False),
        "limits": (LimitsConfig, False),
        "failures": (FailuresConfig, False),
    }
    model: type[_Model] = Config
    named = False
    for part in location:
        if named:
            named = False
        elif part in models:
            model, named = models[str(part)]
    return set(model.model_fields)
