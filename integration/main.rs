//! Tests against a real TigerBeetle.
#![expect(unreachable_pub, missing_docs, reason = "a test binary has no public interface")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[macro_use]
#[path = "../tests/contract/mod.rs"]
mod contract;
#[path = "../tests/support/mod.rs"]
mod fixtures;
mod outage;
mod support;

contract_tests!(crate::support::TigerBeetleBackend::new().await);
