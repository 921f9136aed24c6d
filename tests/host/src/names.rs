//! Every host call and callback by name.

use core::fmt;

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl $kind {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in the ABI.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

names! {
    /// A function that the host gives to the VM.
    HostCall {
        Log = "log",
        GetLogLevel = "get_log_level",
        GetStatus = "get_status",
        SetProperty = "set_property",
        GetProperty = "get_property",
        SendLocalResponse = "send_local_response",
        GetSharedData = "get_shared_data",
        SetSharedData = "set_shared_data",
        RegisterSharedQueue = "register_shared_queue",
        ResolveSharedQueue = "resolve_shared_queue",
        DequeueSharedQueue = "dequeue_shared_queue",
        EnqueueSharedQueue = "enqueue_shared_queue",
        GetHeaderMapValue = "get_header_map_value",
        AddHeaderMapValue = "add_header_map_value",
        ReplaceHeaderMapValue = "replace_header_map_value",
        RemoveHeaderMapValue = "remove_header_map_value",
        GetHeaderMapPairs = "get_header_map_pairs",
        SetHeaderMapPairs = "set_header_map_pairs",
        GetHeaderMapSize = "get_header_map_size",
        GetBufferStatus = "get_buffer_status",
        GetBufferBytes = "get_buffer_bytes",
        SetBufferBytes = "set_buffer_bytes",
        HttpCall = "http_call",
        GrpcCall = "grpc_call",
        GrpcStream = "grpc_stream",
        GrpcClose = "grpc_close",
        GrpcCancel = "grpc_cancel",
        GrpcSend = "grpc_send",
        SetTickPeriod = "set_tick_period_milliseconds",
        GetCurrentTime = "get_current_time_nanoseconds",
        DefineMetric = "define_metric",
        IncrementMetric = "increment_metric",
        RecordMetric = "record_metric",
        GetMetric = "get_metric",
        SetEffectiveContext = "set_effective_context",
        Done = "done",
        CallForeignFunction = "call_foreign_function",
        ContinueStream = "continue_stream",
        CloseStream = "close_stream",
        WasiFdWrite = "fd_write",
        WasiFdRead = "fd_read",
        WasiFdSeek = "fd_seek",
        WasiFdClose = "fd_close",
        WasiFdStatGet = "fd_fdstat_get",
        WasiFdStatSetFlags = "fd_fdstat_set_flags",
        WasiEnvironGet = "environ_get",
        WasiEnvironSizesGet = "environ_sizes_get",
        WasiArgsGet = "args_get",
        WasiArgsSizesGet = "args_sizes_get",
        WasiClockTimeGet = "clock_time_get",
        WasiRandomGet = "random_get",
        WasiSchedYield = "sched_yield",
        WasiPollOneoff = "poll_oneoff",
        WasiProcExit = "proc_exit",
        WasiPathOpen = "path_open",
        WasiPrestatGet = "fd_prestat_get",
        WasiPrestatDirName = "fd_prestat_dir_name",
    }
}

impl HostCall {
    /// Whether the host allocates in the VM to hand over a value: such a call costs about ten times
    /// what another one costs, because the host calls back into the VM.
    pub fn returns_value(self) -> bool {
        matches!(
            self,
            Self::GetStatus
                | Self::GetProperty
                | Self::GetSharedData
                | Self::DequeueSharedQueue
                | Self::GetHeaderMapValue
                | Self::GetHeaderMapPairs
                | Self::GetBufferBytes
        )
    }
}

names! {
    /// A function of the VM that the host calls.
    Callback {
        Initialize = "_initialize",
        OnContextCreate = "proxy_on_context_create",
        OnVmStart = "proxy_on_vm_start",
        OnConfigure = "proxy_on_configure",
        OnTick = "proxy_on_tick",
        OnQueueReady = "proxy_on_queue_ready",
        OnRequestHeaders = "proxy_on_request_headers",
        OnRequestBody = "proxy_on_request_body",
        OnRequestTrailers = "proxy_on_request_trailers",
        OnResponseHeaders = "proxy_on_response_headers",
        OnResponseBody = "proxy_on_response_body",
        OnResponseTrailers = "proxy_on_response_trailers",
        OnHttpCallResponse = "proxy_on_http_call_response",
        OnGrpcReceiveInitialMetadata = "proxy_on_grpc_receive_initial_metadata",
        OnGrpcReceive = "proxy_on_grpc_receive",
        OnGrpcReceiveTrailingMetadata = "proxy_on_grpc_receive_trailing_metadata",
        OnGrpcClose = "proxy_on_grpc_close",
        OnDone = "proxy_on_done",
        OnLog = "proxy_on_log",
        OnDelete = "proxy_on_delete",
    }
}

impl Callback {
    /// Whether its result says if a stream goes on.
    pub(crate) fn is_of_stream(self) -> bool {
        matches!(
            self,
            Self::OnRequestHeaders
                | Self::OnRequestBody
                | Self::OnRequestTrailers
                | Self::OnResponseHeaders
                | Self::OnResponseBody
                | Self::OnResponseTrailers
        )
    }
}
