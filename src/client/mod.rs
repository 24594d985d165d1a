//! The client library: leases of several limits at once, over HTTP or in process, with the same code.
//!
//! A call to something that is limited goes through three steps. It acquires a [`Lease`] for its [`Requirements`],
//! does its work, and completes the lease with what it really used:
//!
//! ```
//! use std::time::Duration;
//!
//! use ledger_limiter::client::{InProcess, Limit, Limiter, Requirements};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Over HTTP it is `Http::new("http://127.0.0.1:8080")?`, and the service has the limits.
//! let transport = InProcess::with_limits([
//!     Limit::rolling("tokens", 60_000).per(Duration::from_secs(60)),
//!     Limit::concurrency("slots", 10).timeout(Duration::from_secs(300)),
//! ])
//! .await?;
//! let limiter = Limiter::new(transport);
//!
//! // At most 1,000 tokens, and a slot: both or neither. `acquire` waits for room, `try_acquire` does not.
//! let lease = limiter.acquire(&Requirements::new([("tokens", 1_000), ("slots", 1)])?).await?;
//! let tokens_used = 870; // The call.
//! lease.complete([("tokens", tokens_used)]).await?;
//! assert_eq!(limiter.available("tokens").await?, Some(59_130));
//!
//! // Leases that were dropped are completed in the background. Wait for that before the runtime ends.
//! limiter.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Start here:
//!
//! | type | what it is |
//! | --- | --- |
//! | [`Limiter`] | the handle: acquires leases, waits for room, reads statistics |
//! | [`Requirements`], [`LlmCall`] | the amounts that a call needs; those of a call to a language model |
//! | [`PriceTable`], [`TokenUsage`] | what models charge; the tokens of a call by type |
//! | [`Lease`], [`Reservation`] | what was granted; a lease that is taken later |
//! | [`Denial`], [`CallError`], [`ErrorKind`] | why nothing was granted; why there is no answer; the kinds of all errors |
//! | [`Limit`], [`Rate`] | definitions of limits, for [`InProcess`] |
//!
//! A transport carries the calls:
//!
//! | type | what it is |
//! | --- | --- |
//! | [`Http`] | calls a service |
//! | [`InProcess`] | is the limiter, in this process; it also creates, changes and lists limits |
//! | [`Batcher`] | sends the calls of many callers together |
//! | [`Repeating`] | repeats calls of unknown outcome under the same ids; every [`Limiter`] has one |
//! | [`Transport`], [`ObjectTransport`] | the traits, for transports of your own |
//!
//! Other ways to use limits:
//!
//! | part | what it is |
//! | --- | --- |
//! | [`BucketObject`] | one token bucket as an object: take tokens, borrow them, set the rate |
//! | `permits` | permits of one limit, as in .NET: a queue, statistics, chains, partitions; needs the feature `permits` |
//! | [`scheduler`] | runs jobs when there is room for them, with a queue for each model |
//! | `tower` | a tower layer for HTTP services; needs the feature `tower-layer` |
//!
//! Every function that asks for a key takes a [`LimitKey`] or a text ([`IntoLimitKey`]). Spell names that come from
//! outside with [`escape_segment`], so that each fills one segment of a key. Futures may be dropped at
//! any point: see [`Limiter`] for what happens then.

mod batcher;
mod denial;
mod error;
mod http;
mod in_process;
mod key;
mod lease;
mod limit;
mod limit_info;
mod limiter;
mod llm;
mod object;
mod object_answer;
#[cfg(feature = "permits")]
pub mod permits;
mod rate;
mod repeat;
mod requirements;
mod reservation;
pub mod scheduler;
mod shared;
mod stats;
mod time;
#[cfg(feature = "tower-layer")]
pub mod tower;
mod transport;
mod turns;

#[cfg(feature = "client-tls")]
pub use crate::tls::{TlsOptions, TlsOptionsError};
pub use batcher::{Batcher, BatcherOptions};
pub use denial::{AcquireError, Denial};
pub use error::{CallError, ErrorKind};
pub use http::{BearerToken, BearerTokenError, Http, HttpError, HttpOptions};
pub use in_process::{InProcess, InProcessError};
pub use key::IntoLimitKey;
pub use lease::{CompleteError, ExtendError, Extended, Lease};
pub use limit::{IntoDefinition, Limit, LimitError};
pub use limit_info::{LimitInfo, LimitStatus, LimitVersion, LimitsOf, Usage};
pub use limiter::{Acquired, Limiter};
pub use llm::{
    Currency, LlmCall, Measure, NoPrice, OpenAiUsage, Price, PriceTable, PriceTableError, TokenUsage,
    UsageError,
};
pub use object::{BucketObject, BucketReservation, ObjectTransport};
pub use object_answer::{ObjectReservation, ObjectState};
pub use rate::Rate;
pub use repeat::{RepeatPolicy, Repeating};
pub use requirements::{Requirements, RequirementsError};
pub use reservation::Reservation;
pub use stats::KeyStats;
pub use transport::{AttemptResult, Transport};

pub use crate::limit::{
    Amount, AmountError, Capacity, Definition, DefinitionError, ExpectedVersion, ExtendId, KeyError, Kind,
    KindFields, KindName, LeaseId, LimitKey, Overage, Period, QueueOrder, Queueing, ReleaseId, RenewId,
    UnitMicros, escape_segment,
};
pub use crate::protocol::{
    Actual, CommandError, Complete, Extend, Renew, Requirement, Reserve, RetryAfterSource,
};
