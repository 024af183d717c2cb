//! The windows: what is deployed, what is live, and how one release follows another.
//!
//! [`name`] says what a window may be called. A [`record`] is what the disk knows of one, kept in `host.redb`; the
//! [`artifacts`] are the components by digest. A [`release`] is one of them in memory, and a request holds a lease on it
//! (an `Arc`) until its last byte. A [`window`] points at the live release; the [`registry`] finds the window.
//! [`deploy`] is the one path by which any of this changes.

mod artifacts;
mod deploy;
mod error;
mod file;
mod name;
mod record;
mod registry;
mod release;
mod restore;
mod status;
mod window;

pub use artifacts::{Artifacts, Upload};
pub use deploy::{DeployOptions, Deployed, Step};
pub use error::ChangeError;
pub use file::FileDeploy;
pub use name::WindowName;
pub use record::{ReleaseRecord, WindowRecord};
pub use registry::{Registry, WindowsConfig};
pub use status::{ReleaseStatus, WindowStatus};
