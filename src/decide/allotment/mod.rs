//! Allotments: the part of a limit's capacity that a replica reserves to serve callers from. `docs/allotments.md` says how, and
//! why no caller ever gets more than the capacity.
//!
//! | file | decides |
//! | --- | --- |
//! | `terms.rs` | a definition -> how long an allotment serves, and until when a unit of it is held |
//! | `take.rs` | an amount -> the transfer of an allotment; its outcome -> taken, or why not |
//! | `step.rs` | allotments and what is needed of them -> a chain; its outcome -> made, or how to plan the next one |

mod step;
mod take;
mod terms;

pub(crate) use step::{Step, StepResult, VOIDS_MAX};
pub(crate) use take::{Take, TakeResult};
pub(crate) use terms::{Terms, serve_seconds};

use crate::ledger::{Recorded, TransferId};

/// When one of the transfers was recorded, in the ledger's nanoseconds; `None` if it was not.
pub(crate) fn recorded_at_ns(transfers: &[Recorded], id: TransferId) -> Option<u64> {
    transfers.iter().find(|recorded| recorded.transfer.id == id).map(|recorded| recorded.timestamp_ns)
}
