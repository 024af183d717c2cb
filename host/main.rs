//! Parse and run.

use std::process::ExitCode;

fn main() -> ExitCode {
    hms_svc::cli::main()
}
