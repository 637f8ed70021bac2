//! The `velocore` binary: everything is in the library, so that tests can reach it.

use std::process::ExitCode;

/// Batches are a few large buffers that one shard allocates and another may free: jemalloc keeps them for
/// the next batch, where the C library gives them back to the system and takes a page fault for each page.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    runtime::commands::main()
}
