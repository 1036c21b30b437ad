"""Takes the pictures of docs/use.md of the page of `mscon explore`, on a short training on `glyphs`.

    python docs/pictures/explore.py [FOLDER]

Needs the extra `explore`, Playwright and Chromium. Five minutes on two cores; a run that is in FOLDER is used again.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

from PIL import Image
from playwright.sync_api import Page, sync_playwright

CHROMIUM, HERE = "/usr/bin/chromium", Path(__file__).parent
SIMILARITIES = ("character", "style", "weight", "slant")
SETTINGS = (
    *("image.size=32", "views.flip=0.0", "views.scale=[0.8,1.0]", "training.epochs=4"),
    "model.stages=[{stage=-3,grid=2},{stage=-2,grid=2},{stage=-1,grid=1}]",
)
"""Those of `mscon demo`, with fewer epochs."""

ITEM = "DejaVuSerif/R/0"
COLOURS = 128
"""Of the pictures, which makes them small."""


def main(folder: Path) -> None:
    """Both of them, of a run in a folder."""
    run = folder / "glyphs"
    if not (run / "model.safetensors").exists():
        labels = [word for name in SIMILARITIES for word in ("--similarity", name)]
        settings = [word for each in SETTINGS for word in ("--set", each)]
        mscon("train", "glyphs", *labels, "--ood", "typeface", "--ood", "ink", *settings, "-o", str(run))
    command = [sys.executable, "-m", "mscon", "explore", str(run), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, sync_playwright() as playwright:
        assert process.stdout is not None
        address = next(line.split()[-1] for line in process.stdout if "http://" in line)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        page.goto(address)
        take_search(page)
        take_map(page)
        browser.close()
        process.terminate()


def take_search(page: Page) -> None:
    """The same letter, but of another style."""
    page.wait_for_selector(".results li")
    page.locator("#pick-id").fill(ITEM)
    page.keyboard.press("Enter")
    page.wait_for_selector(f".query >> text={ITEM}")
    for name, weight in (("style", "-1"), ("weight", "0"), ("slant", "0.5")):
        box = page.get_by_label(f"number input for {name}")
        box.fill(weight)
        box.press("Enter")
    page.wait_for_timeout(2000)
    page.evaluate("window.scrollTo(0, 0)")
    take(page, HERE / "explore.png")


def take_map(page: Page) -> None:
    """The map under one similarity, coloured by it."""
    page.get_by_role("tab", name="Map").click()
    page.locator(".map .space").select_option("style")
    page.wait_for_selector("text=by UMAP.", timeout=600_000)
    page.wait_for_timeout(1000)
    take(page, HERE / "explore-map.png")


def take(page: Page, path: Path) -> None:
    """What is seen of the page, in few colours."""
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def mscon(*words: str) -> None:
    """Runs a command."""
    subprocess.run([sys.executable, "-m", "mscon", *words], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(mkdtemp()))
