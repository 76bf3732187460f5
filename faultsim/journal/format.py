"""The lines of a journal: its header, and rows sealed in a chain of checksums. Reading files lives in `scan`.

A journal is ASCII text of JSON lines. Line 1 is an object; each other line is a list: the row's values in the order of
the columns, then 8 hex digits. These are the CRC-32 of the row's text, started from the number on the line before, so
that they cover the row and all that stands before it: a row that is changed, moved, repeated, left out, or taken from
another journal does not fit. CRC-32 finds every change of up to 32 neighbouring bits; it is no protection against
somebody who means harm.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from zlib import crc32

from faultsim.journal.columns import Columns, columns_from_json
from faultsim.journal.errors import JournalError
from faultsim.journal.identity import Json, campaign_id

FORMAT: Final = 1
MAGIC: Final = b'{"faultsim_journal":'
HEADER_LIMIT_BYTES: Final = 2**20
SEAL_BYTES: Final = 12
"""Length of ``,"9ae0daaf"]``, which ends a row."""

_SEAL = re.compile(rb',"([0-9a-f]{8})"\]')
_HEADER_END = re.compile(rb',"crc32":"([0-9a-f]{8})"\}')
_HEADER_END_BYTES = 20


class Header(NamedTuple):
    """What the first line of a journal says."""

    parts: Mapping[str, Json]
    """What the campaign samples; `campaign_id` of them is the campaign's id."""
    campaign: str
    """The campaign's id."""
    columns: Columns
    """What a row holds."""
    created_by: str
    """The program that made the file; no part of the campaign."""


def header_line(header: Header) -> bytes:
    """Return the first line, with its newline.

    Raises:
        JournalError: If the parts take more than 1 MiB.
    """
    fields = {
        "faultsim_journal": FORMAT,
        "campaign": header.campaign,
        "columns": header.columns.to_json(),
        "created_by": header.created_by,
        "parts": header.parts,
    }
    text = json.dumps(fields, separators=(",", ":"), allow_nan=False)[:-1].encode("ascii")
    line = text + b',"crc32":"%08x"}\n' % crc32(text)
    if len(line) > HEADER_LIMIT_BYTES:
        raise JournalError(
            f"the campaign's parts take {len(line):,} bytes of a journal's first line, at most {HEADER_LIMIT_BYTES:,}; "
            f"give the digest of the largest part instead"
        )
    return line


def parse_header(line: bytes) -> Header:
    """Return what the first line says.

    Args:
        line: The line with its newline.

    Raises:
        ValueError: If it is no header, or a damaged one.
        JournalError: If it is of a newer format.
    """
    if not line.startswith(MAGIC):
        raise ValueError("no journal of faultsim")
    end = _HEADER_END.fullmatch(line[:-1], max(0, len(line) - 1 - _HEADER_END_BYTES))
    if line[-1:] != b"\n" or end is None or int(end[1], 16) != crc32(line[: end.start()]):
        raise ValueError("its checksum does not fit")
    try:
        fields: dict[str, Any] = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    version = fields["faultsim_journal"]
    if version != FORMAT:
        raise JournalError(f"a journal of format {version}, and {FORMAT} is the one known here; update faultsim")
    try:
        columns, parts, author = columns_from_json(fields["columns"]), fields["parts"], fields["created_by"]
        if not isinstance(parts, dict) or not isinstance(author, str) or fields["campaign"] != campaign_id(parts):
            raise ValueError("its campaign's id does not fit its parts")
    except (KeyError, JournalError) as error:
        raise ValueError(f"it lacks {error}" if isinstance(error, KeyError) else str(error)) from None
    return Header(parts, fields["campaign"], columns, author)


def first_chain(line: bytes) -> int:
    """Return the checksum that the first row's starts from: the header's, newline included."""
    return crc32(line)


def seal(text: bytes, chain: int) -> tuple[bytes, int]:
    """Return the line of a row, with its newline, and the checksum that the next row's starts from.

    Args:
        text: What `Columns.encode` gave.
        chain: The checksum on the line before.
    """
    chain = crc32(text, chain)
    return b'%b,"%08x"]\n' % (text, chain), chain


def stored_chain(line: bytes) -> int | None:
    """Return the checksum that a line ends with, right or wrong; None where it does not end with one."""
    found = _SEAL.search(line, max(0, len(line) - SEAL_BYTES))
    return int(found[1], 16) if found and found.end() == len(line) else None


def fits(line: bytes, chain: int) -> bool:
    """Tell whether a line without its newline follows a line that ends with *chain*."""
    return line[-SEAL_BYTES:] == b',"%08x"]' % crc32(line[:-SEAL_BYTES], chain)
