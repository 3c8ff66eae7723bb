"""Where a reader reads, and how what it finds there is named."""

from dataclasses import dataclass

from seedbed.corpus.records import Document, Quarantined, printable_path
from seedbed.corpus.streams import MAX_RECORD_BYTES
from seedbed.recipe.schema import SourceConfig


@dataclass(frozen=True, slots=True)
class Place:
    """A file (a local path or a URL) or the part [start, end) of its bytes, and what is known of its documents beforehand.

    `id`: of the document, or the beginning of its records' ids. `limit`: the most bytes of a record. `licence_file`: the
    nearest LICENSE file upward in the source, with its bytes.
    """

    location: str
    size: int
    id: str
    source: SourceConfig
    domain: str = "prose"
    start: int = 0
    end: int = 1 << 62
    limit: int = MAX_RECORD_BYTES
    licence_file: tuple[str, int] | None = None

    def quarantine(self, rule: str, reason: str, bytes_in: int, record: str = "") -> Quarantined:
        """`record`: `#LINE` or `@OFFSET`, or "" for the whole file."""
        domain = self.source.domain or self.domain
        return Quarantined(self.id + record, rule, f"{reason}.", bytes_in, source=self.source.name, domain=domain)

    def document(self, text: str, bytes_in: int, record: str = "") -> Document:
        path = printable_path(self.location)
        return Document(
            id=self.id + record,
            text=text,
            bytes_in=bytes_in,
            source=self.source.name,
            origin=f"{path}:{record[1:]}" if record else path,
            licence=self.source.licence,
            domain=self.source.domain or self.domain,
        )


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
