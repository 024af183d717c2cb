//! What a part of the work is about.

/// What a span is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SpanKind {
    /// The request sides of the route's plugins.
    Plugins,
    /// Who asks, as `auth` proves it.
    Auth,
    /// Waiting for a place among the window's instances.
    Queue,
    /// Until an instance has accepted the request.
    InstanceStart,
    /// The guest's work, from there until its instance is done with the request.
    Guest,
    /// A write of the guest, until it is durable.
    StoreCommit,
    /// A part of its work that the guest itself names.
    Own,
    /// A call of the guest to a service of the network, to the head of its answer.
    Call,
    /// A call of the guest to another window, to the head of its answer.
    CallWindow,
    /// A window as a middleware, to the head of its answer.
    Middleware,
    /// The route's upstream where that is a service, to the head of its answer.
    Upstream,
    /// A step of a deploy: the component is checked.
    Check,
    /// It is compiled.
    Compile,
    /// One instance is started on trial.
    Trial,
    /// The release is recorded.
    Record,
    /// The release begins to serve.
    Swap,
    /// The release before ends its requests.
    Drain,
}

impl SpanKind {
    pub(super) const ALL: [SpanKind; 17] = [
        SpanKind::Plugins,
        SpanKind::Auth,
        SpanKind::Queue,
        SpanKind::InstanceStart,
        SpanKind::Guest,
        SpanKind::StoreCommit,
        SpanKind::Own,
        SpanKind::Call,
        SpanKind::CallWindow,
        SpanKind::Middleware,
        SpanKind::Upstream,
        SpanKind::Check,
        SpanKind::Compile,
        SpanKind::Trial,
        SpanKind::Record,
        SpanKind::Swap,
        SpanKind::Drain,
    ];

    /// Its name, as it is shown and exported.
    pub fn name(self) -> &'static str {
        match self {
            SpanKind::Plugins => "plugins",
            SpanKind::Auth => "auth",
            SpanKind::Queue => "queue",
            SpanKind::InstanceStart => "instance-start",
            SpanKind::Guest => "guest",
            SpanKind::StoreCommit => "store-commit",
            SpanKind::Own => "span",
            SpanKind::Call => "call",
            SpanKind::CallWindow => "call-window",
            SpanKind::Middleware => "middleware",
            SpanKind::Upstream => "upstream",
            SpanKind::Check => "check",
            SpanKind::Compile => "compile",
            SpanKind::Trial => "trial",
            SpanKind::Record => "record",
            SpanKind::Swap => "swap",
            SpanKind::Drain => "drain",
        }
    }

    /// Whether somebody else is asked over the network.
    pub fn is_client(self) -> bool {
        matches!(self, SpanKind::Call | SpanKind::Upstream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_back_by_their_numbers() {
        for (number, kind) in SpanKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }
}
