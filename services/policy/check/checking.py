"""Checking: a kong.yml's text -> every fault of it, by line; offline and without a node."""

from collections.abc import Iterable
from functools import lru_cache

from services.core.wording import counted
from services.policy.check.access import access_faults
from services.policy.check.environments import environment_faults
from services.policy.check.secrets_in_file import secret_faults, text_faults
from services.policy.check.structure import structure_faults
from services.policy.check.tiers import tier_faults
from services.policy.entities import Policy
from services.policy.faults import Fault
from services.policy.render import PolicyError
from services.policy.source import kind_of, read


class FaultyPolicyError(PolicyError):
    """A kong.yml that is not sent; the message has a line for each fault."""

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        """Take the name by which people know the file."""
        self.faults = tuple(faults)
        title = f"{file} has {counted(len(self.faults), 'fault')}; nothing was sent"
        super().__init__("\n".join((title, *fault_lines(file, self.faults))))


def fault_lines(file: str, faults: Iterable[Fault]) -> list[str]:
    """Return a line for each fault: `FILE:LINE: sentence`."""
    return [f"{file}:{line}: {sentence}" for line, sentence in faults]


# The reconciler asks again and again for a text that seldom changes.
@lru_cache(maxsize=8)
def find_faults(text: str) -> tuple[Fault, ...]:
    """Return every fault once, by line."""
    root, faults = read(text)
    if root is None or not isinstance(root.data, dict):
        if not faults:
            words = "a kong.yml is a map with _format_version, services, consumers and so on, not"
            faults = [Fault(1, f"{words} {kind_of(root.data if root else None)}")]
        return tuple(sorted({*faults, *text_faults(text)}))
    policy = Policy(root)
    faults += structure_faults(policy)
    faults += tier_faults(policy)
    faults += access_faults(policy)
    faults += environment_faults(policy)
    faults += secret_faults(text, policy)
    return tuple(sorted(set(faults)))


def require_sound(text: str, file: str) -> None:
    """Raise FaultyPolicyError if the text has a fault."""
    faults = find_faults(text)
    if faults:
        raise FaultyPolicyError(file, faults)
