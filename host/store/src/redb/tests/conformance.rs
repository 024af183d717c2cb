//! Stores in files do what every backend must.

use super::super::conformance::random::{actions, compare};
use super::super::conformance::{Subject, run};
use super::super::files::RedbFiles;
use super::super::{Backend, StoreLimits};
use proptest::prelude::*;
use std::cell::RefCell;
use tempfile::TempDir;

/// Has `work` done with backends in folders, which last as long as that.
fn with_files(work: impl FnOnce(&dyn Fn(StoreLimits) -> Box<dyn Backend>)) {
    let folders: RefCell<Vec<TempDir>> = RefCell::default();
    work(&|limits| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("windows");
        folders.borrow_mut().push(folder);
        Box::new(RedbFiles::new(root, limits))
    });
}

#[test]
fn file_stores_pass_every_case() {
    with_files(|make| run(make));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn file_stores_behave_like_the_reference(actions in actions()) {
        with_files(|make| compare(&Subject::new(make), &actions));
    }
}
