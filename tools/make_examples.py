"""Choose the photos of `examples/` from the Grocery Store data set (Klasson, Zhang, Kjellström; MIT licence).

    python tools/make_examples.py GROCERY examples

`GROCERY` is a checkout of the data set, with `train.txt` and `val.txt`. Twelve products get ten training photos
each, evenly spread over the order in which they were taken; the photos to try come from the validation part, so no
recogniser trained on the examples has seen them, and two of them show products that the shop does not sell.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

PHOTOS = 10
PRODUCTS = [  # data set's name, product id, name, SKU, price
    ("Banana", "banana", "Bananas", "FRU-001", "0.29"),
    ("Granny-Smith", "granny-smith", "Apple Granny Smith", "FRU-002", "0.45"),
    ("Lemon", "lemon", "Lemon", "FRU-003", "0.39"),
    ("Pineapple", "pineapple", "Pineapple", "FRU-004", "2.49"),
    ("Avocado", "avocado", "Avocado", "FRU-005", "1.19"),
    ("Carrots", "carrots", "Carrots", "VEG-001", "0.99"),
    ("Red-Bell-Pepper", "red-bell-pepper", "Red bell pepper", "VEG-002", "0.89"),
    ("Vine-Tomato", "vine-tomato", "Tomatoes on the vine", "VEG-003", "1.79"),
    ("Garlic", "garlic", "Garlic", "VEG-004", "0.59"),
    ("Arla-Standard-Milk", "arla-standard-milk", "Arla milk 3 %", "DAI-001", "1.39"),
    ("Oatly-Oat-Milk", "oatly-oat-milk", "Oatly oat drink", "DAI-002", "2.19"),
    ("Tropicana-Juice-Smooth", "tropicana-juice-smooth", "Tropicana orange, smooth", "JUI-001", "2.99"),
]
TRY = [
    "Banana",
    "Lemon",
    "Oatly-Oat-Milk",
    "Carrots",
    "Pineapple",
    "Red-Bell-Pepper",
    "Watermelon",
    "Asparagus",
]


def main() -> None:
    """Copy the chosen photos, and write the lists of products and of what the photos to try show."""
    parser = argparse.ArgumentParser(description="Choose the photos of the examples from the Grocery Store data set.")
    parser.add_argument("source", type=Path, metavar="GROCERY", help="checkout of it, with train.txt and val.txt")
    parser.add_argument("target", type=Path, help="folder for the examples")
    arguments = parser.parse_args()
    source, target = arguments.source, arguments.target
    shop = target / "corner-shop"
    for name, product, *_ in PRODUCTS:
        photos = _photos(source, "train.txt", name)
        (shop / product).mkdir(parents=True, exist_ok=True)
        for index in range(PHOTOS):
            photo = photos[index * len(photos) // PHOTOS]
            shutil.copyfile(photo, shop / product / photo.name.lower())
    with (target / "corner-shop.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "sku", "price", "currency"])
        writer.writerows([*row[1:], "EUR"] for row in PRODUCTS)
    (target / "try").mkdir(exist_ok=True)
    for name in TRY:
        photo = _photos(source, "val.txt", name)[0]
        shutil.copyfile(photo, target / "try" / f"{name.lower()}.jpg")
    with (target / "try.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "product"])
        writer.writerows([f"try/{name.lower()}.jpg", name.lower()] for name in sorted(TRY))


def _photos(source: Path, part: str, name: str) -> list[Path]:
    lines = (source / part).read_text().splitlines()
    return [source / line.split(", ")[0] for line in lines if f"/{name}/" in line]


if __name__ == "__main__":
    main()
