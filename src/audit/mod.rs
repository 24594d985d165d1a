//! The audit: reads the ledger alone, and proves or refutes that the limiter kept its promises.
//!
//! It shares no code with the limiter's decisions. It knows the ledger model of `ARCHITECTURE.md`: which transfers an operation
//! consists of, what definitions say, and how ids are made. `docs/operate/audit.md` tells what it proves.
//!
//! | file | what it does |
//! | --- | --- |
//! | `run.rs` | reads the ledger page by page, while it is in use |
//! | `auditor.rs` | folds the transfers into the state below, chain by chain |
//! | `accounts.rs` | sums, live reservations and their expiry |
//! | `limits.rs`, `definition.rs`, `schedule.rs` | limits, from their versions |
//! | `chain.rs` | checks moves of capacity and debt, and refills |
//! | `leases.rs`, `lease.rs`, `settle.rs` | checks grants, extends, renewals and completes |
//! | `report.rs` | the laws, and what was found |
//! | `story.rs` | the story of a lease or a limit, in words |
//! | `ids.rs`, `codes.rs` | ids and codes, by the tables of `ARCHITECTURE.md` |
//!
//! Memory grows with accounts, with reservations that are live, and with leases that are neither settled nor over. What is over is
//! forgotten.

mod accounts;
mod auditor;
mod chain;
mod codes;
mod definition;
mod ids;
mod lease;
mod leases;
mod limits;
mod report;
mod run;
mod schedule;
mod settle;
mod story;

pub use report::{Finding, Law, NotUnderstood, Progress, Report};
pub use run::audit;
pub use story::{lease_story, limit_story};
