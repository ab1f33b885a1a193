//! Tracing: one line a step, through `aya-log`, for sampled packets of traced ports only. The
//! traced copy of the path is generated separately, so that the fast one pays nothing for it.

macro_rules! trace {
    ($hook:expr, $($arg:tt)+) => {
        aya_log_ebpf::info!(&$hook, $($arg)+)
    };
}

pub(crate) use trace;
