"""Lists of customers as people have them: CSV, JSON lines, Excel. Untrusted, so read with limits.

Every reader yields rows one by one; a file of a million rows is never in memory at once, except for
the table of texts that an Excel file keeps apart.
"""

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Final, Literal
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

Format = Literal["csv", "jsonl", "xlsx"]

MAX_BYTES: Final = 256 * 1024 * 1024
MAX_ROWS: Final = 1_000_000
MAX_COLUMNS: Final = 200
EXCEL_ROWS: Final = 1_048_576
"""No sheet has more."""

MAX_CELL: Final = 4_096
"""Longest cell, in characters."""

MAX_LINE: Final = 256 * 1024
"""Longest line of JSON, in characters."""

MAX_UNPACKED: Final = 512 * 1024 * 1024
"""What an Excel file may grow to when it is unpacked, in bytes. The archive's own directory says
how much; a member that holds more than it says is cut there and fails its checksum."""

MAX_SHARED: Final = 128 * 1024 * 1024
"""What an Excel file's table of texts may have, unpacked, in bytes: it is in memory at once."""

MAX_OTHER: Final = 16 * 1024 * 1024
"""What any other part of XML but a sheet may have, such as the styles: it is parsed at once."""

MAX_MEMBERS: Final = 2_000

ERROR_COLUMN: Final = "error"
"""What is wrong with a row, in the file of rows to mend. It is passed over when that is loaded."""


_FORMULA: Final = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How a cell begins that a spreadsheet takes for a formula (OWASP, CSV injection), or one that was
quoted as such a cell."""


class TableError(ValueError):
    """The file as a whole cannot be read; the text says why and where."""


@dataclass(frozen=True, slots=True)
class ListRow:
    """One row: its number from 1, headings not counted, and its cells as text by column. `fault`
    says why it cannot be read, if so."""

    n: int
    cells: Mapping[str, str]
    fault: str = ""

    @property
    def size(self) -> int:
        """Characters of its cells and headings."""
        return sum(len(head) + len(text) for head, text in self.cells.items())


def format_of(name: str) -> Format:
    """The format by a file's name; raises TableError."""
    ending = name.lower().rpartition(".")[2]
    known: dict[str, Format] = {"csv": "csv", "txt": "csv", "tsv": "csv", "jsonl": "jsonl",
                                "ndjson": "jsonl", "xlsx": "xlsx", "xlsm": "xlsx"}  # fmt: skip
    if ending not in known:
        raise TableError("the file's name ends in none of .csv, .jsonl, .xlsx; name its format")
    return known[ending]


def read_table(path: Path, kind: Format) -> Generator[ListRow, None, None]:
    """The rows of a file; raises TableError, also in the midst of it."""
    if path.stat().st_size > MAX_BYTES:
        raise TableError(f"the file has more than {MAX_BYTES // 2**20} MB")
    rows = {"csv": _csv, "jsonl": _jsonl, "xlsx": _xlsx}[kind](path)
    for n, (cells, fault) in enumerate(rows, 1):
        if n > MAX_ROWS:
            raise TableError(f"the file has more than {MAX_ROWS:,} rows; divide it")
        yield ListRow(n, cells, fault)


_BROKEN: Final = re.compile(r"[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f]")

_UNREADABLE: Final = "\ufffd"
"""Stands for bytes that are no text in the file's encoding, which its beginning tells."""

_QUOTED: Final = re.compile(r'"[^"]*(?:"|$)')
"""A quoted part of a line; what lies in it divides no cells."""

_Cells = tuple[dict[str, str], str]


def _csv(path: Path) -> Iterator[_Cells]:
    csv.field_size_limit(MAX_CELL * 4)
    with path.open(encoding=_encoding(path), newline="", errors="replace") as file:
        first = file.readline(MAX_LINE)
        file.seek(0)
        bare = _QUOTED.sub("", first)
        delimiter = max((",", ";", "\t", "|"), key=bare.count)
        reader = csv.reader(file, delimiter=delimiter)
        try:
            heads = _headings(next(reader, []))
            for values in reader:
                if any(value.strip() for value in values):
                    yield _row(heads, values)
        except csv.Error as error:
            raise TableError(f"line {reader.line_num}: {error}") from None


def _encoding(path: Path) -> str:
    """UTF-8 where the beginning is that, else GB 18030, which Excel writes in China."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character that the end of the sample divides is no fault.
        if len(head) - error.start > 3 or len(head) < 1 << 20:
            return "gb18030"
    return "utf-8-sig"


def _jsonl(path: Path) -> Iterator[_Cells]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        while line := file.readline(MAX_LINE):
            if not line.endswith("\n") and len(line) == MAX_LINE:
                raise TableError(f"a line has more than {MAX_LINE:,} characters")
            if not line.strip():
                continue
            yield _object(line)


def _object(line: str) -> _Cells:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return {}, "not a JSON object"
    if not isinstance(data, dict) or len(data) > MAX_COLUMNS:
        return {}, f"not a JSON object of at most {MAX_COLUMNS} members"
    cells, fault = {}, ""
    for key, value in data.items():
        if isinstance(value, list) and all(isinstance(v, str) for v in value):
            cells[key.strip()] = ",".join(value)
        elif isinstance(value, dict | list):
            fault = fault or f"{key[:64]}: a text, a number, or a list of texts"
        else:
            cells[key.strip()] = _text(value)
    return cells, fault or _fault_of(cells)


def _xlsx(path: Path) -> Iterator[_Cells]:
    _check_archive(path)
    with path.open("rb") as file:  # of a path, openpyxl judges the ending of the name
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        except _EXCEL_FAULTS as error:
            why = type(error).__name__
            raise TableError(f"not an Excel file that can be read: {why}") from None
        try:
            sheet = book.worksheets[0]
            # What the file says of its own size may be wrong: rows beyond it would be lost, and a
            # row that says it is the 10^12th would be reached one by one.
            sheet.reset_dimensions()
            rows = sheet.iter_rows(values_only=True, max_row=EXCEL_ROWS, max_col=MAX_COLUMNS + 1)
            heads = _headings([_text(value) for value in next(rows, ())])
            for values in rows:
                if values.count(None) == len(values):
                    continue
                texts = [_text(value) for value in values]
                if any(texts):
                    yield _row(heads, texts)
        except TableError:
            raise
        except _EXCEL_FAULTS as error:
            raise TableError(f"the first sheet cannot be read: {type(error).__name__}") from None
        finally:
            book.close()


_EXCEL_FAULTS = (
    zipfile.BadZipFile, ParseError, SyntaxError, KeyError, ValueError, TypeError, AttributeError,
    IndexError, OSError, EOFError, NotImplementedError, AssertionError, OverflowError,
    RuntimeError, zipfile.LargeZipFile, zlib.error, InvalidFileException,
)  # fmt: skip
"""What openpyxl and zipfile raise for files that are none of theirs. They name no common error."""


def _check_archive(path: Path) -> None:
    """Refuses an archive that would fill the memory, or whose XML has a DTD; raises TableError."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise TableError(f"the file has more than {MAX_MEMBERS} parts")
            if sum(member.file_size for member in members) > MAX_UNPACKED:
                raise TableError(f"unpacked, it has more than {MAX_UNPACKED // 2**20} MB")
            for member in members:
                if member.filename.endswith((".xml", ".rels")):
                    most = _most_of(member.filename)
                    if member.file_size > most:
                        raise TableError(
                            f"unpacked, its part {member.filename[:64]} has more than "
                            f"{most // 2**20} MB; save the list as CSV"
                        )
                    with archive.open(member) as part:
                        if b"<!DOCTYPE" in part.read(4_096).upper():
                            raise TableError("its XML has a DTD, which no Excel file has")
    except TableError:
        raise
    except _EXCEL_FAULTS:
        raise TableError("not an Excel file (.xlsx): no archive") from None


def _most_of(member: str) -> int:
    """Bytes that a part of an Excel file may have. Sheets are read row by row."""
    if "sharedstrings" in member.lower():
        return MAX_SHARED
    return MAX_UNPACKED if "worksheets/" in member.lower() else MAX_OTHER


def _headings(values: Iterable[str]) -> list[str]:
    heads = [_unquoted(value.strip()) for value in values]
    while heads and not heads[-1]:
        heads.pop()
    if not heads:
        raise TableError("the first row has no headings")
    if len(heads) > MAX_COLUMNS:
        raise TableError(f"more than {MAX_COLUMNS} columns")
    twice = {head for head in heads if head and heads.count(head) > 1}
    if twice:
        raise TableError(f"two columns are named {sorted(twice)[0][:64]!r}")
    return heads


def _row(heads: list[str], values: Iterable[str]) -> _Cells:
    # A cell that is too long is at fault, and not copied: many cells of a sheet may share its text.
    texts = [value if len(value) > MAX_CELL else _unquoted(value.strip()) for value in values]
    extra = any(texts[len(heads):])  # fmt: skip
    cells = {head: text for head, text in zip(heads, texts, strict=False) if head}
    fault = "more cells than there are headings" if extra else _fault_of(cells)
    return cells, fault


def _fault_of(cells: Mapping[str, str]) -> str:
    for head, text in cells.items():
        if len(text) > MAX_CELL:
            return f"{head[:64]}: more than {MAX_CELL:,} characters"
        both = head + text
        if _UNREADABLE in both or (not both.isprintable() and _BROKEN.search(both)):
            return f"{head[:64]!a}: half a character, or one that cannot be read"
    return ""


def _text(value: object) -> str:
    """A cell as text. Excel keeps whole numbers, telephone numbers too, as fractions."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time.min:
        return value.date().isoformat()  # Excel knows no dates without a time
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = str(value)
    return text if len(text) > MAX_CELL else text.strip()


def quoted(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: such a one begins with an apostrophe, which
    marks text there. Reading takes it away."""
    return f"'{text}" if _FORMULA.match(text) else text


def _unquoted(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def write_errors(path: Path, rows: Iterable[tuple[Mapping[str, str], str]]) -> int:
    """Writes the rows at fault as CSV, each with what is wrong; returns how many. A spreadsheet
    opens the file, and it is loaded again as it is."""
    found = list(rows)
    heads = list(dict.fromkeys(h for cells, _ in found for h in cells if h != ERROR_COLUMN))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        # A reader that guesses the delimiter skips what is quoted.
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([*map(quoted, heads), ERROR_COLUMN])
        for cells, fault in found:
            row = (*(cells.get(head, "") for head in heads), fault)
            writer.writerow([quoted(text) for text in row])
    return len(found)
