"""Answers: are they what the contract says (Q2)? Written to the contract, sharing no code."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Version = Annotated[int, msgspec.Meta(ge=1)]
Aware = Annotated[datetime, msgspec.Meta(tz=True)]
Status = Literal["in_stock", "low_stock", "out_of_stock"]


class WrongAnswerError(Exception):
    """An answer is not what the contract says; the message tells what is wrong with it."""


class Item(msgspec.Struct, frozen=True):
    """One product's stock; new fields may come."""

    product_id: str
    quantity: Count
    status: Status
    updated_at: Aware
    version: Version


class Stock(msgspec.Struct, frozen=True):
    """The answer to a query."""

    items: list[Item]
    not_found: list[str]
    timestamp: Aware


class Removed(msgspec.Struct, frozen=True):
    """A product that is no more."""

    product_id: str
    version: Version


class Changes(msgspec.Struct, frozen=True):
    """One page of the delta sync."""

    items: list[Item]
    removed: list[Removed]
    next_cursor: Annotated[str, msgspec.Meta(min_length=1)]
    has_more: bool
    timestamp: Aware


class Refusal(msgspec.Struct, frozen=True):
    """What every error looks like."""

    code: str
    message: Annotated[str, msgspec.Meta(min_length=1)]
    request_id: Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9._-]{1,64}$")]


class Webhook(msgspec.Struct, frozen=True):
    """A webhook, as far as the kit needs it."""

    id: str
    url: str
    events: list[str]
    state: Literal["active", "disabled"]


class WebhookList(msgspec.Struct, frozen=True):
    """All webhooks of a partner."""

    items: list[Webhook]


_stock = msgspec.json.Decoder(Stock)
_changes = msgspec.json.Decoder(Changes)
_item = msgspec.json.Decoder(Item)
_refusal = msgspec.json.Decoder(Refusal)
_webhook = msgspec.json.Decoder(Webhook)
_webhooks = msgspec.json.Decoder(WebhookList)


def query_body(ids: list[str]) -> bytes:
    """Return the body of a query for a batch."""
    return msgspec.json.encode({"product_ids": ids})


def stock(body: bytes, asked: list[str], *, all_known: bool) -> list[Item]:
    """Return the items of an answer to a query for `asked`. Raises WrongAnswerError."""
    try:
        read = _stock.decode(body)
    except msgspec.DecodeError as exc:
        raise WrongAnswerError(str(exc)) from exc
    if all_known and read.not_found:
        msg = f"{read.not_found[0]} is there, and not_found has it"
        raise WrongAnswerError(msg)
    missing = set(read.not_found)
    expected = [each for each in dict.fromkeys(asked) if each not in missing]
    if [each.product_id for each in read.items] != expected:
        msg = "the items are not those that were asked for, in that order"
        raise WrongAnswerError(msg)
    _check_statuses(read.items)
    return read.items


def one_item(body: bytes, asked: str) -> list[Item]:
    """Return the item of an internal answer. Raises WrongAnswerError."""
    try:
        read = _item.decode(body)
    except msgspec.DecodeError as exc:
        raise WrongAnswerError(str(exc)) from exc
    if read.product_id != asked:
        msg = f"{asked} was asked for, {read.product_id} came"
        raise WrongAnswerError(msg)
    _check_statuses([read])
    return [read]


def changes(body: bytes) -> Changes:
    """Return a page of the delta sync. Raises WrongAnswerError."""
    try:
        read = _changes.decode(body)
    except msgspec.DecodeError as exc:
        raise WrongAnswerError(str(exc)) from exc
    _check_statuses(read.items)
    return read


def refusal(body: bytes, code: str) -> None:
    """Check an error's shape and code. Raises WrongAnswerError."""
    try:
        read = _refusal.decode(body)
    except msgspec.DecodeError as exc:
        raise WrongAnswerError(str(exc)) from exc
    if read.code != code:
        msg = f"code is {read.code}, not {code}"
        raise WrongAnswerError(msg)


def told(body: bytes) -> str:
    """Return what an error says, without its request id."""
    try:
        read = _refusal.decode(body)
    except msgspec.DecodeError:
        return body[:200].decode(errors="replace")
    return f"{read.code}: {read.message}"


def webhook(body: bytes) -> Webhook:
    """Return a webhook. Raises WrongAnswerError."""
    try:
        return _webhook.decode(body)
    except msgspec.DecodeError as exc:
        raise WrongAnswerError(str(exc)) from exc


def webhooks(body: bytes) -> list[Webhook]:
    """Return a partner's webhooks. Raises WrongAnswerError."""
    try:
        return _webhooks.decode(body).items
    except msgspec.DecodeError as exc:
        raise WrongAnswerError(str(exc)) from exc


def _check_statuses(items: list[Item]) -> None:
    for each in items:
        right = _status(each.quantity)
        if each.status != right:
            told = f"{each.product_id}: {each.quantity} units are {right}, not {each.status}"
            raise WrongAnswerError(told)


def _status(quantity: int) -> str:
    if quantity == 0:
        return "out_of_stock"
    return "low_stock" if quantity <= 10 else "in_stock"
