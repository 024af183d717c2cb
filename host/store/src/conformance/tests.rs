//! The reference does what it is the reference of; so the cases are right.

use super::super::{Backend, StoreLimits};
use super::random::{actions, compare};
use super::{CASES, Memory, Subject, play};
use proptest::prelude::*;

fn memory(limits: StoreLimits) -> Box<dyn Backend> {
    Box::new(Memory::new(limits))
}

#[test]
fn the_reference_passes_every_case_but_that_of_copies() {
    let cases = CASES.iter().filter(|(name, _)| !name.contains("a_copy"));
    for (name, case) in cases {
        println!("conformance: {name}");
        play(&memory, *case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_reference_is_what_it_is_compared_with(actions in actions()) {
        compare(&Subject::new(&memory), &actions);
    }
}
