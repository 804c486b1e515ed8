"""Maps Lance's exceptions to vecferry's, each with a sentence that says what is wrong and what to do.

Lance reports nearly every error as ValueError, RuntimeError or OSError with a text, and a panic as no Exception at all.
So the table matches the text; the first match counts, and an error without a match is Fatal. What Lance said stands at
the end only where the sentence does not say it all; it is the cause of the error in any case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import Fatal, Overloaded, Rejected, Transient, Unavailable, VecferryError

DISK_PAUSE_S = 10.0
SHOWN_CHARS = 300


class Gone(Transient):
    """Files of the version that was read are gone, most likely cleaned up: the latest version has what is needed."""


class DiskFull(Overloaded):
    """There is no space left for what was to be written."""


_ROWS = "a row does not fit the table"

# Pattern, kind, sentence; "…" in a sentence stands for what Lance said.
_TABLE: tuple[tuple[str, type[VecferryError], str], ...] = (
    (
        r"no ?such ?bucket|bucket .*(?:not found|does not exist)|container ?(?:not ?found|.*does not exist)",
        Fatal,
        "there is no such bucket; make it, or correct the uri of the store",
    ),
    (
        r"no object store provider|unable to find object store prefix|no azure account name|invalid url|relative url",
        Fatal,
        "the uri of the store names no place that lancedb knows: …",
    ),
    (
        r"permanentredirect|bareredirect|authorizationheadermalformed|illegallocationconstraint",
        Fatal,
        "the bucket is in another region; set AWS_REGION (or AWS_ENDPOINT) to that of the bucket",
    ),
    (
        r"file exists|not a directory|\bos error (?:17|20)\b",
        Fatal,
        "the uri of the store is not a directory; correct it, or move away what is there",
    ),
    (r"invalid table name", Fatal, "lancedb takes no table of that name; correct the placement: …"),
    (
        r"no space left|disk quota exceeded|file too large|\bos error (?:27|28|122)\b",
        DiskFull,
        "no space is left on its disk; free some disk space or enlarge it: writing goes on by itself then",
    ),
    (
        r"slow ?down|too ?many ?requests|service ?unavailable|status: (?:429|5\d\d)",
        Overloaded,
        "the object store asks for fewer requests or has trouble of its own",
    ),
    (
        r"read-only file system|\bos error 30\b",
        Unavailable,
        "its disk is read-only; check that this process may read and write it: writing goes on by itself then",
    ),
    (
        r"unauthorized|access ?denied|permission ?denied|operation not permitted|forbidden|status: 40[13]"
        r"|invalid ?(?:credentials|accesskeyid|token)|signaturedoesnotmatch|expired ?token|tokenrequest"
        r"|(?:no|load(?:ing)?|find) credentials",
        Unavailable,
        "access is denied, or there are no credentials for it; check that this process may read and write it",
    ),
    (
        r"commit conflict|preempted by concurrent|too many concurrent writers|concurrent modification|"
        r"append with different schema|not found in target schema|no field named",
        Transient,
        "another writer, or somebody who altered the table, was first: …",
    ),
    (
        r"timed? ?out|\btimeout\b|connection (?:reset|refused|closed|aborted)|connect error|error sending request"
        r"|dns error|kind: (?:connect|timeout|request)|broken pipe|incomplete ?message",
        Transient,
        "the object store does not answer",
    ),
    (r"too many open files", Transient, "this process has too many files open; raise its limit (ulimit -n)"),
    (
        r"input/output error|stale file handle|transport endpoint|\bos error (?:5|107|116)\b",
        Unavailable,
        "its disk does not answer as it should; check that this process may read and write it: …",
    ),
    (r"resource temporarily unavailable|interrupted", Transient, "the system had no resources for it: …"),
    (r"out of memory|cannot allocate|resources exhausted", Transient, "the memory did not suffice: …"),
    (r"table '.*' was not found", Fatal, "the table is gone; restore it, or enrol the collection again"),
    (
        r"version \d+ no longer exists|no such file or directory|object at location .* not found|not found: .*",
        Gone,
        "files of the version that was read are gone: …",
    ),
    (
        r"invalid magic|invalid range .* for object|does not have sufficient data|corrupt|unexpected eof|checksum",
        Fatal,
        "a file of the table is damaged; restore the table from a backup, or enrol and copy it anew: …",
    ),
    (
        r"feature flags?|unsupported (?:feature|version|file version)|upgrade (?:lance|to a client|your)|newer version",
        Fatal,
        "a newer lancedb has written this table; install that release here too: …",
    ),
    (r"failed to encode json", Rejected, f"{_ROWS}: its metadata is not JSON: …"),
    (r"size of fixedsizelist", Rejected, f"{_ROWS}: its vector has another dimension: …"),
    (r"invalid utf-?8|unicode(?:en|de)codeerror", Rejected, f"{_ROWS}: a text of it is not UTF-8: …"),
    (
        r"would truncate|could not convert|cannot be converted|type mismatch|schema mismatch|not castable|arrowinvalid"
        r"|arrowtypeerror|not in range",
        Rejected,
        f"{_ROWS}: …",
    ),
)
ERRORS: tuple[tuple[re.Pattern[str], type[VecferryError], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, sentence) for pattern, kind, sentence in _TABLE
)
_UNKNOWN = "Lance failed in a way that vecferry does not know, so it stopped: …"

_SETTINGS = re.compile(r"(?:retry_timeout|elapsed|max_retries|retries|read_timeout|connect_timeout): [^,}]*,?")
_SOURCE_PLACE = re.compile(r",? ?(?:location: (?:Location \{[^}]*\}|\S+)|/\S+\.rs:\d+:\d+).*", re.DOTALL)
_WRAPPING = re.compile(r"^(?:lance error: |LanceError\(\w+\): |Invalid input, |External error: )+", re.IGNORECASE)


def mapped(error: BaseException, where: str) -> VecferryError:
    """``error`` as an error of vecferry; ``where`` names the table and its directory."""
    if isinstance(error, VecferryError):
        return error
    # What the client was set to do says nothing of what went wrong: "retry_timeout" is no time-out.
    found = _SETTINGS.sub("", f"{type(error).__name__}: {error}")
    kind, sentence = next(((kind, said) for pattern, kind, said in ERRORS if pattern.search(found)), (Fatal, _UNKNOWN))
    message = f"{where}: {sentence.replace('…', _shown(error))}"
    if issubclass(kind, Overloaded):
        return kind(message, retry_after_s=DISK_PAUSE_S)
    return kind(message)


def _shown(error: BaseException) -> str:
    """The first line of what Lance said, without places in its source."""
    text = _WRAPPING.sub("", _SOURCE_PLACE.sub("", str(error))).strip()
    line = text.splitlines()[0] if text else ""
    return f"{line[:SHOWN_CHARS]} ({type(error).__name__})"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn exceptions of the block, and Lance's panics, into errors of vecferry."""
    try:
        yield
    except VecferryError:
        raise
    except Exception as error:
        raise mapped(error, where) from error
    except BaseException as error:
        if not type(error).__name__.endswith("Panic") and type(error).__name__ != "PanicException":
            raise
        raise mapped(error, where) from error
