"""Lists of customers: every format, every fault by row, and files that mean harm."""

import csv
import json
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringlog.campaigns import tables
from ringlog.campaigns.contacts import Faulty, Importer, Loading, change_of, columns_of
from ringlog.campaigns.tables import ListRow, TableError, format_of, read_table, write_errors
from schemas.events import CampaignContact

LOADING = Loading("default", "spring", "default", "digest", "CN", "ada", 1_000, "Asia/Shanghai")


def load(rows: list[ListRow], known: set[str] | None = None) -> tuple[Importer, list[Any]]:
    importer = Importer(LOADING, set() if known is None else known)
    return importer, [importer.take(row) for row in rows]


def table(path: Path, kind: str, rows: list[list[Any]]) -> Path:
    """The rows, headings first, as a file of that format."""
    file = path / f"list.{kind}"
    if kind == "csv":
        with file.open("w", newline="", encoding="gb18030") as out:
            csv.writer(out).writerows(rows)
    elif kind == "jsonl":
        lines = [json.dumps(dict(zip(rows[0], r, strict=True))) for r in rows[1:]]
        file.write_text("\n".join(lines), encoding="utf-8")
    else:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(file)
    return file


ROWS: list[list[Any]] = [
    ["手机号", "姓名", "标签", "优先级", "amount_due", "授权"],
    [13800138000, "李明", "industry:finance,value:high", "高", 1200.5, "written"],
    ["+1 (305) 555-0123", "Ann", "", "", "", ""],
    ["138 0013 8000", "again", "", "", "", ""],
    ["12", "short", "", "", "", ""],
    ["13900139000", "odd", "", "urgent", "", ""],
    ["13900139000", "odd", "two words", "low", "", ""],
    ["4008123456", "hotline", "", "", "", ""],
    ["13900139001", "odd", "", "", "", "perhaps"],
]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "xlsx"])
def test_each_format_gives_the_same_contacts_and_faults(kind: str, tmp_path: Path) -> None:
    file = table(tmp_path, kind, ROWS)
    importer, found = load(list(read_table(file, format_of(file.name))))
    good = [c for c in found if isinstance(c, CampaignContact)]
    assert [(c.phone, c.name, c.priority, c.row) for c in good] == [
        ("+8613800138000", "李明", "high", 1), ("+13055550123", "Ann", "medium", 2),
    ]  # fmt: skip
    assert good[0].tags == ["industry:finance", "value:high"]
    assert good[0].attributes == {"amount_due": "1200.5", "consent": "written"}
    assert (importer.rows, importer.added, importer.duplicates, importer.invalid) == (8, 2, 1, 5)
    faults = [f.reason for f in found if isinstance(f, Faulty)]
    assert [f.split(":")[0] for f in faults[1:]] == [
        "phone", "priority", "String should match pattern '^[^\\s|\\x00-\\x1f]+$'", "number_type",
        "consent",
    ]  # fmt: skip
    change = change_of(good[0])
    assert change.attributes["amount_due"] == "1200.5" and change.phone == "+8613800138000"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_file_is_read_as_whatever_wrote_it(
    encoding: str, delimiter: str, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    with file.open("w", newline="", encoding=encoding) as out:
        rows = [
            ["联系电话", "姓名", "金额"],
            ["13800138000.0", "李明；先生", "1,5"],
            ["1.38E+10", "", ""],
        ]
        csv.writer(out, delimiter=delimiter).writerows(rows)
    _, (contact, shortened) = load(list(read_table(file, "csv")))
    assert isinstance(contact, CampaignContact) and isinstance(shortened, Faulty)
    assert (contact.phone, contact.name) == ("+8613800138000", "李明；先生")
    assert contact.attributes == {"金额": "1,5"}
    assert "spreadsheet has shortened" in shortened.reason


def test_cells_of_an_excel_file_are_what_they_look_like(tmp_path: Path) -> None:
    head = ["手机", "due", "paid_at", "share", "member", "n"]
    paid_at = datetime(2026, 11, 27, 9, 30)  # noqa: DTZ001 # Excel knows no zones
    row = [13800138000.0, date(2026, 12, 1), paid_at, 0.25, True, 7]
    (found,) = read_table(table(tmp_path, "xlsx", [head, row]), "xlsx")
    assert dict(found.cells) == {
        "手机": "13800138000", "due": "2026-12-01", "paid_at": "2026-11-27T09:30:00",
        "share": "0.25", "member": "true", "n": "7",
    }  # fmt: skip


def test_the_file_of_faults_is_mended_and_loaded_again(tmp_path: Path) -> None:
    file = table(tmp_path, "csv", ROWS)
    known: set[str] = set()
    _, found = load(list(read_table(file, "csv")), known)
    errors = tmp_path / "errors.csv"
    faults = [f for f in found if isinstance(f, Faulty) and not f.duplicate]
    assert write_errors(errors, [(f.row.cells, f.reason) for f in faults]) == 5
    text = (
        errors.read_text(encoding="utf-8-sig")
        .replace("urgent", "low")
        .replace('"12",', '"13700137000",', 1)
    )
    errors.write_text(text, encoding="utf-8-sig")
    importer, again = load(list(read_table(errors, "csv")), known)
    assert importer.added == 2
    mended = [c for c in again if isinstance(c, CampaignContact)]
    assert {c.phone for c in mended} == {"+8613700137000", "+8613900139000"}
    assert all("error" not in c.attributes for c in mended)


CELLS = st.text(st.sampled_from("=+-@＝＋－＠'1a, \t\"\n;|"), max_size=6).map(str.strip)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(CELLS.filter(bool), min_size=1, max_size=3, unique=True),
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=4),
    CELLS,
)
def test_no_cell_of_the_file_of_faults_is_a_formula_and_all_are_read_back(
    tmp_path: Path, heads: list[str], rows: list[list[str]], fault: str
) -> None:
    cells = [dict(zip(heads, row, strict=False)) for row in rows if any(row[: len(heads)])]
    file = tmp_path / "errors.csv"
    write_errors(file, [(row, fault) for row in cells])
    with file.open(encoding="utf-8-sig", newline="") as text:
        written = [cell for row in csv.reader(text) for cell in row]
    assert not any(cell.startswith(tuple("=+-@＝＋－＠")) for cell in written)
    again = [dict(row.cells) for row in read_table(file, "csv")]
    if cells:
        assert [{k: row[k] for k in heads} for row in again] == cells


def test_ids_come_from_campaign_and_number_alone() -> None:
    rows = [ListRow(1, {"phone": "13800138000"}), ListRow(2, {"phone": "13900139000"})]
    _, once = load(rows)
    _, again = load(list(reversed(rows)))
    assert {c.event_id for c in once} == {c.event_id for c in again}
    assert all(c.customer_id and "138" not in c.customer_id[:3] for c in once)


def test_columns_are_known_by_name_or_told() -> None:
    assert columns_of(["Mobile", "x"], {}) == {"Mobile": "phone"}
    assert columns_of(["a", "b"], {"b": "phone", "a": "zone"}) == {"b": "phone", "a": "zone"}
    for headings, told in (
        (["a"], {}), (["a"], {"a": "nothing"}), (["a"], {"z": "phone"}),
        (["a", "b"], {"a": "phone", "b": "phone"}),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            columns_of(headings, told)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b""),
        ("a.csv", b"\n\n"),
        ("a.csv", b"phone,phone\n1,2\n"),
        ("a.csv", ",".join(f"c{n}" for n in range(300)).encode()),
        ("a.csv", b"phone\n" + b'"' + b"x" * 20_000),
        ("a.xlsx", b"PK\x03\x04 nothing"),
        ("a.xlsx", b""),
        ("a.jsonl", b'{"phone": "' + b"1" * 300_000 + b'"}\n'),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name: str, data: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(TableError):
        list(read_table(file, format_of(name)))


def _xlsx_with(path: Path, sheet: bytes) -> Path:
    """An Excel file whose first sheet is that XML."""
    good, file = path / "good.xlsx", path / "bad.xlsx"
    book = openpyxl.Workbook()
    book.active.append(["phone"])
    book.save(good)
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            data = sheet if "sheet1" in member.filename else old.read(member)
            new.writestr(member.filename, data)
    return file


def test_archives_that_mean_harm_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laughs = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>'
    with pytest.raises(TableError, match="DTD"):
        list(read_table(_xlsx_with(tmp_path, laughs), "xlsx"))
    monkeypatch.setattr(tables, "MAX_OTHER", 500)
    with pytest.raises(TableError, match="has more than 0 MB; save the list as CSV"):
        list(read_table(tmp_path / "good.xlsx", "xlsx"))
    monkeypatch.undo()
    monkeypatch.setattr(tables, "MAX_UNPACKED", 1 << 20)
    bomb = _xlsx_with(tmp_path, b" " * (2 << 20))
    assert bomb.stat().st_size < 20_000
    with pytest.raises(TableError, match="unpacked"):
        list(read_table(bomb, "xlsx"))
    monkeypatch.setattr(tables, "MAX_BYTES", 10)
    with pytest.raises(TableError, match="MB"):
        list(read_table(bomb, "xlsx"))


def test_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    file = table(tmp_path, "csv", ROWS)
    with pytest.raises(TableError, match="rows"):
        list(read_table(file, "csv"))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["csv", "jsonl", "xlsx"]),
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda t: ("phone,x\n" + t).encode("utf-8", "surrogatepass"))
    | st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers() | st.floats()
                      | st.lists(st.text())).map(lambda d: json.dumps(d).encode()),
)  # fmt: skip
def test_any_bytes_are_rows_or_a_table_error(tmp_path: Path, kind: str, data: bytes) -> None:
    file = tmp_path / f"any.{kind}"
    file.write_bytes(data)
    importer = Importer(LOADING, set())
    try:
        for row in read_table(file, format_of(file.name)):
            found = importer.take(row)
            if isinstance(found, CampaignContact):
                found.model_dump_json().encode()
    except ValueError:
        return
    assert importer.rows == importer.added + importer.duplicates + importer.invalid


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 5_000), st.integers(0, 255))
def test_a_damaged_excel_file_is_rows_or_a_table_error(tmp_path: Path, at: int, byte: int) -> None:
    good = table(tmp_path, "xlsx", ROWS)
    data = bytearray(good.read_bytes())
    data[at % len(data)] = byte
    file = tmp_path / "damaged.xlsx"
    file.write_bytes(bytes(data))
    try:
        load(list(read_table(file, "xlsx")))
    except ValueError:
        pass


def _sheet(rows: str, size: str = "A1:A3") -> bytes:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return (
        f'<worksheet xmlns="{main}"><dimension ref="{size}"/><sheetData>'
        f'<row r="1"><c r="A1" t="inlineStr"><is><t>phone</t></is></c></row>{rows}'
        "</sheetData></worksheet>"
    ).encode()


def test_what_a_sheet_says_of_its_size_is_not_believed(tmp_path: Path) -> None:
    rows = '<row r="2"><c r="A2"><v>13800138000</v></c></row>'
    file = _xlsx_with(tmp_path, _sheet(rows, "A1"))
    assert [r.cells for r in read_table(file, "xlsx")] == [{"phone": "13800138000"}]
    file = _xlsx_with(tmp_path, _sheet(rows + '<row r="999999999999"><c><v>1</v></c></row>'))
    assert len(list(read_table(file, "xlsx"))) == 1, "and it ends"
    wide = openpyxl.Workbook()
    wide.active.append(["phone", *(f"c{n}" for n in range(250))])
    wide.save(tmp_path / "wide.xlsx")
    with pytest.raises(TableError, match="columns"):
        list(read_table(tmp_path / "wide.xlsx", "xlsx"))


def test_lines_of_json_differ_in_their_members() -> None:
    importer = Importer(LOADING, set())
    importer.told = {"Handy": "phone"}
    cells = [
        {"Handy": "13800138000", "tags": "a"},
        {"Handy": "13800138001"},
        {"Handy": "13800138002", "tags": "b", "priority": "high"},
        {"tags": "c"},
        {"Handy": "13800138003", "zone": "nowhere"},
    ]
    found = [importer.take(ListRow(n, row)) for n, row in enumerate(cells, 1)]
    good = [c for c in found if isinstance(c, CampaignContact)]
    assert [(c.tags, c.priority, c.attributes) for c in good] == [
        (["a"], "medium", {}), ([], "medium", {}), (["b"], "high", {}),
    ]  # fmt: skip
    assert [f.row.n for f in found if isinstance(f, Faulty)] == [4, 5]


def test_a_contact_fits_into_the_inbox_of_dispatch() -> None:
    long = {f"c{n}": "\u4e2d" * 256 for n in range(40)}
    _, found = load([ListRow(1, {"phone": "13800138000"} | long)])
    assert "8192 bytes" in found[0].reason


def test_a_name_in_another_encoding_than_the_beginning_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    ascii_only = b"phone,name\n" + b"13800138000,Ann\n" * 80_000
    file.write_bytes(ascii_only + "13800138001,李明\n".encode("gb18030"))
    *_, last = read_table(file, "csv")
    assert "cannot be read" in last.fault
