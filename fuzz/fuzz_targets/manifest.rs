//! No text makes the reader of manifests panic; what it accepts is read the same again, and every
//! fault has a place.
#![no_main]

use hms_gateway::routes::manifest::Route;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Route::parse("fuzz", text) {
        Ok(route) => {
            assert_eq!(Route::parse("fuzz", &route.text).as_ref(), Ok(&route));
            assert!(!route.claims().is_empty());
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            for fault in faults {
                assert!(fault.line >= 1 && fault.column >= 1 && !fault.reason.is_empty());
            }
        }
    }
});
