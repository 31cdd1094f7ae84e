"""A command line that cannot be read: told as every other error, with what to type."""

import sys
from collections.abc import Iterator
from typing import Any, Final

import typer
from typer.core import TyperGroup

from upd_harness.cli.terminal import Terminal, finish
from upd_zoo.errors import UsageError, closest

_REFUSED: Final[Any] = typer.BadParameter.__base__
"""Whatever is wrong with a command line. Typer has it of its own or of click; the names it gives away are neither's."""


class Program(TyperGroup):
    """A program of which every error is a line and an exit code, or an object where JSON is asked for."""

    def main(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line, do the work, and end with its exit code."""
        given = arguments[0] if arguments else named.get("args")
        words = {*(sys.argv[1:] if given is None else given)}

        def work() -> int:
            try:
                code = TyperGroup.main(self, *arguments, **named | {"standalone_mode": False})
            except _REFUSED as error:
                raise _as_usage_error(error) from error
            return code if isinstance(code, int) else 0

        finish(work, Terminal(as_json="--json" in words, verbose=bool({"-v", "--verbose"} & words)))
        raise SystemExit

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is meant, or say which ones there are."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise UsageError(
                f"no command is called '{args[0]}'", closest(args[0], self.commands), f"{ctx.command_path} -h"
            )
        return super().resolve_command(ctx, args)


def _as_usage_error(error: Any) -> UsageError:
    """Return what cannot be read of a command line in three beats: what was wrong, what is accepted, what to type."""
    context, parameter = error.ctx, getattr(error, "param", None)
    if context is None:  # an option without its value is found before it is known whose it is
        return UsageError(error.format_message(), "", f"give {error.option_name} what it is to have")
    path = context.command_path
    if option := getattr(error, "option_name", None):
        named = (name for each in context.command.params for name in each.opts)
        return UsageError(f"{path} has no option {option}", closest(option, filter(_is_long, named)), f"{path} -h")
    help_ = getattr(parameter, "help", None) or ""
    if parameter is not None and not error.message:
        return UsageError(f"{path} needs {_spelled(parameter)}", help_, " ".join((path, *_needed(context))))
    return UsageError(error.format_message(), help_, f"{path} -h")


def _is_long(option: str) -> bool:
    return option.startswith("--")


def _spelled(parameter: Any) -> str:
    """Return an option by all of its spellings, an argument by what it stands for."""
    return "/".join(parameter.opts) if _is_option(parameter) else _placeholder(parameter)


def _placeholder(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _needed(context: Any) -> Iterator[str]:
    """Yield what a command must be given: as it was given, or what stands for it."""
    for parameter in context.command.params:
        if not parameter.required:
            continue
        if _is_option(parameter):
            yield parameter.opts[0]
        yield str(context.params.get(parameter.name) or _placeholder(parameter))
