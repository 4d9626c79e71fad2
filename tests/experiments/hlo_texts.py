"""Texts of compiled programs, shortened: for TPUs and for H100s."""

# Of shared_bottom on v5e:2x4, 10^7 rows; its last copy is as a v5p's SparseCores make it.
TPU = """
HloModule jit_train_chunk, is_scheduled=true, num_partitions=8

%region_1.1.clone (reduce_scatter.8: f32[], reduce_scatter.9: f32[]) -> f32[] {
  %reduce_scatter.8 = f32[]{:T(128)} parameter(0)
  %reduce_scatter.9 = f32[]{:T(128)} parameter(1)
  ROOT %add.5 = f32[]{:T(128)} add(%reduce_scatter.8, %reduce_scatter.9)
}

%all-reduce-scatter.clone.1 (input.2: f32[188416,64]) -> f32[23680,64] {
  %input.2 = f32[188416,64]{1,0:T(8,128)S(1)} parameter(0)
  %pad.43 = f32[189440,64]{1,0:T(8,128)} pad(%input.2, %constant.648), padding=0_1024x0_0
  %all-reduce.25 = f32[189440,64]{1,0:T(8,128)} all-reduce(%pad.43), channel_id=20, replica_groups={{0,1,2,3,4,5,6,7}}, use_global_device_ids=true, to_apply=%region_1.1.clone, frontend_attributes={from-cross-replica-sharding="true"}
  ROOT %dynamic-slice.52 = f32[23680,64]{1,0:T(8,128)S(1)} dynamic-slice(%all-reduce.25, %multiply.189, %constant.649), dynamic_slice_sizes={23680,64}
}

%fused_computation.217 (param_0.764: f32[23552,64]) -> (f32[23552,64], f32[188416,64], s32[2]) {
  %param_0.764 = f32[23552,64]{1,0:T(8,128)S(1)} parameter(0)
  %all-gather.9 = f32[188416,64]{1,0:T(8,128)} all-gather(%param_0.764), channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}, frontend_attributes={chain_id="0"}, metadata={op_name="jit(train_chunk)/while/body/shard_map/all_gather" stack_frame_id=112}
  ROOT %custom-call.41 = (f32[23552,64]{1,0:T(8,128)S(1)}, f32[188416,64]{1,0:T(8,128)}, s32[2]{0:S(4)}) custom-call(%all-gather.9), custom_call_target="AsyncCollectiveStart"
}

%async_collective_fusion.193 (param_0.769: f32[23552,64], param_1.938: f32[188416,64], param_2.863: s32[2]) -> (f32[64,64], f32[188416,64]) {
  %param_0.769 = f32[23552,64]{1,0:T(8,128)S(1)} parameter(0)
  %all-gather.11 = f32[188416,64]{1,0:T(8,128)} all-gather(%param_0.769), channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}, frontend_attributes={chain_id="0"}, metadata={op_name="jit(train_chunk)/while/body/shard_map/all_gather" stack_frame_id=112}
  ROOT %tuple.214 = (f32[64,64]{1,0:T(8,128)S(1)}, f32[188416,64]{1,0:T(8,128)}) tuple(%convolution.45, %all-gather.11)
}

%fused_computation.222 (param_0.787: f32[23552,64], param_1.951: f32[188416,64], param_2.877: s32[2]) -> f32[188416,64] {
  %param_0.787 = f32[23552,64]{1,0:T(8,128)S(1)} parameter(0)
  %all-gather.19 = f32[188416,64]{1,0:T(8,128)} all-gather(%param_0.787), channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}, frontend_attributes={chain_id="0"}, metadata={op_name="jit(train_chunk)/while/body/shard_map/all_gather" stack_frame_id=112}
  ROOT %custom-call.43 = f32[188416,64]{1,0:T(8,128)} custom-call(%param_0.787, %all-gather.19), custom_call_target="AsyncCollectiveDone"
}

%fused_computation.10.clone.1 (param_0.745: f32[1250048,64], param_1.917: s32[188416], param_2.842: f32[188416,64]) -> f32[1250048,64] {
  %param_0.745 = f32[1250048,64]{0,1:T(8,128)} parameter(0)
  %param_1.917 = s32[188416]{0:T(1024)} parameter(1)
  %param_2.842 = f32[188416,64]{0,1:T(8,128)} parameter(2)
  %transpose.210 = f32[188416,64]{1,0:T(8,128)} transpose(%param_2.842), dimensions={0,1}
  ROOT %scatter.76 = f32[1250048,64]{0,1:T(8,128)} scatter(%param_0.745, %param_1.917, %transpose.210), update_window_dims={1}, inserted_window_dims={0}, scatter_dims_to_operand_dims={0}, index_vector_dim=1, indices_are_sorted=true, unique_indices=true, to_apply=%region_1.1.clone
}

%body (wide.param.0: (s32[], f32[1250048,64], s32[1250048], f32[188416,64])) -> (s32[], f32[1250048,64], s32[1250048], f32[188416,64]) {
  %wide.param.0 = (s32[]{:T(128)}, f32[1250048,64]{0,1:T(8,128)}, s32[1250048]{0:T(1024)}, /*index=3*/f32[188416,64]{1,0:T(8,128)}) parameter(0)
  %get-tuple-element.2973 = f32[1250048,64]{0,1:T(8,128)} get-tuple-element(%wide.param.0), index=1
  %get-tuple-element.2974 = s32[1250048]{0:T(1024)} get-tuple-element(%wide.param.0), index=2
  %copy.113 = f32[1250048,64]{1,0:T(8,128)} copy(%get-tuple-element.2973), metadata={op_name="jit(train_chunk)/while/body/shard_map" stack_frame_id=61}
  %copy-start.2 = (s32[1250048]{0:T(1024)S(1)}, s32[1250048]{0:T(1024)}, u32[]{:S(2)}) copy-start(%get-tuple-element.2974)
  %copy-done.2 = s32[1250048]{0:T(1024)S(1)} copy-done(%copy-start.2)
  %fusion.173 = f32[23680,64]{1,0:T(8,128)S(1)} fusion(%copy.116), kind=kCustom, calls=%all-reduce-scatter.clone.1
  %collective-permute-start = (bf16[896,64]{1,0:T(8,128)(2,1)}, bf16[896,64]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%slice.156), channel_id=1, source_target_pairs={{0,1},{1,2},{2,3},{3,4},{4,5},{5,6},{6,7}}
  %fusion.217 = (f32[23552,64]{1,0:T(8,128)S(1)}, f32[188416,64]{1,0:T(8,128)}, s32[2]{0:S(4)}) fusion(%slice.1), kind=kCustom, calls=%fused_computation.217
  %fusion.193 = (f32[64,64]{1,0:T(8,128)S(1)}, f32[188416,64]{1,0:T(8,128)}) fusion(%fusion.217), kind=kOutput, calls=%async_collective_fusion.193
  %fusion.222 = f32[188416,64]{1,0:T(8,128)} fusion(%fusion.193), kind=kCustom, calls=%fused_computation.222
  %scatter_fusion.1 = f32[1250048,64]{0,1:T(8,128)} fusion(%get-tuple-element.2973, %copy-done.13, %copy-done.4), kind=kCustom, calls=%fused_computation.10.clone.1, metadata={op_name="jit(train_chunk)/while/body/shard_map/scatter" stack_frame_id=102}
  ROOT %tuple.211 = (s32[]{:T(128)}, f32[1250048,64]{0,1:T(8,128)}, s32[1250048]{0:T(1024)}, f32[188416,64]{1,0:T(8,128)}) tuple(%add.1, %scatter_fusion.1, %copy-done.2, %fusion.222)
}

%condition (wide.param.16: (s32[], f32[1250048,64], s32[1250048], f32[188416,64])) -> pred[] {
  %wide.param.16 = (s32[]{:T(128)}, f32[1250048,64]{0,1:T(8,128)}, s32[1250048]{0:T(1024)}, f32[188416,64]{1,0:T(8,128)}) parameter(0)
  ROOT %lt.5 = pred[]{:T(512)} compare(%get-tuple-element.1, %constant.2), direction=LT
}

%called_computation.4 (param_0.603: f32[1250048,64]) -> f32[1250048,64] {
  %param_0.603 = f32[1250048,64]{0,1:T(8,128)} parameter(0)
  ROOT %copy.293 = f32[1250048,64]{1,0:T(8,128)} copy(%param_0.603), backend_config={"estimated_cycles":"9223372036854775807"}
}, execution_thread="sparsecore"

%called_computation.1 (param_0.596: f32[1250048,64], param_1.735: token[]) -> f32[1250048,64] {
  %param_1.735 = token[] parameter(1)
  %param_0.596 = f32[1250048,64]{0,1:T(8,128)} parameter(0)
  %copy.294.cloned.1.call-start = ((f32[1250048,64]{0,1:T(8,128)}), f32[1250048,64]{1,0:T(8,128)}, u32[]{:S(8)}) call-start(%param_0.596), async_execution_thread="sparsecore", to_apply=%called_computation.4
  ROOT %copy.294.cloned.1.call-done = f32[1250048,64]{1,0:T(8,128)} call-done(%copy.294.cloned.1.call-start)
}, execution_thread="sparsecore"

ENTRY %main.35_spmd (param.58: f32[1250048,64], param.59: s32[1250048]) -> f32[1250048,64] {
  %param.58 = f32[1250048,64]{0,1:T(8,128)} parameter(0), sharding={devices=[8,1]<=[8]}, metadata={op_name="state.tables[\\'embedding\\']"}
  %param.59 = s32[1250048]{0:T(1024)} parameter(1)
  %tuple.209 = (s32[]{:T(128)}, f32[1250048,64]{0,1:T(8,128)}, s32[1250048]{0:T(1024)}, f32[188416,64]{1,0:T(8,128)}) tuple(%constant.1, %param.58, %param.59, %broadcast.1)
  %while.36 = (s32[]{:T(128)}, f32[1250048,64]{0,1:T(8,128)}, s32[1250048]{0:T(1024)}, f32[188416,64]{1,0:T(8,128)}) while(%tuple.209), condition=%condition, body=%body
  %get-tuple-element.3128 = f32[1250048,64]{0,1:T(8,128)} get-tuple-element(%while.36), index=1
  %sparse-core-data-format-call.1.cloned.1.call-start = ((f32[1250048,64]{0,1:T(8,128)}, token[]), f32[1250048,64]{1,0:T(8,128)}) call-start(%get-tuple-element.3128, %prepare_done), async_execution_thread="sparsecore", to_apply=%called_computation.1
  ROOT %sparse-core-data-format-call.1.cloned.1.call-done = f32[1250048,64]{1,0:T(8,128)} call-done(%sparse-core-data-format-call.1.cloned.1.call-start)
}
"""  # noqa: E501

# Of shared_bottom on eight H100s; `transposed` is added.
GPU = """
HloModule jit_train_chunk, is_scheduled=true, num_partitions=8

%fused_scatter (param_0.21: f32[1250048,64], param_1.65: f32[188416,64], param_2.42: s32[188416]) -> f32[1250048,64] {
  %param_0.21 = f32[1250048,64]{1,0} parameter(0)
  %param_1.65 = f32[188416,64]{1,0} parameter(1)
  %param_2.42 = s32[188416]{0} parameter(2)
  %bitcast.45.9 = s32[188416,1]{1,0} bitcast(%param_2.42)
  %bitcast.59.1 = f32[188416,1,64]{2,1,0} bitcast(%param_1.65)
  ROOT %scatter.52.1 = f32[1250048,64]{1,0} scatter(%param_0.21, %bitcast.45.9, %bitcast.59.1), update_window_dims={1,2}, inserted_window_dims={}, scatter_dims_to_operand_dims={0}, index_vector_dim=1, indices_are_sorted=true, unique_indices=true, to_apply=%region_17.18
}

%fused_multiply (param_0.1: f32[1250048,64], param_1.1: f32[1250048,64]) -> (f32[1250048,64], f32[188416,64]) {
  %param_0.1 = f32[1250048,64]{1,0} parameter(0)
  %param_1.1 = f32[1250048,64]{1,0} parameter(1)
  %multiply.1 = f32[1250048,64]{1,0} multiply(%param_0.1, %param_1.1)
  %slice.1 = f32[188416,64]{1,0} slice(%param_1.1), slice={[0:188416], [0:64]}
  ROOT %tuple.1 = (f32[1250048,64]{1,0}, f32[188416,64]{1,0}) tuple(%multiply.1, %slice.1)
}

%fused_transpose (param_0.2: f32[1250048,64]) -> f32[64,1250048] {
  %param_0.2 = f32[1250048,64]{1,0} parameter(0)
  ROOT %transpose.1 = f32[64,1250048]{1,0} transpose(%param_0.2), dimensions={1,0}
}

%async_computation (param_0.3: f32[188416,64]) -> f32[188416,64] {
  %param_0.3 = f32[188416,64]{1,0} parameter(0)
  ROOT %all-to-all.1 = f32[188416,64]{1,0} all-to-all(%param_0.3), channel_id=5, replica_groups=[1,8]<=[8], dimensions={0}
}

%body (param.14: (s32[], f32[1250048,64])) -> (s32[], f32[1250048,64]) {
  %param.14 = (s32[], f32[1250048,64]{1,0}) parameter(0)
  %get-tuple-element.1061 = f32[1250048,64]{1,0} get-tuple-element(%param.14), index=1
  %all-gather-start = (s32[23552]{0}, s32[188416]{0}) all-gather-start(%bitcast.3.0), channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}, metadata={op_name="jit(train_chunk)/while/body/shard_map/all_gather"}
  %all-gather-done = s32[188416]{0} all-gather-done(%all-gather-start)
  %reduce-scatter-start = ((f32[188416,64]{1,0}), f32[23552,64]{1,0}) reduce-scatter-start(%bitcast.6.0), channel_id=1, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}, to_apply=%region_1.1
  %all-reduce-start = f32[2]{0} all-reduce-start(%wrapped_concatenate), channel_id=3, replica_groups=mesh['axis_0'=8] {'axis_0'}, to_apply=%region_3.4.clone
  %all-to-all-start = ((f32[188416,64]{1,0}), f32[188416,64]{1,0}) async-start(%bitcast.7.0), calls=%async_computation
  %all-to-all-done = f32[188416,64]{1,0} async-done(%all-to-all-start), calls=%async_computation
  %input_scatter_fusion = f32[1250048,64]{1,0} fusion(%get-tuple-element.1061, %get-tuple-element.873, %get-tuple-element.876), kind=kInput, calls=%fused_scatter
  %loop_multiply_fusion = (f32[1250048,64]{1,0}, f32[188416,64]{1,0}) fusion(%input_scatter_fusion, %get-tuple-element.1061), kind=kLoop, calls=%fused_multiply, metadata={op_name="dense"}
  %transposed = f32[64,1250048]{1,0} fusion(%input_scatter_fusion), kind=kInput, calls=%fused_transpose
  ROOT %tuple.107 = (s32[], f32[1250048,64]{1,0}) tuple(%add.2, %input_scatter_fusion)
}

%condition (param.15: (s32[], f32[1250048,64])) -> pred[] {
  %param.15 = (s32[], f32[1250048,64]{1,0}) parameter(0)
  ROOT %lt = pred[] compare(%get-tuple-element.1, %constant.2), direction=LT
}

ENTRY %main.28_spmd (param.57: f32[1250048,64]) -> f32[1250048,64] {
  %param.57 = f32[1250048,64]{1,0} parameter(0)
  %tuple.105 = (s32[], f32[1250048,64]{1,0}) tuple(%constant.1, %param.57)
  %while.32 = (s32[], f32[1250048,64]{1,0}) while(%tuple.105), condition=%condition, body=%body
  ROOT %get-tuple-element.1167 = f32[1250048,64]{1,0} get-tuple-element(%while.32), index=1
}
"""  # noqa: E501
