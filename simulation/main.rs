//! Deterministic simulation: the service with several replicas on virtual time, over a cluster that delays, reorders and loses
//! messages, while replicas crash, stall and misjudge the time. Everything follows from one seed. `docs/simulation.md` tells
//! what is simulated and checked.
//!
//! | file | what it is |
//! | --- | --- |
//! | `machine/` | clocks and random bytes of the process, a crate of its own |
//! | `random.rs` | numbers that follow from a seed |
//! | `swarm.rs`, `limits.rs` | what a seed draws: faults, limits, workloads |
//! | `process.rs` | one process with a runtime and clocks of its own |
//! | `cluster.rs`, `session.rs` | the ledger, and how a replica reaches it |
//! | `replica.rs` | a replica, from its start to its crash |
//! | `callers.rs`, `lives.rs`, `operator.rs` | callers, the life of a lease, changes of limits |
//! | `world.rs`, `network.rs`, `faults.rs` | the events of a run, in the order of their times |
//! | `history.rs`, `holds.rs`, `linearizability.rs`, `checks.rs` | what callers saw, and what must hold of it |
//! | `trace.rs` | the hash of everything that happened |
#![expect(clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test fails by panicking")]

mod callers;
mod checks;
mod cluster;
mod faults;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "fixtures are shared between test binaries")]
mod fixtures;
mod history;
mod holds;
mod limits;
mod linearizability;
mod lives;
mod network;
mod operator;
mod process;
mod random;
mod replica;
mod seeds;
mod session;
mod swarm;
mod trace;
mod world;
