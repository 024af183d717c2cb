//! Parse and run.

use std::process::ExitCode;

// The C library's keeps what many threads have freed in an arena for each, which over deploys grows
// for hours.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hms_svc::cli::main()
}
