//! The reference does what it is the reference of; so the cases are right.

use super::super::{Backend, StoreLimits};
use super::random::{actions, compare};
use super::{CASES, Memory, Subject, play};
use proptest::prelude::*;

fn memory(limits: StoreLimits) -> Box<dyn Backend> {
    Box::new(Memory::new(limits))
}

#[test]
fn reference_passes_every_case_except_copies() {
    let cases = CASES.iter().filter(|(name, _)| !name.starts_with("copy_"));
    for (name, case) in cases {
        println!("conformance: {name}");
        play(&memory, *case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn reference_agrees_with_itself(actions in actions()) {
        compare(&Subject::new(&memory), &actions);
    }
}
