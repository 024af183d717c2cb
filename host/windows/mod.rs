//! The windows: what is deployed, what is live, and how one release follows another.
//!
//! [`name`] says what a window may be called. A [`record`] is what the disk knows of one, kept in
//! `host.redb`, and what the window is to be; the [`artifacts`] are the components by digest. A
//! [`release`] is one of them in memory, and a request holds a lease on it (an `Arc`) until its last
//! byte. A [`window`] points at its [`serving`]: the live release, and with a [`canary`] the
//! candidate on [`analysis`] beside it. The [`registry`] finds the window, [`mod@serve`] has it
//! answer. [`mod@change`] is the one way to change a window: it writes the record and has what
//! serves match that, in the order of memory and disk that the change needs. [`deploy`] is the one
//! path by which a component becomes a release; [`operate`] holds the other verbs; [`mod@restore`]
//! is a restart, and [`load`] makes a release of what a record names. [`mod@file`] deploys a file of
//! this machine, and [`watch`] those of a folder. [`backup`] copies what there is.

mod admission;
mod analysis;
#[cfg(test)]
mod analysis_tests;
mod artifacts;
mod backup;
mod blocking;
mod breaker;
mod canary;
mod change;
mod crash;
mod deploy;
mod deploy_queue;
mod difference;
mod error;
mod fallback;
mod file;
mod load;
mod name;
mod operate;
mod probe;
mod progress;
mod record;
mod registry;
mod release;
mod restore;
mod serve;
mod serving;
mod share;
mod status;
mod swap_cell;
#[cfg(test)]
mod swap_cell_tests;
mod sync;
#[cfg(test)]
pub(crate) mod testing;
mod unavailable;
mod watch;
mod window;

pub use crate::units::TrafficShare;
pub use artifacts::{Artifacts, MAX_WAITING as MAX_DEPLOYS_WAITING, Upload};
pub use backup::{HeldArtifacts, RecordsSnapshot};
pub use change::Unsaved;
pub use deploy::{DeployOptions, Deployed};
pub use deploy_queue::Load;
pub use difference::{Change, Difference};
pub use error::ChangeError;
pub use file::FileDeploy;
pub use name::WindowName;
pub use operate::Removed;
pub use probe::Probe;
pub use progress::{DeployEvent, Step};
pub use record::{CanaryRecord, RecordVersion, ReleaseRecord, WindowRecord};
pub use registry::{Registry, WindowsConfig};
pub use status::{CanaryStatus, DrainStatus, SideStatus, WindowStatus};
pub use watch::{FolderCounts, FolderProgress, WindowsFolder};

pub use crate::runtime::limits::{LimitsChange, LimitsSet, TABLE as LIMITS, Unit, WindowLimits};
