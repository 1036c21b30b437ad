"""Small trees of files named and laid out as the original archives unpack, with real JPEG files in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SHOES = "CID,Category,SubCategory,HeelHeight,Insole,Closure,Gender,Material,ToeStyle"
BRANDS = ("Nike", "W.A.G%2E", "Levi's&#174; Kids", "Frye")
HEELS = ("", "Flat", "1in - 1 3/4in", "Under 1in", "5in & over")
ATTRIBUTES = (
    *("has_bill_shape::dagger", "has_bill_shape::hooked", "has_wing_color::blue", "has_wing_color::red"),
    *("has_size::small_(5_-_9_in)", "has_size::large_(16_-_32_in)"),
)
STYLES = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName"
MEDIC = "image_id\tevent_name\timage_path\tdamage_severity\tinformative\thumanitarian\tdisaster_types"


def jpeg(path: Path, seed: int, size: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "JPEG")


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def edited(path: Path, line: int, text: str | None) -> None:
    """Puts a text in place of a line, numbered from 1; None removes it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    write_lines(path, lines)


def shoe_rows(products: int = 40) -> list[list[str]]:
    """Three colourways of each product; of each fourth product the closure or the gender is not kept."""
    rows = []
    for product in range(products):
        for colour in range(3):
            category = ("Shoes", "Boots", "Sandals", "Slippers")[product % 4]
            closure = ("Lace up", "Slip-On", "Zipper", "Hook and Loop", "Pull-on", "Buckle;Zipper")[product % 6]
            gender = ("Women", "Men", "Girls", "Boys", "Boys;Girls")[product // 2 % 5]
            heel = HEELS[product % 5]
            rows.append([f"{100_000 + product}-{colour}", category, "Oxfords", heel, "", closure, gender, "Suede", ""])
    return rows


def zappos_tree(root: Path, rows: Sequence[Sequence[str]] | None = None, *, images: bool = True) -> Path:
    rows = shoe_rows() if rows is None else rows
    write_lines(root / "ut-zap50k-data" / "meta-data.csv", [SHOES, *(",".join(row) for row in rows)])
    for number, row in enumerate(rows if images else ()):
        brand = BRANDS[number // 3 % len(BRANDS)]
        name = row[0].replace("-", ".") + ".jpg"
        jpeg(root / "ut-zap50k-images" / row[1] / "Oxfords" / brand / name, number)
    return root


def medic_tree(root: Path, rows: int = 60) -> Path:
    """Twelve events; ids of posts with two images each; one label in nine is empty."""
    tasks = (
        ("little_or_none", "mild", "severe"),
        ("informative", "not_informative"),
        ("not_humanitarian", "infrastructure_and_utility_damage"),
        ("earthquake", "fire", "flood", "not_disaster"),
    )
    lines: dict[str, list[str]] = {"train": [MEDIC], "dev": [MEDIC], "test": [MEDIC]}
    for number in range(rows):
        image, part = f"{10**17 + number // 2}_{number % 2}", ("train", "train", "train", "dev", "test")[number % 5]
        place = f"data/crisismmd/event_{number // 2 % 12}/{image}.jpg"
        labels = ["" if (number + at) % 9 == 0 else names[number % len(names)] for at, names in enumerate(tasks)]
        lines[part].append("\t".join([image, f"event_{number // 2 % 12}", place, *labels]))
        jpeg(root / place, number)
    for part, each in lines.items():
        write_lines(root / f"MEDIC_{part}.tsv", each)
    return root


def cub_tree(root: Path, species: int = 4, each: int = 20) -> Path:
    """The first 15 of each species' images train; attributes beside the folder, as in the archive."""
    folder = root / "CUB_200_2011"
    names = [f"{number + 1:03d}.Black_footed_Bird{number}" for number in range(species)]
    images = [f"{name}/{name[4:]}_{number:04d}.jpg" for name in names for number in range(each)]
    numbered = [f"{number} {image}" for number, image in enumerate(images, start=1)]
    write_lines(folder / "images.txt", numbered)
    write_lines(folder / "classes.txt", [f"{number} {name}" for number, name in enumerate(names, start=1)])
    write_lines(folder / "image_class_labels.txt", [f"{n + 1} {n // each + 1}" for n in range(len(images))])
    write_lines(folder / "train_test_split.txt", [f"{n + 1} {int(n % each < 15)}" for n in range(len(images))])
    write_lines(root / "attributes.txt", [f"{number} {name}" for number, name in enumerate(ATTRIBUTES, start=1)])
    marks = [
        f"{image + 1} {attribute + 1} {int((image + attribute) % 2 == 0)} {1 + (image // 2 + attribute) % 4} 1.5"
        for image in range(len(images))
        for attribute in range(len(ATTRIBUTES))
    ]
    write_lines(folder / "attributes" / "image_attribute_labels.txt", marks)
    for number, image in enumerate(images):
        jpeg(folder / "images" / image, number)
    return root


def style_rows(count: int = 120) -> list[str]:
    rows = []
    for number in range(count):
        part, kind = ("Footwear", ("Heels", "Flats")[number % 2]) if number % 3 else ("Apparel", "Shirts")
        who, colour = ("Men", "Women")[number % 2], ("Black", "White", "NA")[number % 3]
        brand, usage = ("Red Tape", "Nike")[number // 2 % 2], ("Casual", "Sports")[number // 3 % 2]
        name = f"{brand} {who} {colour} {kind} {number}"
        rows.append(f"{1000 + number},{who},{part},Shoes,{kind},{colour},Summer,2011,{usage},{name}")
    return rows


def fashion_tree(root: Path, rows: Sequence[str] | None = None) -> Path:
    rows = style_rows() if rows is None else rows
    write_lines(root / "styles.csv", [STYLES, *rows])
    for number, row in enumerate(rows):
        jpeg(root / "images" / f"{row.split(',')[0]}.jpg", number)
    return root
