"""The option `--runtime`, which several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

RuntimeOption = Annotated[Literal["onnx", "int8", "ort"], typer.Option(help="Which of the bundle's models to run.")]
