//! The library for callers: leases of several limits at once, over HTTP or in process with the same code.
//!
//! From the wire up:
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Transport`] | one attempt at a call, whoever carries it out |
//! | [`Repeating`] | a transport that repeats a call whose outcome is unknown, under the same lease id |
//! | [`scheduler`] | runs jobs when there is room for them, a queue for each model |

mod repeat;
pub mod scheduler;
mod transport;

pub use repeat::{RepeatPolicy, Repeating};
pub use transport::{CallError, Transport};

pub use crate::decide::command::{Actual, Complete, Extend, Requirement, Reserve};
pub use crate::limit::{Amount, LeaseId, LimitKey};
pub use crate::limiter::ReserveOutcome;
pub use crate::wire::UsageBody as Usage;
