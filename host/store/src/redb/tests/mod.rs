//! Tests of the store as a whole, on a simulated disk where the moment matters and on files where
//! the file does.

mod commit;
mod conformance;
mod crash;
mod damage;
mod disk;
mod faults;
mod format;
mod limits;
mod log;
mod log_crash;
mod model;
mod reading;
mod snapshot;
mod waiting;

use super::{Applied, RedbStore, StoreError, StoreLimits};
use crate::conformance::{delete, increment, set, swap};
use disk::Disk;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

const OWNER: &str = "payments";

/// Limits under which nothing is cached and a fault is mended as soon as somebody asks.
fn bare_limits() -> StoreLimits {
    StoreLimits {
        cache_bytes: 0,
        reopen_pause: Duration::ZERO,
        ..StoreLimits::default()
    }
}

fn open(disk: &Disk, limits: StoreLimits) -> Result<RedbStore, StoreError> {
    let medium = disk.medium(limits.cache_bytes);
    RedbStore::open_with(PathBuf::from("simulated"), OWNER, medium, limits)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(future)
}

fn written(count: usize) -> Result<Vec<Applied>, StoreError> {
    Ok(vec![Applied::Written; count])
}
