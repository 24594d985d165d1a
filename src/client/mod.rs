//! The library for callers: leases of several limits at once, over HTTP or in process with the same code.
//!
//! From the wire up:
//!
//! | part | what it is |
//! | --- | --- |
//! | [`Transport`] | one attempt at a call, whoever carries it out |
//! | [`Repeating`] | a transport that repeats a call whose outcome is unknown, under the same lease id |
//! | [`Http`] | the transport to a service |
//! | [`InProcess`] | the transport to a limiter in this process |
//! | [`Limiter`] | the handle: waits for room, with a new lease id after each denial |
//! | [`Lease`] | what was granted; completed by its owner, or in the background when it is dropped |
//! | [`Reservation`] | a lease, or the time to come back for one |
//! | [`Requirements`] | what a call wants of its limits |
//! | [`LlmCall`] | the requirements of a call to a model |
//! | [`Rate`] | definitions of limits, for those in this process |
//! | [`Batcher`] | a transport that makes one call of many |
//! | [`BucketObject`] | the bucket of one key as an object, over an [`ObjectTransport`]: either of the two |
//! | [`permits`] | permits of one limit in this process: a queue, statistics, chains, partitions |
//! | [`scheduler`] | runs jobs when there is room for them, a queue for each model |
//! | `tower` | limits the requests of an HTTP service; with the feature `tower-layer` |

mod batcher;
mod denial;
mod http;
mod in_process;
mod lease;
mod limiter;
mod llm;
mod object;
pub mod permits;
mod rate;
mod repeat;
mod requirements;
mod reservation;
pub mod scheduler;
mod shared;
mod stats;
#[cfg(feature = "tower-layer")]
pub mod tower;
mod transport;

pub use batcher::{Batcher, BatcherOptions};
pub use denial::{AcquireError, Denial};
pub use http::{Http, HttpError, HttpOptions};
pub use in_process::{InProcess, InProcessError};
pub use lease::{CompleteError, ExtendError, Extended, Lease};
pub use limiter::{Acquired, Limiter};
pub use llm::LlmCall;
pub use object::{BucketObject, BucketReservation, ObjectTransport};
pub use rate::{Rate, RateError, concurrency_limit};
pub use repeat::{RepeatPolicy, Repeating};
pub use requirements::{Requirements, RequirementsError};
pub use reservation::Reservation;
pub use stats::KeyStats;
pub use transport::{CallError, Transport};

pub use crate::limit::{Amount, ExtendId, LeaseId, LimitKey, ReleaseId};
pub use crate::protocol::UsageBody as Usage;
pub use crate::protocol::{Actual, Complete, Extend, Requirement, Reserve};
pub use crate::protocol::{ObjectReservation, ObjectState, ReserveOutcome};
