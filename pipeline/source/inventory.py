"""What is there: prefixes, globs and manifests -> rows, through fsspec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from operators.errors import ConfigError, MediatokError, StoreUnavailableError
from pipeline.source.listing_rows import Row
from pipeline.source.manifest import is_manifest, manifest_rows

Storage = Mapping[str, Mapping[str, Any]]
"""fsspec's options, by scheme."""

_ETAGS: Final = ("ETag", "etag", "e_tag", "generation", "md5Hash")
_TIMES: Final = ("LastModified", "last_modified", "mtime", "updated", "created")


def canonical(uri: str) -> str:
    """One spelling of what can be listed: paths become absolute `file://` URIs, a slash at the end goes."""
    if "://" not in uri:
        uri = Path(uri).absolute().as_uri() if not _has_magic(uri) else f"file://{Path(uri).absolute()}"
    return uri.rstrip("/")


def list_rows(uris: Sequence[str], storage: Storage) -> Iterator[Row]:
    """Everything that these name, in any order, perhaps repeatedly.

    A name that ends like a manifest is one (a folder of that name is one in parts); a glob names what it matches; any
    other name is a file, or a prefix with all below it but hidden files (`.name`); an `http(s)://` address that is no
    manifest is itself, since it can't be listed.

    Raises:
        ConfigError: there is nothing, it may not be read, or a manifest is wrong.
        StoreUnavailableError: the store does not answer.
    """
    for uri in map(canonical, uris):
        scheme = uri.partition("://")[0]
        if scheme in {"http", "https"} and not is_manifest(uri):
            yield Row({"uri": uri}, "")
            continue
        try:
            yield from _listed(uri, dict(storage.get(scheme, {})))
        except MediatokError:
            raise
        except FileNotFoundError as error:
            raise ConfigError(f"{uri}: there is nothing") from error
        except PermissionError as error:
            raise ConfigError(f"{uri}: may not be read: {error}") from error
        except (OSError, TimeoutError) as error:
            raise StoreUnavailableError(f"{uri}: {type(error).__name__}: {error}") from error
        except Exception as error:  # each filesystem has exceptions of its own: credentials, options, protocols
            raise ConfigError(f"{uri}: can't be listed: {type(error).__name__}: {error}") from error


def _listed(uri: str, options: dict[str, Any]) -> Iterator[Row]:
    filesystem, path = url_to_fs(_decoded(uri), **options)
    filesystem.invalidate_cache()
    found = _find(filesystem, path)
    if not found:
        raise ConfigError(f"{uri}: there is nothing")
    for name, info in found.items():
        if not is_manifest(uri):
            yield _row(filesystem, name, info)
        elif is_manifest(name):
            with filesystem.open(name, "rb", compression="infer") as content:
                yield from manifest_rows(content, _uri(filesystem, name))


def _find(filesystem: AbstractFileSystem, path: str) -> dict[str, dict[str, Any]]:
    if path.startswith(("http://", "https://")):  # a manifest: to fsspec a page is a folder of its links
        found: Any = {path: {"type": "file"}}
    elif _has_magic(path) and not filesystem.exists(path):
        found = filesystem.glob(path, detail=True)
    else:
        found = filesystem.find(path, detail=True)
    return {
        name: info
        for name, info in found.items()
        if info["type"] == "file" and not name.endswith("/") and not name.rpartition("/")[2].startswith(".")
    }


def _row(filesystem: AbstractFileSystem, name: str, info: Mapping[str, Any]) -> Row:
    message: dict[str, Any] = {"uri": _uri(filesystem, name), "size_bytes": info.get("size")}
    if _is_local(filesystem):
        status = Path(name).stat()
        version = f"{status.st_mtime_ns:x}-{status.st_size:x}"  # as a fetch of the file will find it
        message["size_bytes"] = status.st_size
    else:
        version = next((str(info[key]).strip('"') for key in _ETAGS if info.get(key)), None)
    if message["size_bytes"] is None:
        del message["size_bytes"]
    if version is not None:
        return Row(message | {"version": version}, version)
    changed = next((str(info[key]) for key in _TIMES if info.get(key)), "")
    return Row(message, f"{changed}-{info.get('size')}")


def _uri(filesystem: AbstractFileSystem, name: str) -> str:
    return Path(name).as_uri() if _is_local(filesystem) else str(filesystem.unstrip_protocol(name))


def _is_local(filesystem: AbstractFileSystem) -> bool:
    protocol: Any = filesystem.protocol
    return "file" in ([protocol] if isinstance(protocol, str) else protocol)


def _decoded(uri: str) -> str:
    """Fsspec takes the path of a `file://` URI as it stands; `Path.as_uri` has quoted it."""
    return unquote(uri) if uri.startswith("file://") else uri


def _has_magic(path: str) -> bool:
    return any(mark in path for mark in "*?[")
