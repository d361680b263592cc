"""Status: the processes of a stack as rows for people and programs."""

from services.local.readiness import is_ready
from services.local.state import StackRecord, StateFolder, is_alive


def status_rows(record: StackRecord, folder: StateFolder) -> list[dict[str, str | int]]:
    """Return a row for the supervisor and each child: name, pid, port, state."""
    supervisor = {"name": "supervisor", "pid": record.supervisor.pid, "port": "", "state": ""}
    rows: list[dict[str, str | int]] = [{**supervisor, "state": str(record.phase)}]
    for name, child in sorted(record.children.items()):
        alive = is_alive(child.process)
        ready = alive and is_ready(child, folder.log(name))
        rows.append(
            {
                "name": name,
                "pid": child.process.pid if alive else "",
                "port": ", ".join(str(port) for port in child.ports),
                "state": "ready" if ready else "not ready" if alive else "ended",
            }
        )
    return rows


def table(rows: list[dict[str, str | int]]) -> str:
    """Return rows as text with a header."""
    shown = [[str(value) for value in row.values()] for row in rows]
    shown.insert(0, [name.upper() for name in rows[0]])
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in shown
    )
