//! Tests over the memory ledger. They need no TigerBeetle.
#![allow(unreachable_pub, missing_docs, dead_code, reason = "modules are shared between test binaries")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod audit;
#[path = "support/audited.rs"]
mod audited;
#[macro_use]
mod contract;
#[path = "objects/mod.rs"]
mod bucket_objects;
mod client;
mod coming_from;
mod contract_list;
mod coverage;
#[path = "support/distant.rs"]
mod distant;
mod examples;
mod features;
#[path = "support/mod.rs"]
mod fixtures;
mod gherkin;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod import_edges;
#[path = "support/ledger_wrapper.rs"]
mod ledger_wrapper;
#[path = "support/limits.rs"]
mod limits;
#[cfg(feature = "loadtest")]
mod loadtest;
#[path = "support/memory.rs"]
mod memory;
mod models;
mod one_process;
#[path = "support/operations.rs"]
mod operations;
mod permits;
mod polite_callers;
mod program;
mod registry_file;
mod round_trips;
#[path = "support/run.rs"]
mod run;
mod stored_formats;
mod tower;
mod waiters;
mod waiting_faults;

contract_tests!(crate::memory::MemoryBackend::keeping_all());
