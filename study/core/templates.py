"""Text from Jinja templates that lie beside the module that fills them in."""

from __future__ import annotations

from pathlib import Path


def render(folder: Path, name: str, **values: object) -> str:
    """Fill in the template of that name; values are escaped in those that end in ``.html.j2``.

    A value that the template names and that is missing raises ``jinja2.UndefinedError``.
    """
    # Imported here, since most commands write no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=select_autoescape(["html.j2"]), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(name).render(values)
