"""What is read off optimised HLO."""

import pytest
from hlo_texts import GPU, TPU

from experiments.suites.exchanged import Collective
from experiments.suites.hlo.collectives import Exchanged, group_size, read_collectives
from experiments.suites.hlo.text import Array, read_operation, read_program
from experiments.suites.hlo.whole_tables import whole_tables

ROWS, TABLE = 1250048, 1250048 * 64


def test_an_array_is_padded_to_its_tile():
    made = read_operation("  %a = f32[94208,64]{1,0:T(8,128)S(1)} copy(%b)").arrays[0]
    assert (made.dims, made.on_chip) == ((94208, 64), True)
    assert (made.bytes, made.padded_bytes) == (94208 * 64 * 4, 94208 * 128 * 4)
    columns = Array("bf16", (13, 64), "0,1:T(8,128)(2,1)")  # the last axis is the outer one
    assert (columns.bytes, columns.padded_bytes) == (2 * 13 * 64, 2 * 128 * 64)
    assert Array("s32", (1000,), "0:T(1024)").padded_bytes == 4096
    assert Array("pred", (), ":T(128)").padded_bytes == 1
    assert Array("f64", (3, 5), "1,0").padded_bytes == 8 * 15


def test_an_operation_is_read():
    line = (
        "  ROOT %w = (s32[]{:T(128)}, (f32[8]{0}, u8[2]{0})) while(%t.1, %u), body=%b, condition=%c"
    )
    found = read_operation(line)
    assert (found.name, found.code, found.operands) == ("w", "while", ("t.1", "u"))
    assert [a.dtype for a in found.arrays] == ["s32", "f32", "u8"]
    assert found.called == ("b", "c")
    assert read_operation("  }") is None
    with pytest.raises(ValueError, match="no ENTRY"):
        read_program("HloModule none\n")


def test_collectives_of_a_tpu_count_once_as_what_they_are():
    assert read_collectives(read_program(TPU)) == [
        Exchanged(Collective("", "collective-permute", 896 * 64 * 2, 8), 896 * 128 * 2, 1, 0),
        Exchanged(
            Collective(
                "jit(train_chunk)/while/body/shard_map/all_gather", "all-gather", 188416 * 256, 8
            ),
            188416 * 512,
            1,
            0,
        ),
        Exchanged(Collective("", "reduce-scatter", 189440 * 256, 8), 189440 * 512, 1, 0),
    ]


def test_what_a_device_computes_while_a_message_travels():
    text = """HloModule made, is_scheduled=true, num_partitions=8

ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %before = f32[8]{0} fusion(%a), kind=kLoop, calls=%some
  %sent = ((f32[8]{0}), f32[8]{0}) all-to-all-start(%before), replica_groups={}, dimensions={0}
  %one = f32[8]{0} fusion(%a), kind=kLoop, calls=%some
  %waits = f32[8]{0} all-to-all(%one), replica_groups={}, dimensions={0}
  %other = f32[8]{0} bitcast(%one)
  %two = f32[8]{0} custom-call(%other), custom_call_target="product"
  %got = f32[8]{0} all-to-all-done(%sent)
  %after = f32[8]{0} fusion(%got), kind=kLoop, calls=%some
  ROOT %sum = f32[8]{0} add(%after, %two)
}
"""
    assert [one.beside for one in read_collectives(read_program(text))] == [2, 0]


def test_collectives_of_gpus_are_those_that_come_out():
    found = read_collectives(read_program(GPU))
    assert {(e.collective.kind, e.collective.bytes, e.depth) for e in found} == {
        ("all-gather", 188416 * 4, 1),
        ("reduce-scatter", 188416 * 256, 1),
        ("all-reduce", 8, 1),
        ("all-to-all", 188416 * 256, 1),
    }
    assert len(found) == 4
    assert all(e.padded == e.collective.bytes and e.collective.devices == 8 for e in found)


def test_collectives_of_cpus():
    text = """
HloModule jit_f, num_partitions=8
ENTRY %main (x: f32[24]) -> f32[16] {
  %a = s32[24]{0} all-gather(%x), channel_id=1, replica_groups={{0,1},{2,3}}, dimensions={0}
  %b = f32[3,4]{1,0} reduce-scatter(%x), replica_groups=mesh['data'=2,'table'=4] {'table'}, to=%r
  %c = (f32[], /*index=1*/bf16[8]{0}) all-reduce(%x, %y), replica_groups=[2,4]<=[8], to_apply=%s
  %d = f32[16] all-reduce(%x), replica_groups={}, metadata={op_name="d"}
  ROOT %f = f32[16] add(%all-gather, %d)
}
"""
    found = [e.collective for e in read_collectives(read_program(text))]
    assert found == [
        Collective("", "all-gather", 96, 2),
        Collective("", "reduce-scatter", 4 * 48, 4),
        Collective("", "all-reduce", 4 + 16, 4),
        Collective("d", "all-reduce", 64, 8),
    ]


def test_groups_of_a_part_of_an_axis():
    line = (
        "  %a = f32[8] all-reduce(%x), replica_groups=mesh['a'=8,'b'=2] {'a':(2)4,'b'}, to_apply=%s"
    )
    assert group_size(read_operation(line), 16) == 8
    with pytest.raises(ValueError, match="groups of a"):
        group_size(read_operation("  %a = f32[8] all-reduce(%x), replica_groups=new"), 16)


def test_whole_tables_of_a_tpu():
    found = whole_tables(read_program(TPU), {TABLE, ROWS}, tpu=True)
    assert sorted((w.how, w.array.dims, w.array.layout[:3], w.depth) for w in found) == [
        ("copy", (ROWS, 64), "1,0", 0),
        ("copy", (ROWS, 64), "1,0", 1),
        ("on chip", (ROWS,), "0:T", 1),
        ("pass", (ROWS, 64), "0,1", 1),  # a scatter that is promised sorted indices
    ]
    unsorted = TPU.replace("indices_are_sorted=true, ", "")
    assert "pass" not in {w.how for w in whole_tables(read_program(unsorted), {TABLE}, tpu=True)}


def test_whole_tables_of_a_gpu():
    found = whole_tables(read_program(GPU), {TABLE}, tpu=False)
    assert sorted((w.how, w.array.dims, w.depth, w.origin) for w in found) == [
        ("copy", (64, ROWS), 1, "transposed (fusion)"),
        ("pass", (ROWS, 64), 1, "dense (fusion)"),
    ]


def test_a_table_is_known_by_its_size_whatever_its_shape():
    lines = GPU.replace("[1250048,64]", "[625024,128]")
    assert len(whole_tables(read_program(lines), {TABLE}, tpu=False)) == 2
    assert not whole_tables(read_program(lines), {TABLE + 128}, tpu=False)


def test_a_scatter_into_zeros_is_a_pass():
    given = "%scatter.52.1 = f32[1250048,64]{1,0} scatter(%param_0.21,"
    assert given in GPU
    zeros = GPU.replace(given, given.replace("%param_0.21", "%zeros")).replace(
        "  %bitcast.45.9 =",
        "  %zeros = f32[1250048,64]{1,0} broadcast(%constant.0), dimensions={}\n  %bitcast.45.9 =",
    )
    found = whole_tables(read_program(zeros), {TABLE}, tpu=False)
    assert sum(w.how == "pass" for w in found) == 2


def test_a_write_of_a_whole_table_is_a_pass():
    text = """
ENTRY %main (a: f32[1250048,64], b: f32[1250048,64], c: s32[]) -> f32[1250048,64] {
  %a = f32[1250048,64]{1,0} parameter(0)
  %b = f32[1250048,64]{1,0} parameter(1)
  %c = s32[] parameter(2)
  ROOT %d = f32[1250048,64]{1,0} dynamic-update-slice(%a, %b, %c, %c)
}
"""
    (found,) = whole_tables(read_program(text), {TABLE}, tpu=False)
    assert found.how == "pass"
    few = text.replace("b: f32[1250048,64]", "b: f32[8,64]").replace(
        "%b = f32[1250048,64]", "%b = f32[8,64]"
    )
    assert not whole_tables(read_program(few), {TABLE}, tpu=False)
