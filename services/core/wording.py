"""Core: numbers in sentences for people."""


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun: `1 line`, `1,000 lines`.

    `several` is the plural where an s behind `one` does not make it.
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"
