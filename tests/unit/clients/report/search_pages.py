"""Reads a search's report back from its HTML."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "br", "hr", "img", "input", "link", "path", "use", "rect", "image", "line"}


@dataclass
class Page:
    """What a test asks of a document."""

    rows: dict[int, list[str]] = field(default_factory=dict)
    """Cells of the leaderboard by trial, in the document's order."""
    repeated: list[int] = field(default_factory=list)
    """Trials that have more than one row."""
    winners: list[tuple[str, int]] = field(default_factory=list)
    """Kind and trial of every card."""
    tags: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    alts: list[str] = field(default_factory=list)
    """Labels of the charts."""
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open: list[str] = []
        self._cells: list[str] | None = None
        self._cell: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        page, found = self.page, {name: value or "" for name, value in attrs}
        page.tags.append(tag)
        page.handlers += [name for name in found if name.startswith("on")]
        page.links += [found[name] for name in ("src", "href", "xlink:href") if name in found]
        page.ids += [found["id"]] if "id" in found else []
        page.alts += [found["aria-label"]] if tag == "svg" else []
        if "data-winner" in found:
            page.winners.append((found["class"].split()[-1], int(found["data-winner"])))
        if "data-trial" in found:
            number, self._cells = int(found["data-trial"]), []
            page.repeated += [number] if number in page.rows else []
            page.rows[number] = self._cells
        if tag == "td":
            self._cell = ""
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "td" and self._cells is not None and self._cell is not None:
            self._cells.append(" ".join(self._cell.split()))
        if tag == "td":
            self._cell = None
        if tag == "tr":
            self._cells = None

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.page.text += data
        if self._cell is not None:
            self._cell += data

    def close(self) -> None:
        super().close()
        assert not self._open, f"not closed: {self._open}"


def read_page(html: str) -> Page:
    """Parse a document; fails on tags that are not closed in order."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    reader.page.text = " ".join(reader.page.text.split())
    return reader.page
