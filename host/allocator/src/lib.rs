//! The allocator of the program. Each allocation passes through the crate that declares it, and the
//! profile `release` does not optimise the one that has `main`.

// The C library's keeps what many threads have freed in an arena for each, which over deploys grows
// for hours.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
