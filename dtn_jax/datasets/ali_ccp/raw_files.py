"""Ali-CCP's raw files: what they are called and where they lie."""

from __future__ import annotations

import pathlib

from dtn_jax.errors import UserError

HOME = "https://tianchi.aliyun.com/dataset/408"
SKELETON, COMMON, RELEASED = "sample_skeleton_{}.csv", "common_features_{}.csv", "{}_data.csv"


def locate(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The published files in `folder`, or else the released reader's, by name without `.gz`."""
    parts = ("train", "test")
    published = [name.format(part) for part in parts for name in (SKELETON, COMMON)]
    released = [RELEASED.format(part) for part in parts]
    for names in (published, released):
        found = {}
        for name in names:
            paths = [p for p in (folder / name, folder / f"{name}.gz") if p.exists()]
            found |= {name: paths[0]} if paths else {}
        if len(found) == len(names):
            return found
        if found:
            missing = next(name for name in names if name not in found)
            raise UserError(f"{folder} holds {', '.join(found)} but no {missing} or {missing}.gz")
    raise UserError(
        f"{folder} holds neither {', '.join(published)} nor {', '.join(released)} (or those "
        f"with .gz); see {HOME}"
    )
