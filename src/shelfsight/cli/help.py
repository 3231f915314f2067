"""What `--help` looks like: panels by task, words instead of Python's types, and an example where people begin."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from typer import BadParameter
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

if TYPE_CHECKING:
    import typer
    from typer._click.core import Context, Parameter

EXAMPLES = {
    ("train",): "shelfsight train photos --out bundle",
    ("predict",): "shelfsight predict bundle shelf.jpg",
    ("evaluate",): "shelfsight evaluate bundle other-photos",
    ("demo",): "shelfsight demo photos",
    ("serve",): "shelfsight serve --tls --host 0.0.0.0",
    ("publish",): "shelfsight publish bundle --channel T_1",
    ("rollback",): "shelfsight rollback T_1",
    ("channels", "add"): 'shelfsight channels add T_1 --name "Corner shop"',
    ("channels", "pair"): "shelfsight channels pair T_1 --server https://192.168.1.20:8000",
    ("products", "import"): "shelfsight products import T_1 products.csv",
    ("images", "add"): "shelfsight images add T_1 --folder photos --create",
    ("rollout", "start"): "shelfsight rollout start T_1 1.5.0 --percentage 5",
}
"""Of the commands that people begin with, by their words."""

_REFUSED = {
    "Input should be a valid integer": "it has to be a whole number",
    "Input should be a valid number": "it has to be a number",
}
"""What pydantic says of what was typed, and what we say."""

_WORDS: dict[object, str] = {int: "N", float: "NUMBER", Path: "PATH"}


class Command(TyperCommand):
    """A command whose usage line has its arguments as the documentation writes them: `BUNDLE IMAGE...`."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Read what was typed; what cannot be read as a number is refused in words."""
        try:
            return super().parse_args(ctx, args)
        except BadParameter as exc:
            for begins, said in _REFUSED.items():
                if exc.message.startswith(begins):
                    exc.message = said
            raise

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        """Return the words after the command's name."""
        arguments = (param for param in self.get_params(ctx) if isinstance(param, TyperArgument))
        return ["[OPTIONS]", *(argument.metavar or argument.name for argument in arguments)]

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, each with a word for what it takes."""
        return _in_words(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands whose options, too, have words."""

    def get_params(self, ctx: Context) -> list[Parameter]:
        """Return the parameters, each with a word for what it takes."""
        return _in_words(super().get_params(ctx))


def arrange(app: typer.Typer, words: tuple[str, ...] = ()) -> None:
    """Let every command of `app`, and of its groups, explain itself so; `words` are what leads to it."""
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        example = EXAMPLES.get((*words, name))
        command.cls = Command
        command.epilog = f"[dim]Example:[/] {example}" if example else None
    for group in app.registered_groups:
        group.cls = Group
        if group.typer_instance is not None:
            arrange(group.typer_instance, (*words, group.name or ""))


def _in_words(params: list[Parameter]) -> list[Parameter]:
    for param in params:
        if not isinstance(param, (TyperArgument, TyperOption)):
            continue
        if isinstance(param, TyperArgument):
            param.metavar = param.metavar or (param.name.upper() if param.required else f"[{param.name.upper()}]")
        param.display_type_rich = partial(_word, param)  # type: ignore[method-assign]  # Typer asks nothing else
    return params


def _word(param: TyperArgument | TyperOption, ctx: Context) -> str | None:  # noqa: ARG001 (Typer's signature)
    """Return what a parameter takes, None of a flag, or of an argument whose name says it."""
    taken = param.type_descriptor
    if taken.choices:
        return "|".join(str(getattr(choice, "value", choice)) for choice in taken.choices)
    if isinstance(param, TyperArgument) or param.is_flag:
        return None
    return param.metavar or _WORDS.get((*get_args(taken.annotation), taken.annotation)[0], "TEXT")
