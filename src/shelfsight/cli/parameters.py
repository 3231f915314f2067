"""Arguments and options that several commands have."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

ChannelArgument = Annotated[str, typer.Argument(metavar="CHANNEL", help="Id of the channel.")]
ProductArgument = Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")]
VersionArgument = Annotated[str, typer.Argument(metavar="VERSION", help="Such as 1.4.2.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, as REST answers with it.")]
RuntimeOption = Annotated[Literal["onnx", "int8", "ort"], typer.Option(help="Which of the bundle's models to run.")]
