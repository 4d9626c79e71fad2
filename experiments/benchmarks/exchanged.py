"""What devices send each other in a training step, from formulas.

Letters: n devices, of which K hold a copy of the tables together; N ids that a device looks up in a
packed array of V rows of D numbers; a message of C rows to each owner (`routes.room`). Table
numbers have s bytes, others 4. Collectives of a step, with the bytes of the whole array that each
makes or reduces on a device:

| with `shard`, for each array whose rows are split | kind | devices | bytes |
|---|---|---|---|
| end of the round | all-reduce | n | 4 K |
| ids | all-to-all | K | 4 K C |
| rows | all-to-all | K | s K C D |
| row gradients | all-to-all | K | 4 K C D |
| ids and row gradients that owners received, if K < n | all-gather | n / K | 4 n C, 4 n C D |

A further round makes the same, but its end and the ids twice, in look-up and update.

| for | kind | devices | bytes |
|---|---|---|---|
| with `shard`, each array that every device has | all-reduce | n | 4 V D: sums of row gradients |
| | all-reduce | n | 4 V: which rows are touched |
| with `pmap`, each array | all-gather | n | 4 n N, 4 n N D: ids and row gradients |
| with `pmap` on CPUs, but for dense Adam | all-gather | n | s n N D: the rows looked up |
| dense parameters | all-reduce | n | gradients, losses and sums of weights |
| batch normalisation | all-reduce | n | statistics and their gradients, twice their size |

Sums over a whole array travel as lines, which may be wider than their rows' numbers
(`StoredRows.lanes`). A device sends (g - 1) / g of those bytes in a group of g, and twice that for
an all-reduce, as a ring does. The few bytes of checked ids, of counts beside statistics, and of
what is logged of an exchange are left out.
"""

from __future__ import annotations

import dataclasses

from dtn_jax.tables.stored_rows import StoredRows


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices.

    Attributes:
      name: what is exchanged.
      kind: as XLA calls it.
      bytes: of the whole array that is made or reduced.
      devices: that take part in a group.
    """

    name: str
    kind: str
    bytes: int
    devices: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends, by a ring."""
        rounds = 2 if self.kind == "all-reduce" else 1
        return rounds * self.bytes * (self.devices - 1) / self.devices


@dataclasses.dataclass(frozen=True)
class Message:
    """What a device sends each owner of a packed array.

    Attributes:
      name: of the array.
      lie: how all its rows lie.
      itemsize: bytes of a number in the table.
      ids: N.
      room: C.
      owners: K.
      devices: n.
    """

    name: str
    lie: StoredRows
    itemsize: int
    ids: int
    room: int
    owners: int
    devices: int

    @property
    def places(self) -> int:
        """Of all messages that a device sends, which are as many as it gets."""
        return self.owners * self.room

    @property
    def received(self) -> int:
        """The places that an owner updates from: those of all copies of the tables."""
        return self.devices * self.room

    def round(self, further: bool = False) -> list[Collective]:
        """The collectives of the first round, or of a further one."""
        width, places = self.lie.width, self.places
        asked = self._collective("ids", "all-to-all", 4 * places, self.owners)
        end = self._collective("end of the round", "all-reduce", 4 * self.owners, self.devices)
        found = [end, asked]
        found.append(
            self._collective("rows", "all-to-all", self.itemsize * places * width, self.owners)
        )
        found += [end, asked] if further else []
        found.append(self._collective("gradients", "all-to-all", 4 * places * width, self.owners))
        copies = self.devices // self.owners
        for what, each in (("ids of all copies", 4), ("gradients of all copies", 4 * width)):
            found.append(self._collective(what, "all-gather", each * self.received, copies))
        return found

    def _collective(self, what: str, kind: str, size: int, devices: int) -> Collective:
        return Collective(f"{self.name}: {what}", kind, size, devices)


def of_copied(name: str, lie: StoredRows, devices: int) -> list[Collective]:
    """Those of an array that every device of a mesh has whole."""
    return [
        Collective(f"{name}: sums", "all-reduce", 4 * lie.lines * lie.lanes, devices),
        Collective(f"{name}: touched rows", "all-reduce", 4 * lie.rows, devices),
    ]


def of_replicas(
    name: str, lie: StoredRows, itemsize: int, ids: int, devices: int, looked_up: bool
) -> list[Collective]:
    """Those of an array under `pmap`; `ids` a device, `looked_up` if its rows travel, too."""
    sizes = {"ids": 4, "gradients": 4 * lie.width}
    if looked_up:
        sizes["rows"] = itemsize * lie.width
    return [
        Collective(f"{name}: {what}", "all-gather", each * ids * devices, devices)
        for what, each in sizes.items()
    ]
