"""What a forgetting leaves behind as proof: numbers and a salted hash, not the person. Pure."""

from __future__ import annotations

import hashlib

import msgspec


class Rows(msgspec.Struct, frozen=True):
    """Rows of a table with one of the person's ids, before and after."""

    before: int
    after: int


class Receipt(msgspec.Struct, kw_only=True):
    """The outcome of `footfall forget`.

    subject       SHA-256 of salt and person: who knows the id can tell that it is this one
    ids           how many ids were one with the person, and went with it
    rows          by table
    records       records of the worker that are gone: the changelog has a tombstone, or nothing, for each id
    numbers       totals that the person was in; corrected: those of closed windows; unresolved: of which it cannot be told
    compared, different   what `footfall verify` says afterwards
    """

    at: str
    subject: str
    salt: str
    ids: int
    rows: dict[str, Rows]
    records: int
    numbers: int = 0
    corrected: int = 0
    unresolved: int = 0
    compared: int = 0
    different: int = 0
    seconds: float = 0.0
    remains: list[str] = []
    notes: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether nothing of the person is left where it can be looked up, and the numbers are right."""
        return (
            self.records == self.ids
            and not self.unresolved
            and not self.different
            and not any(one.after for one in self.rows.values())
        )

    def __str__(self) -> str:
        return render(self)


def subject_of(salt: str, person: str) -> str:
    """The hash that stands for a person in a receipt."""
    return hashlib.sha256(f"{salt}{person}".encode()).hexdigest()


def render(receipt: Receipt) -> str:
    """The receipt for a terminal."""
    lines = [f"subject           {receipt.subject} (SHA-256 of {receipt.salt} and the id)"]
    lines += [f"rows in {table:<16} {rows.before:>9,} before {rows.after:>9,} after" for table, rows in receipt.rows.items()]
    lines.append(f"records of the worker   {receipt.records} of {receipt.ids} ids have none (read from its changelog)")
    lines.append(
        f"numbers           {receipt.numbers:,} had the person in them; {receipt.corrected:,} of closed windows were corrected, "
        "all others by the worker"
    )
    if receipt.unresolved:
        lines.append(f"NOT RESOLVED      {receipt.unresolved:,} numbers of closed windows: see `footfall verify`")
    lines.append(f"verify            {receipt.compared:,} numbers compared, {receipt.different:,} differ")
    lines += [f"what remains      {one}" for one in receipt.remains]
    lines += [f"note              {one}" for one in receipt.notes]
    lines.append("forgotten" if receipt.ok else "NOT DONE: see above, and run it again")
    return "\n".join(lines)
