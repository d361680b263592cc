"""Core: secrets at rest. MultiFernet, so that the master key can be rotated."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class MasterKeyError(Exception):
    """The master keys are malformed, or none of them opens what is stored."""


class SecretBox:
    """Encrypts secrets with the first of the master keys, and decrypts them with any."""

    def __init__(self, master_keys: str) -> None:
        """Take the keys as MASTER_KEYS has them: Fernet keys, comma separated."""
        try:
            fernets = [Fernet(key.strip()) for key in master_keys.split(",")]
        except ValueError as exc:
            msg = "MASTER_KEYS: each must be 32 bytes in URL-safe base64, comma separated"
            raise MasterKeyError(msg) from exc
        self._newest = fernets[0]
        self._fernet = MultiFernet(fernets)

    def seal(self, secret: str) -> bytes:
        """Return the secret encrypted."""
        return self._fernet.encrypt(secret.encode())

    def open(self, sealed: bytes) -> str:
        """Return the secret in plain text. Raises MasterKeyError."""
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken as exc:
            msg = (
                "MASTER_KEYS: none of these keys opens a stored secret; was one removed too early?"
            )
            raise MasterKeyError(msg) from exc

    def is_newest(self, sealed: bytes) -> bool:
        """Say whether the first of the master keys opens it, so that it needs no other."""
        try:
            self._newest.decrypt(sealed)
        except InvalidToken:
            return False
        return True


def make_master_key() -> str:
    """Return a new master key."""
    return Fernet.generate_key().decode()
