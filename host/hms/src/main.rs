//! Parse and run.

use hms_allocator as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    hms_svc::cli::main()
}
