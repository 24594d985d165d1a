//! Tests that need nothing but this crate.
#![expect(unreachable_pub, missing_docs, reason = "a test binary has no public interface")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[macro_use]
mod contract;
#[path = "support/mod.rs"]
mod fixtures;
#[path = "support/memory.rs"]
mod memory;
mod registry_file;
mod program;
mod http;

contract_tests!(crate::memory::MemoryBackend::new());
