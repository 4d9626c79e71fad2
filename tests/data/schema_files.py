"""A schema file with every key, and small ones to spoil."""

WHOLE = """\
name: shop                       # default: the file's name
fields:
  user_id: {min_count: 2, role: prior}
  item: {column: item_id, table: item, min_count: 2, unknown: [0, no, 12:30], tokens: what}
  hour: {value: hour(t), role: scenario}
  seen: {kind: bag, table: item, min_count: 2, max_values: 20, pooling: mean, weights: seen_weights}
  price: {kind: numeric, log: true, encoder: buckets, buckets: 64}
  embedding: {kind: vector, length: 64}
  user_x_item: {cross: [user_id, item], encoder: hash, size: 1e6, functions: 2}
  "old-tags": {kind: bag, encoder: hash, size: 1_000, longest: 500}
  viewed: {kind: sequence, target: item, max_values: 9, longest: 30}
  acts: {beside: viewed, column: act}
  position: {scored_as: null, optional: true}
tasks:
  click: {positives_outside: 0.05}
  long_view: {label: watch_seconds > 30, upstream: [click], also_report: [click]}
  order: {space: click}
  watch: {kind: regression, label: log1p(watch_seconds), range: [0, 12], known: click == 1}
group: user_id
time: {column: t, unit: ms}
weight: w
split: {by: time, validation: 2026-03-05, test: 2026-03-08 12:00}
sample_negatives: {click: 0.1}
input: {format: csv, separator: "\\t", columns: [a, b], missing: ["NULL", null]}
about: {citation: Someone 2026, licence: CC BY 4.0, home: https://example.org}
"""

SMALL = """\
fields:
  user: {}
  item: {kind: categorical}
tasks:
  click:
  order: {space: click}
"""


def spoiled(field="", task="", more=""):
    """SMALL with a field, a task or further lines; the field stands in line 4, the task in line 7,
    the further lines from line 7 on."""
    lines = SMALL.splitlines()
    if task:
        lines.append(f"  {task}")
    if more:
        lines.append(more)
    if field:
        lines.insert(3, f"  {field}")
    return "\n".join(lines) + "\n"
