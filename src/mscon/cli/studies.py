"""Commands around many runs: catalogs of well-known sets, and methods compared on them."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mscon.cli.shared import goes_on, progress_bar
from mscon.console import terminal


def data(
    name: str,
    *,
    root: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    only: str | None = None,
) -> None:
    """Make a catalog of a well-known set from its original files: zappos50k, medic, cub200 or fashion.

    Nothing is downloaded: it says where to get the files, which of them are there, and which are missing. Counts are
    compared with those known of the whole set.

        mscon data zappos50k --root ~/zappos
        mscon data fashion --root ~/fashion --only Footwear

    Parameters
    ----------
    name
        zappos50k (shoes), medic (disasters), cub200 (birds) or fashion (clothes, shoes and more).
    root
        The folder in which the archives were unpacked.
    out
        The Parquet file to write; NAME.parquet in the root when left out.
    only
        Of fashion, one masterCategory, such as Footwear; then the file is footwear.parquet.
    """
    from mscon.data.originals import sets
    from mscon.data.originals.show import show, show_checklist, show_written

    console = terminal()
    show_checklist(sets.about(name), root, console)
    with progress_bar("reading images") as progress:
        original = sets.read(name, root, only=only, progress=progress)
    show(original, console)
    show_written(original, original.write(out or sets.catalog_path(name, root, only)), console)


def reproduce(
    study: str,
    *,
    method: Annotated[list[str] | None, Parameter(negative="")] = None,
    seeds: int | None = None,
    quick: Annotated[bool | None, Parameter(negative="--full")] = None,
    figure: str | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
    run: str | None = None,
    root: Path | None = None,
    results: Path = Path("results"),
    runs: Path = Path("runs/reproduce"),
) -> None:
    """Train and compare methods on a study, and print the table: footwear, clothing, zappos50k, medic or cub200.

    Every method has the same encoder, views and steps; its learning rate is chosen among three on the first seed, by
    validation. What is done is not done again, what was stopped goes on, and several processes can work at once.
    Every training leaves a small JSON file; tables and figures are made from these alone.

        mscon reproduce footwear --root data/footwear --quick
        mscon reproduce footwear --method mscon-excess --method supcon --seeds 5
        mscon reproduce footwear --figure noise
        mscon reproduce footwear --list | tr '\\n' '\\0' | xargs -0 -P 8 -I {} sh -c "{}"

    Parameters
    ----------
    study
        One of these, or a .toml of your own: what is trained on what, as docs/reproduce.md tells.
    method
        Only this method; all when left out. Repeat it.
    seeds
        How many seeds, from 0 on: 3 when left out, of a figure 2.
    quick
        The short preset; when left out, that of a figure is short, that of the table full.
    figure
        The trainings of a figure in place of the table's: noise, gaps, redundancy, temperature, similarities,
        leave-one-out, heads, batch-size, equal-steps; transfer and retrieval need none of their own.
    list_
        Print the trainings that can be done now as commands, one a line, and do nothing.
    run
        Do only this training, named as --list does.
    root
        The folder of the study's data; its name below $MSCON_DATA when left out.
    results
        Where result files, tables and figures are kept.
    runs
        Where the trainings themselves are kept.
    """
    from mscon.experiments.command import Wish, list_commands
    from mscon.experiments.command import reproduce as run_study

    wish = Wish(study, method, seeds, quick, figure, run)
    with goes_on():
        (list_commands if list_ else run_study)(wish, root, results, runs)
