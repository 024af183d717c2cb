//! What the operator grants a window: the file `windows/NAME.yaml`, read and checked.
//!
//! [`GrantsFile`] reads a file and [`Grants`] is what it says: the services that a window may call
//! ([`outbound`]), the windows it may ask, its configuration and environment, and which
//! [`secret`]s it has. [`live`] is what holds now, shared by all that enforce it, so that an edit
//! of the file is in effect at once: `folder` watches the files, and `values` reads the secrets.
//! [`ability`] says what a release can do by it, and when that grows. [`suggest`] says what to
//! write where a call was refused, and [`mask`] keeps the values of secrets out of logs.

pub mod ability;
mod file;
mod folder;
pub mod live;
pub mod mask;
mod metrics;
pub mod outbound;
pub mod schedule;
pub mod secret;
mod status;
pub mod subscription;
pub mod suggest;
mod values;

pub use file::{GrantsFile, fields, schema};
pub use folder::{GrantsFolder, OnChange};
pub use live::{AllGrants, LiveGrants, WindowGrants};
pub use metrics::GrantsMetrics;
pub use outbound::{HostPattern, Inject, OutboundGrant};
pub use secret::{Secret, SecretSource, Secrets};
pub use status::{grants_status, of_file};
pub use values::{NamedFile, NamedFiles};

use hms_core::limits::{Limit, LimitsSet};
use hms_core::window_name::WindowName;
use std::collections::{BTreeMap, BTreeSet};

/// One grants file. Without a file a window has the default: nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grants {
    /// The services that it may call, in the file's order. The first that fits a request decides.
    pub outbound: Vec<OutboundGrant>,
    /// The windows that it may call.
    pub calls: Vec<CallGrant>,
    /// No route may lead to this window: only other windows call it.
    pub internal: bool,
    /// What `wasi:config` and Spin's variables answer.
    pub config: BTreeMap<String, String>,
    /// Its secrets, by name, and where their values are.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Secrets whose values the guest itself may read.
    pub reveal: BTreeSet<String>,
    /// What `wasi:cli/environment` answers.
    pub env: BTreeMap<String, String>,
    /// The events that it wants.
    pub subscriptions: Vec<subscription::Subscription>,
    /// What it is asked to do at certain times.
    pub schedules: Vec<schedule::Schedule>,
    /// Limits that the file sets. `hms limits` shows them and does not change them.
    pub limits: LimitsSet,
    /// Where in the file it says so.
    pub lines: Lines,
}

/// Lines of a grants file, from 1, for messages. Entries of lists know their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Of each limit.
    pub limits: BTreeMap<Limit, usize>,
    /// Of each secret.
    pub secrets: BTreeMap<String, usize>,
    /// Of `reveal`.
    pub reveal: usize,
}

/// That a window may call another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallGrant {
    /// The window that may be called.
    pub window: WindowName,
    /// `as: self`: the call carries no user and no scopes, only the calling window's name.
    pub as_self: bool,
    /// Line of the file, from 1.
    pub line: usize,
}

impl Grants {
    /// Whether it may send requests at all.
    pub fn calls_out(&self) -> bool {
        !(self.outbound.is_empty() && self.calls.is_empty())
    }

    /// The grant by which this window may call `window`.
    pub fn call(&self, window: &str) -> Option<&CallGrant> {
        self.calls
            .iter()
            .find(|call| call.window.as_str() == window)
    }
}
