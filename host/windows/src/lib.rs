//! The windows: what is deployed, what is live, and how one release follows another.
//!
//! [`WindowName`] has the rules for names. A [`record`] is the durable state of a window, stored in
//! `host.redb`, and what the window is meant to be. The [`registry`] finds the [`window`] for a
//! request, and [`traffic`] serves it. [`mod@change`] is the only way to change a window: it writes
//! the record and makes what serves match it, in memory and on disk in the order that the change
//! requires. [`operate`] has the operators' verbs; [`mod@release`] is the path by which a component
//! becomes a release, and [`canary`] one beside the live one. [`mod@restore`] is a restart.
//! [`watch`] deploys the files of a folder, and [`granted`] is what the grants of a window mean for
//! its limits and for consent. [`status`] is what operators see, and [`backup`] copies it all.

// For maintainers: the documentation is built with private items.
#![allow(rustdoc::private_intra_doc_links)]
// The tests of `traffic/swap_cell.rs` compile it a second time, with other locks.
#![cfg_attr(test, allow(clippy::duplicate_mod))]

mod backup;
mod blocking;
mod canary;
mod change;
mod consent;
mod error;
mod granted;
mod operate;
mod record;
mod records;
mod registry;
mod release;
mod restore;
mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod traffic;
mod watch;
mod window;

pub use backup::{HeldArtifacts, RecordsSnapshot};
pub use consent::Consent;
pub use error::ChangeError;
pub use granted::KeptAsItIs;
pub use hms_core::window_name::WindowName;
pub use operate::Removed;
pub use record::{CanaryRecord, RecordVersion, ReleaseRecord, WindowRecord};
pub use registry::{Registry, WindowsConfig};
pub use release::artifacts::{Artifacts, MAX_WAITING as MAX_DEPLOYS_WAITING, Upload};
pub use release::deploy::DeployOptions;
pub use release::deploy_queue::Load;
pub use release::file::FileDeploy;
pub use release::measured::Deploys;
pub use release::probe::Probe;
pub use traffic::callers::CallOutcome;
pub use traffic::measured::{MeasuredWindow, ReleaseMeasures, WindowMeasures};
pub use watch::{FolderCounts, FolderProgress, WindowsFolder};

pub use hms_core::units::TrafficShare;

pub use hms_core::limits::{LimitsChange, LimitsSet, TABLE as LIMITS, Unit, WindowLimits};
