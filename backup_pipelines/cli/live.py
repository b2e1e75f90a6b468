"""Progress on a terminal: one line on stderr that is always of now, and leaves nothing behind.

Imported only where somebody looks: `rich` takes a tenth of a second.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from backup_pipelines.progress import Meter, watched
from backup_pipelines.wording import clean

_BAR = 16
# Narrower, the words need all the room.
_NARROW = 70
# Spinner, time, and the gaps after them; cut here, since rich would cut the time as well.
_BEFORE = 11


class _Now(ProgressColumn):
    """What is being done, and how far it is; asked anew for each refresh."""

    def __init__(self, title: str, columns: Callable[[], int]) -> None:
        super().__init__(Column(no_wrap=True))
        self.line = title
        self.meter: Meter | None = None
        self._columns = columns

    def render(self, task: Task) -> Text:
        """The line after spinner and time."""
        del task
        line = self._now()
        line.truncate(max(1, self._columns() - _BEFORE), overflow="ellipsis")
        return line

    def _now(self) -> Text:
        meter = self.meter
        if meter is None:
            return Text(clean(self.line))
        words, share = clean(meter.in_words()), meter.share
        if share is None or self._columns() < _NARROW:
            return Text(words)
        filled = int(_BAR * share)
        bar = Text("━" * filled, "green").append("━" * (_BAR - filled), "dim")
        return bar.append(f"  {words}", "none")


@contextmanager
def shown(title: str) -> Generator[Callable[[str], None]]:
    """Show what is done in the block, and how far it is; the function takes lines about it."""
    console = Console(stderr=True)
    now = _Now(title, lambda: console.width)

    def show(line: str) -> None:
        now.line = line

    def watch(meter: Meter | None) -> None:
        if now.meter is not None:
            now.line = now.meter.in_words()
        now.meter = meter

    bar = Progress(SpinnerColumn(), TimeElapsedColumn(), now, console=console, transient=True)
    with bar, watched(watch):
        bar.add_task(title, total=None)
        yield show
