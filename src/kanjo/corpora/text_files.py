"""Open text files and tables of text: encodings, and files that are no text although their names promise it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kanjo.audio import LFS_POINTER_START
from kanjo.errors import CorpusError
from kanjo.files import open_regular, os_error_message

UTF8 = ("utf-8-sig",)
_HEAD_BYTES = 4096
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
#: First bytes of an Excel workbook: xlsx is a zip archive, xls a compound file.
_WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")


def detect_encoding(path: Path) -> str:
    """Return "utf-16" for a file with the byte order mark of UTF-16, else "utf-8-sig" (UTF-8 with or without mark).

    Raises:
        CorpusError: The file is a Git LFS pointer, an Excel workbook, or no text.
        OSError: The file can't be read.
    """
    with open_regular(path) as stream:
        head = stream.read(_HEAD_BYTES)
    refuse_other_content(path, head)
    if head[:2] in _UTF16_MARKS:
        return "utf-16"
    if b"\0" in head:  # UTF-16 without its mark, or no text
        raise CorpusError(f"{path}: not text in UTF-8 (it contains null bytes); save the table as 'CSV UTF-8'")
    return "utf-8-sig"


def refuse_other_content(path: Path, content: bytes) -> None:
    """Raise CorpusError if a file starts like a Git LFS pointer or an Excel workbook."""
    if content.startswith(LFS_POINTER_START):
        raise CorpusError(f"{path}: a Git LFS pointer, not the file itself; run 'git lfs pull' in its repository")
    if content.startswith(_WORKBOOK_STARTS):
        raise CorpusError(f"{path}: an Excel workbook or a zip archive; save the table as 'CSV UTF-8'")


def read_text(path: Path, corpus: str, encodings: Sequence[str] = UTF8) -> str:
    """Read a text file in the first encoding that fits; UTF-16 is recognized by its byte order mark.

    Raises:
        CorpusError: The file can't be read, or no encoding fits.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read()
    except OSError as error:
        raise CorpusError(f"{corpus}: can't read {path}: {os_error_message(error)}") from error
    refuse_other_content(path, content)
    if content[:2] in _UTF16_MARKS:
        encodings = ("utf-16",)
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CorpusError(f"{corpus}: {path} is not text in {' or '.join(encodings)}; convert the file to UTF-8")


def read_lines(path: Path, corpus: str, encodings: Sequence[str] = UTF8) -> list[str]:
    """Read the lines of a text file; only a line feed ends a line, because texts may contain other Unicode breaks."""
    return [line.rstrip("\r") for line in read_text(path, corpus, encodings).rstrip("\r\n").split("\n")]


def open_table(path: Path, corpus: str, encodings: Sequence[str] = UTF8) -> io.StringIO:
    """Open a text file for the csv module, which needs the original line ends."""
    return io.StringIO(read_text(path, corpus, encodings), newline="")


def decoding_error(path: Path, encoding: str) -> CorpusError:
    """Build the error for a text file that can't be decoded; it names the first line that is not UTF-8."""
    if encoding == "utf-16":
        return CorpusError(f"{path}: the UTF-16 text is damaged; save the file again as 'CSV UTF-8'")
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return CorpusError(f"{path}:{number}: byte 0x{byte:02x} is not UTF-8; save the table as 'CSV UTF-8'")
    return CorpusError(f"{path}: not text in UTF-8; save the table as 'CSV UTF-8'")


def read_records(
    lines: Iterable[str],
    path: Path,
    lines_before: int = 0,
    check_long_record: Callable[[int, int, list[str]], None] | None = None,
    **csv_options: Any,
) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV file: the number of the first line, and the cells.

    Args:
        lines: The lines, with their line ends.
        path: The file, for error messages.
        lines_before: Lines of the file before these ones.
        check_long_record: Called with the first and last line number and the cells of each record of several lines.
        csv_options: Passed to ``csv.reader``.

    Raises:
        CorpusError: A quotation mark is not closed, or text follows a closing one; the message names the line.
    """
    reader = csv.reader(lines, strict=True, **csv_options)
    number = lines_before + 1
    try:
        for cells in reader:
            next_number = lines_before + reader.line_num + 1
            if check_long_record and next_number - number > 1:
                check_long_record(number, next_number - 1, cells)
            yield number, cells
            number = next_number
    except csv.Error as error:
        if "field larger" in str(error):
            raise CorpusError(
                f"{path}:{number}: a cell of this row has more than {csv.field_size_limit()} characters; shorten it, "
                "or close its quotation mark"
            ) from None
        if "line contains NUL" in str(error):  # before Python 3.11
            raise CorpusError(f"{path}:{number}: this row contains a null character; remove it") from None
        raise CorpusError(
            f"{path}:{number}: a cell of this row begins with a quotation mark that is not closed at the end of the "
            f"cell ({error}); close it, and write quotation marks in the cell twice"
        ) from None


def describe_header(header: Sequence[str]) -> str:
    """Return the names in a header for a message, in one line of at most 500 characters."""
    text = ", ".join(" ".join(str(name).split()) for name in header[:100])
    return (text if len(text) <= 500 else f"{text[:497]}...") or "empty"


def extra_cells_error(path: Path, number: int, n_cells: int, header: Sequence[str]) -> CorpusError:
    """Build the error for a row with more cells than the header."""
    return CorpusError(
        f"{path}:{number}: {n_cells} cells, but the header has {len(header)}; put quotation marks around a cell that "
        "contains the separator"
    )
