"""What a compiled cell's process would record."""

ROWS = 1250048


def record(ids=94_208, **changes):
    arrays = [("tables['embedding']", [ROWS, 64]), ("slots['embedding']['count']", [ROWS])]
    return {
        "cell": "any",
        "devices": 8,
        "ids": {"embedding": ids},
        "own ids": ids // 8,
        "batch's rows": ids * 64 * 4,
        "tables": {"embedding": {"rows": 1e7 / 8, "bytes": ROWS * 256, "slot bytes": ROWS * 4}},
        "arrays": [
            {"table": "embedding", "name": name, "shape": shape, "dtype": "float32"}
            for name, shape in arrays
        ],
        "plan": {"held": 1e9, "temporaries": 4e8, "carried": 1e8, "received": 200_000},
        "memory": {
            "arguments": 1_010_000_000,
            "outputs": 1_000_500_000,
            "aliased": 1_000_000_000,
            "temporaries": 200_000_000,
            "code": 1_000_000,
            "peak": 1_200_000_000,
        },
        "cost": {},
        "seconds": 3.14159,
    } | changes
