"""The portable names of TensorRT: in 10.3.0, 10.16.1.11, 11.4.0.106 and TensorRT-RTX 1.7.1.116.

Read off the bindings of all four. Only classes that Edge may need are listed.
"""

from __future__ import annotations

VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106", "rtx-1.7.1.116")

PORTABLE: dict[str, frozenset[str]] = {
    name: frozenset(members.split())
    for name, members in {
        "Builder": """
            build_serialized_network create_builder_config create_network
            create_optimization_profile error_recorder get_plugin_registry gpu_allocator
            is_network_supported logger max_DLA_batch_size max_threads num_DLA_cores reset
            """,
        "IBuilderConfig": """
            DLA_core add_optimization_profile avg_timing_iterations
            builder_optimization_level can_run_on_DLA clear_flag create_timing_cache
            default_device_type engine_capability flags get_device_type get_flag
            get_memory_pool_limit get_preview_feature get_tactic_sources get_timing_cache
            hardware_compatibility_level is_device_type_set max_aux_streams
            num_optimization_profiles plugins_to_serialize profile_stream
            profiling_verbosity progress_monitor reset reset_device_type runtime_platform
            set_device_type set_flag set_memory_pool_limit set_preview_feature
            set_tactic_sources set_timing_cache
            """,
        "INetworkDefinition": """
            add_activation add_assertion add_cast add_concatenation add_constant
            add_convolution_nd add_deconvolution_nd add_dequantize add_einsum
            add_elementwise add_fill add_gather add_gather_v2 add_grid_sample add_identity
            add_if_conditional add_input add_loop add_lrn add_matrix_multiply add_nms
            add_non_zero add_normalization add_one_hot add_padding_nd add_parametric_relu
            add_pooling_nd add_quantize add_ragged_softmax add_reduce add_resize
            add_reverse_sequence add_scale add_scale_nd add_scatter add_select add_shape
            add_shuffle add_slice add_softmax add_topk add_unary
            are_weights_marked_refittable builder error_recorder flags get_flag get_input
            get_layer get_output is_debug_tensor mark_debug mark_output
            mark_output_for_shapes mark_weights_refittable name num_inputs num_layers
            num_outputs remove_tensor set_weights_name unmark_debug unmark_output
            unmark_output_for_shapes unmark_weights_refittable
            """,
        "ITensor": """
            allowed_formats dtype get_dimension_name is_execution_tensor is_network_input
            is_network_output is_shape_tensor name set_dimension_name shape
            """,
        "IOptimizationProfile": """
            extra_memory_target get_shape get_shape_input set_shape set_shape_input
            """,
        "OnnxParser": """
            clear_errors clear_flag flags get_error get_flag get_layer_output_tensor
            get_subgraph_nodes get_used_vc_plugin_libraries is_subgraph_supported
            num_errors num_subgraphs parse parse_from_file set_flag supports_model_v2
            supports_operator
            """,
        "ParserError": """
            code desc file func line local_function_stack local_function_stack_size node
            node_name node_operator
            """,
        "ITimingCache": """
            combine reset serialize
            """,
        "IHostMemory": """
            dtype nbytes
            """,
        "ILogger": """
            ERROR INFO INTERNAL_ERROR Severity VERBOSE WARNING log
            """,
        "IProgressMonitor": """
            phase_finish phase_start step_complete
            """,
        "NetworkDefinitionCreationFlag": """
            STRONGLY_TYPED
            """,
        "MemoryPoolType": """
            DLA_GLOBAL_DRAM DLA_LOCAL_DRAM DLA_MANAGED_SRAM TACTIC_DRAM
            TACTIC_SHARED_MEMORY WORKSPACE
            """,
        "BuilderFlag": """
            DEBUG DIRECT_IO DISABLE_COMPILATION_CACHE DISABLE_TIMING_CACHE
            ERROR_ON_TIMING_CACHE_MISS EXCLUDE_LEAN_RUNTIME GPU_FALLBACK REFIT
            REFIT_IDENTICAL REFIT_INDIVIDUAL SAFETY_SCOPE SPARSE_WEIGHTS STRIP_PLAN TF32
            VERSION_COMPATIBLE WEIGHT_STREAMING
            """,
        "Runtime": """
            DLA_core deserialize_cuda_engine engine_host_code_allowed error_recorder
            get_plugin_registry gpu_allocator load_runtime logger max_threads
            num_DLA_cores tempfile_control_flags temporary_directory
            """,
        "ICudaEngine": """
            create_engine_inspector create_execution_context create_serialization_config
            device_memory_size_v2 engine_capability error_recorder
            get_device_memory_size_for_profile_v2 get_tensor_bytes_per_component
            get_tensor_components_per_element get_tensor_dtype get_tensor_format
            get_tensor_format_desc get_tensor_location get_tensor_mode get_tensor_name
            get_tensor_profile_shape get_tensor_profile_values get_tensor_shape
            get_tensor_vectorized_dim get_weight_streaming_automatic_budget
            hardware_compatibility_level is_debug_tensor is_shape_inference_io name
            num_aux_streams num_io_tensors num_layers num_optimization_profiles
            profiling_verbosity refittable serialize serialize_with_config
            streamable_weights_size tactic_sources weight_streaming_budget_v2
            weight_streaming_scratch_memory_size
            """,
        "IExecutionContext": """
            active_optimization_profile all_binding_shapes_specified debug_sync
            device_memory engine enqueue_emits_profile error_recorder execute_async_v3
            execute_v2 get_debug_listener get_debug_state get_input_consumed_event
            get_max_output_size get_output_allocator get_tensor_address get_tensor_shape
            get_tensor_strides infer_shapes name nvtx_verbosity persistent_cache_limit
            profiler report_to_profiler set_all_tensors_debug_state set_aux_streams
            set_debug_listener set_device_memory set_input_consumed_event set_input_shape
            set_optimization_profile_async set_output_allocator set_tensor_address
            set_tensor_debug_state temporary_allocator
            update_device_memory_size_for_shapes
            """,
        "EngineInspector": """
            error_recorder execution_context get_engine_information get_layer_information
            """,
        "TensorIOMode": """
            INPUT NONE OUTPUT
            """,
        "TensorLocation": """
            DEVICE HOST
            """,
        "DataType": """
            BF16 BOOL FLOAT FP8 HALF INT32 INT4 INT64 INT8 UINT8
            """,
        "LayerInformationFormat": """
            JSON ONELINE
            """,
        "ExecutionContextAllocationStrategy": """
            ON_PROFILE_CHANGE STATIC USER_MANAGED
            """,
        "ProfilingVerbosity": """
            DETAILED LAYER_NAMES_ONLY NONE
            """,
        "IOutputAllocator": "",
        "HardwareCompatibilityLevel": """
            AMPERE_PLUS NONE
            """,
    }.items()
}
