//! Why a window had no instance for a request.

use hms_core::error::{Problem, RequestError};
use std::time::Duration;

/// A request that no instance has seen. The window's name is for operators.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WindowUnavailable {
    #[error("the window for this route has no release deployed")]
    NotDeployed { window: String },
    /// Its grants say that it is for other windows only, which the client is not told.
    #[error("not found")]
    Internal { window: String },
    #[error("the window for this route is stopped")]
    Stopped { window: String },
    /// The breaker has closed the window.
    #[error("the window for this route keeps failing and is temporarily closed")]
    Tripped {
        window: String,
        retry_after: Duration,
    },
    #[error("the window for this route is closed because its store is unavailable; retry shortly")]
    StoreUnavailable { window: String },
    /// The queue is full, or the wait took too long.
    #[error("all instances are busy and the queue is full; retry shortly")]
    Busy,
}

impl From<WindowUnavailable> for RequestError {
    fn from(error: WindowUnavailable) -> Self {
        let detail = error.to_string();
        let of = |problem, window: String| {
            RequestError::new(problem, detail.as_str()).with_cause(format!("window '{window}'"))
        };
        match error {
            WindowUnavailable::NotDeployed { window } => of(Problem::WindowNotDeployed, window),
            WindowUnavailable::Internal { window } => of(Problem::WindowInternal, window),
            WindowUnavailable::Stopped { window } => of(Problem::WindowStopped, window),
            WindowUnavailable::Tripped {
                window,
                retry_after,
            } => of(Problem::WindowTripped, window).with_retry_after(retry_after),
            WindowUnavailable::StoreUnavailable { window } => of(Problem::StoreUnavailable, window),
            WindowUnavailable::Busy => RequestError::new(Problem::InstanceLimit, detail),
        }
    }
}
