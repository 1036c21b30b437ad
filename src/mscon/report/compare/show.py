"""A comparison, printed: a column for each run."""

from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mscon.evaluate.notes import print_notes
from mscon.evaluate.show import STYLES, UNITS, number, scale_of
from mscon.report import text
from mscon.report.compare.comparison import Comparison, LabelRow
from mscon.report.compare.paired import Difference
from mscon.report.course import End
from mscon.report.probes import Score
from mscon.words import json_text


def show(found: Comparison, console: Console) -> None:
    """Print what differs between the recipes, then every score with its difference beside the first run."""
    names = [column.name for column in found.columns]
    if found.settings:
        rows = [(each.key, [Text(value or "–") for value in each.values]) for each in found.settings]
        _print(console, "what differs between the recipes", names, rows)
    else:
        console.print("the recipes are the same", style="bold")
    trained: list[tuple[str, Callable[..., str]]] = [
        ("epochs", lambda column: "–" if column.epochs is None else f"{column.epochs:.3g}"),
        ("steps", lambda column: "–" if column.steps is None else f"{column.steps:,}"),
        ("training took", lambda column: "–" if column.seconds is None else text.duration(column.seconds)),
        ("test items", lambda column: "–" if column.rows is None else f"{column.rows['test']:,}"),
    ]
    _print(console, "the runs", names, [(title, [Text(of(each)) for each in found.columns]) for title, of in trained])
    if found.labels:
        _print(console, "linear probes, scored on test", names, [(_title(row), _cells(row)) for row in found.labels])
        console.print(Text(f"below a score: it − that of {names[0]} on the same items, [95% interval];", style="dim"))
        starred = any(map(_starred, found.labels))
        console.print(f"green: above, red: below.{' * never trained on by any run' * starred}", style="dim")
    if found.retrieval:
        spaces = [
            (f"{row.label}{of}", [_mean(score) for score in scores])
            for row in found.retrieval
            for of, scores in (("", row.embedding), (", own head", row.own_head))
            if any(scores)
        ]
        _print(console, "retrieval among test items, mAP@R in percent", names, spaces)
    ends = [(row.name, [_stood(end) for end in row.ends]) for row in found.similarities]
    if any(end for row in found.similarities for end in row.ends):
        _print(console, "at the end of training: weight, relative excess on held-out items", names, ends)
    print_notes(found.notes, console)


def as_json(found: Comparison) -> str:
    """The same for programs, curves left out."""
    return json_text(found.to_json())


def _print(console: Console, title: str, names: Sequence[str], rows: Iterable[tuple[str, Sequence[Text]]]) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold")
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for row, cells in rows:
        table.add_row(Text(row), *cells)
    console.print(Text(title, style="bold"))
    console.print(table)


def _title(row: LabelRow) -> str:
    return row.label + "*" * _starred(row)


def _starred(row: LabelRow) -> bool:
    """Whether no run was trained on it."""
    return True not in row.in_domain


def _cells(row: LabelRow) -> list[Text]:
    return [
        Text("–") if score is None else _scored(score, difference, row.metric)
        for score, difference in zip(row.scores, row.differences, strict=True)
    ]


def _scored(score: Score, difference: Difference | None, metric: str) -> Text:
    scale = scale_of(metric)
    value = f"{number(score.value, scale)} {UNITS[metric]}"
    ends = "" if score.low is None else f" [{number(score.low, scale)}, {number(score.high, scale)}]"
    lines = Text.assemble((value, "bold"), ends)
    if difference is not None:
        gap = f"\n{number(difference.value, scale, sign=True)}"
        if difference.low is not None:
            gap += f" [{number(difference.low, scale, sign=True)}, {number(difference.high, scale, sign=True)}]"
        lines.append(gap, STYLES[difference.verdict])
    return lines


def _mean(score: Score | None) -> Text:
    if score is None or score.value is None:
        return Text("–")
    ends = "" if score.low is None else f" [{number(score.low, 100.0)}, {number(score.high, 100.0)}]"
    return Text(f"{number(score.value, 100.0)}{ends}")


def _stood(end: End | None) -> Text:
    if end is None:
        return Text("–")
    return Text(f"{text.score(end.weight)}, {text.score(end.held_out)}")
