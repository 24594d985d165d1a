//! Tests that need nothing but this crate.
#![expect(unreachable_pub, missing_docs, reason = "a test binary has no public interface")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[macro_use]
mod contract;
mod features;
#[path = "support/mod.rs"]
mod fixtures;
mod gherkin;
mod http;
#[path = "support/memory.rs"]
mod memory;
mod model;
#[path = "support/operations.rs"]
mod operations;
mod program;
mod registry_file;

contract_tests!(crate::memory::MemoryBackend::new());
