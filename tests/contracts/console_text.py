"""What a console shows, as text."""

import io

import rich.console


def as_shown(*pieces, width=80, **options) -> str:
    console = rich.console.Console(file=io.StringIO(), width=width, **options)
    for piece in pieces:
        console.print(piece)
    return console.file.getvalue()
