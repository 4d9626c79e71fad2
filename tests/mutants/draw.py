"""Draws small breakages of the program over its syntax trees: half of mutants.json.

    python tests/mutants/draw.py          # draws the list anew, with SEED
    python tests/mutants/draw.py again    # draws again those whose code is gone, from their files

Every area has as many. A file is drawn, then a kind of breakage that it has, then a place.
"""

from __future__ import annotations

import ast
import copy
import json
import pathlib
import random
import sys
from collections.abc import Iterator

SEED, EACH = 40, 5
LIST = pathlib.Path(__file__).with_name("mutants.json")
AREAS = {
    "step": "dtn_jax/run/step.py dtn_jax/run/gradients.py dtn_jax/run/optimizers.py",
    "tables": "dtn_jax/tables/*.py",
    "losses": "dtn_jax/losses/*.py",
    "balancing": "dtn_jax/balancing/*.py",
    "metrics": "dtn_jax/metrics/*.py",
    "gates": "dtn_jax/models/gates.py dtn_jax/models/groups.py dtn_jax/models/tower.py "
    "dtn_jax/models/layers.py dtn_jax/models/normalisation.py dtn_jax/models/dropout.py",
    "architectures": "dtn_jax/models/architectures/*.py",
    "experts": "dtn_jax/models/experts/*.py",
    "order": "dtn_jax/data/epochs/*.py",
    "encoders": "dtn_jax/data/stages/fit.py dtn_jax/data/encode.py dtn_jax/data/vocabulary.py "
    "dtn_jax/data/quantiles.py",
    "splits": "dtn_jax/data/stages/split.py dtn_jax/data/stages/counts.py",
    "histories": "dtn_jax/data/stages/histories.py dtn_jax/models/histories/*.py",
    "prepared": "dtn_jax/data/prepared.py dtn_jax/data/blocks.py "
    "dtn_jax/data/stages/units.py dtn_jax/data/stages/records.py dtn_jax/data/raw/*.py "
    "dtn_jax/data/formula.py dtn_jax/data/times.py",
    "checkpoints": "dtn_jax/run/checkpoint.py dtn_jax/run/start_from.py dtn_jax/run/workdir.py "
    "dtn_jax/run/outcome.py dtn_jax/run/records.py dtn_jax/run/nonfinite.py",
    "selection": "dtn_jax/run/selection.py dtn_jax/run/timetable.py dtn_jax/run/results.py",
    "run": "dtn_jax/run/run.py dtn_jax/run/train.py dtn_jax/run/evaluate.py "
    "dtn_jax/run/replicas.py",
    "export": "dtn_jax/export/model.py dtn_jax/export/encoding.py dtn_jax/export/write/*.py",
    "calibration": "dtn_jax/export/*calibration.py dtn_jax/metrics/calibration.py",
    "score": "dtn_jax/export/score*.py dtn_jax/export/serve/*.py",
    "compare": "dtn_jax/cli/compare.py dtn_jax/comparison/*.py",
}
COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mod, ast.Mod: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
CALLED = {
    "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all",
    "all": "any", "sum": "mean", "mean": "sum", "argmin": "argmax", "argmax": "argmin",
    "zeros": "ones", "ones": "zeros", "floor": "ceil", "ceil": "floor",
}  # fmt: skip

REDUCED = ("sum", "mean", "argmin", "argmax", "zeros", "ones", "floor", "ceil")  # not builtins


def path_or_text(node: ast.BinOp) -> bool:
    """Whether an operator joins paths or texts: without it there is no program."""
    return any(
        (isinstance(part, ast.Constant) and isinstance(part.value, str))
        or isinstance(part, ast.JoinedStr | ast.List | ast.Tuple)
        or (isinstance(node.op, ast.Div) and isinstance(part, ast.Name) and part.id.isupper())
        for part in (node.left, node.right)
    )


def changed(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """(kind of breakage, what stands in the node's place)."""

    def other(**fields: object) -> ast.AST:
        return ast.copy_location(type(node)(**{**dict(ast.iter_fields(node)), **fields}), node)

    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARED:
            yield "comparison", other(ops=[COMPARED[type(op)]()])
        case ast.BinOp(op=op) if type(op) in COMPUTED and not path_or_text(node):
            yield "operator", other(op=COMPUTED[type(op)]())
        case ast.BoolOp(op=ast.And()):
            yield "and, or", other(op=ast.Or())
        case ast.BoolOp(op=ast.Or()):
            yield "and, or", other(op=ast.And())
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            if isinstance(operand, ast.Constant):  # the last axis or place
                return
            yield "sign", operand
        case ast.Constant(value=bool(value)):
            yield "constant", other(value=not value)
        case ast.Constant(value=int(value)):
            yield "constant", other(value=value + 1)
        case ast.Constant(value=float(value)):
            yield "constant", other(value=2 * value if value else 1.0)
        case ast.If(test=test) | ast.IfExp(test=test):
            yield "condition", other(test=ast.UnaryOp(ast.Not(), test))
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=args):
            if name == "stop_gradient" and len(args) == 1:
                yield "stop_gradient", args[0]
            if name in CALLED and (isinstance(node.func, ast.Attribute) or name not in REDUCED):
                function = copy.deepcopy(node.func)
                setattr(function, "id" if isinstance(function, ast.Name) else "attr", CALLED[name])
                yield "function", other(func=function)
            named = len(args) > 1 and all(isinstance(arg, ast.Name) for arg in args[:2])
            if named and name not in CALLED:
                yield "arguments", other(args=[args[1], args[0], *args[2:]])


def places(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that compute: not in what raises, annotates, imports, decorates or prints."""

    def inside(node: ast.AST) -> Iterator[ast.AST]:
        yield node
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not left_out(child):
                    yield from inside(child)

    for node in tree.body:
        if not left_out(node):
            yield from inside(node)


def left_out(node: ast.AST) -> bool:
    """Whether a breakage there would be one of messages, or none."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr | ast.Assert):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (
        "print", "UserError", "ValueError", "fail",
    )  # fmt: skip


def mutants(path: str) -> dict[str, list[dict]]:
    """{kind: breakages} of a file."""
    source = pathlib.Path(path).read_text()
    kinds: dict[str, list[dict]] = {}
    for node in places(ast.parse(source)):
        for kind, new in changed(node):
            if row := replaced(source, node, ast.unparse(ast.fix_missing_locations(new))):
                kinds.setdefault(kind, []).append({"file": path, **row, "what": kind})
    return kinds


def replaced(source: str, node: ast.AST, text: str) -> dict | None:
    """The lines of a node, and those with the text in its place, in parentheses where they may be
    needed; with lines before, so that they are there once. None where it is not so easy."""
    lines = source.split("\n")
    first, last = node.lineno - 1, node.end_lineno
    if isinstance(node, ast.If):  # its test alone
        node_, text = node.test, ast.unparse(ast.UnaryOp(ast.Not(), node.test))
        first, last = node_.lineno - 1, node_.end_lineno
    else:
        node_ = node
    if isinstance(node_, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp | ast.IfExp):
        text = f"({text})"
    old = lines[first:last]
    head = old[0].encode()[: node_.col_offset].decode()
    tail = old[-1].encode()[node_.end_col_offset :].decode()
    new = [head + text + tail]
    while first and ("\n" + "\n".join(lines) + "\n").count("\n" + "\n".join(old) + "\n") > 1:
        first -= 1
        old, new = [lines[first], *old], [lines[first], *new]
    row = {"old": "\n".join(old), "new": "\n".join(new)}
    try:
        broken = ast.parse(apply(source, row))
    except (SyntaxError, ValueError):
        return None
    return None if ast.dump(broken) == ast.dump(ast.parse(source)) else row


def apply(source: str, row: dict) -> str:
    """The source with the breakage.

    Raises:
      ValueError: its lines are not there exactly once.
    """
    whole, old = f"\n{source}\n", f"\n{row['old']}\n"
    if whole.count(old) != 1:
        raise ValueError(f"{row['file']} has {whole.count(old)} times:\n{row['old']}")
    return whole.replace(old, f"\n{row['new']}\n")[1:-1]


def drawn(area: str, count: int, rng: random.Random, taken: list[dict]) -> list[dict]:
    """Breakages of an area, none of which are taken."""
    files = sorted({str(p) for glob in AREAS[area].split() for p in pathlib.Path().glob(glob)})
    rows: list[dict] = []
    while len(rows) < count:
        kinds = mutants(rng.choice(files))
        if kinds:
            row = {"area": area} | rng.choice(kinds[rng.choice(sorted(kinds))])
            if not any(all(row[k] == r[k] for k in ("file", "old", "new")) for r in taken + rows):
                rows.append(row)
    return rows


def applies(row: dict) -> bool:
    try:
        apply(pathlib.Path(row["file"]).read_text(), row)
    except (OSError, ValueError):
        return False
    return True


def main() -> None:
    listed = json.loads(LIST.read_text()) if LIST.exists() else []
    rng = random.Random(SEED + len(listed) * ("again" in sys.argv))
    if "again" in sys.argv:
        for row in [row for row in listed if row.get("drawn") and not applies(row)]:
            (new,) = drawn(row["area"], 1, rng, listed)
            print(f"{row['id']}: drawn again, from {new['file']}")
            row |= new
    else:
        rows = [row for area in AREAS for row in drawn(area, EACH, rng, [])]
        numbered = [{"id": f"d{n:03}", "drawn": True} | row for n, row in enumerate(rows, 1)]
        listed = [row for row in listed if not row.get("drawn")] + numbered
    LIST.write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
