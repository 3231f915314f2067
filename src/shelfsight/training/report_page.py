"""The quality report as a page to look at: one HTML file with its pictures and plots inside."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from shelfsight.catalog.picture import open_picture
from shelfsight.errors import PictureError

if TYPE_CHECKING:
    from pathlib import Path

    from shelfsight.training.report import Report

_THUMBNAIL = 112
_PAIRS_WITH_PICTURES = 12


def render_report(report: Report, source: Path) -> bytes:
    """Return the report as an HTML page; pictures that can no longer be read are left out."""
    base = source if source.is_dir() else source.parent
    environment = Environment(
        loader=PackageLoader("shelfsight.training"), autoescape=True, undefined=StrictUndefined
    )
    pairs = report.confusions[:_PAIRS_WITH_PICTURES]
    examples = {image.product: image.file for image in reversed(report.images)}
    wanted = {file for pair in pairs for file in (*pair.pictures, examples[pair.taken_for])}
    page = environment.get_template("report.html.j2").render(
        report=report,
        pairs=pairs,
        examples=examples,
        thumbnails={file: thumbnail for file in wanted if (thumbnail := _thumbnail(base / file))},
        weakest=sorted(
            (product for product in report.products if product.held_out),
            key=lambda product: (product.right / product.held_out, product.product),
        ),
    )
    return page.encode()


def _thumbnail(path: Path) -> str | None:
    try:
        picture = open_picture(path.read_bytes(), short_side=_THUMBNAIL)
    except (OSError, PictureError):
        return None
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=78)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
