//! Tests on a real TigerBeetle. `contract_tests!` and the Gherkin features also run over the memory ledger (`tests/`).
#![allow(unreachable_pub, missing_docs, dead_code, reason = "modules are shared between test binaries")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../tests/support/audited.rs"]
mod audited;
#[macro_use]
#[path = "../tests/contract/mod.rs"]
mod contract;
mod admin_list;
mod chaos;
mod differential;
#[path = "../tests/support/distant.rs"]
mod distant;
mod features;
mod few_connections;
#[path = "../tests/support/mod.rs"]
mod fixtures;
#[path = "../tests/gherkin/mod.rs"]
mod gherkin;
#[path = "../tests/support/ledger_wrapper.rs"]
mod ledger_wrapper;
#[path = "../tests/support/limits.rs"]
mod limits;
#[path = "../tests/support/memory.rs"]
mod memory;
#[path = "../tests/support/operations.rs"]
mod operations;
mod outage;
mod round_trips;
#[path = "../tests/support/run.rs"]
mod run;
mod support;
mod two_services;

contract_tests!(crate::support::TigerBeetleBackend::new().await);
