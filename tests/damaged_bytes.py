"""Damage to the bytes of a file, a bit or as hypothesis draws it; no test is in here."""

from hypothesis import strategies as st

HOW = ("flip", "overwrite", "blank", "insert", "cut", "empty")
DAMAGE = st.tuples(
    st.sampled_from(HOW), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)
)


def damaged(data: bytes, damage: tuple[str, float, bytes]) -> bytes:
    """The bytes after a damage: how, at which part of the whole, with which other bytes."""
    how, at, noise = damage
    place = int(at * len(data))
    before, after = data[:place], data[place:]
    if how == "empty":
        return b""
    if how == "cut":
        return before
    if how == "insert":
        return before + noise + after
    if how == "blank":  # as a disk leaves a block that it never wrote
        return before + bytes(min(4096, len(after))) + after[4096:]
    if how == "overwrite":
        return before + noise[: len(after)] + after[len(noise) :]
    flipped = bytes(byte ^ (1 << noise[0] % 8) for byte in after[:1])
    return before + flipped + after[1:]


def large_file(folder):
    """The largest one; of a checkpoint, that which holds the table."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
