//! Permits of one limit, as users of .NET's `System.Threading.RateLimiting` know them.
//!
//! | type | what it is |
//! | --- | --- |
//! | [`Permits`] | what every limiter of permits can do; implement it for a limiter of your own |
//! | [`PermitLimiter`] | hands out the permits of one limit, of any kind, in process or of a service |
//! | [`ChainedLimiter`] | several limiters as one |
//! | [`NoLimiter`] | grants everything |
//! | [`PartitionedPermits`] | what every limiter of partitions can do |
//! | [`PartitionedLimiter`] | a limiter for each partition, created at its first use |
//! | [`ChainedPartitions`], [`TranslatedLimiter`] | several partitioned limiters as one; one for resources of another type |
//! | [`PermitLease`] | the permits of one call, or its failure to get them |
//! | [`PermitOptions`] | the bound and the order of a limiter's queue |
//! | [`PermitStatistics`] | free and queued permits, granted and failed leases |
//! | [`PermitError`] | why a call has no lease, not even a failed one |
//!
//! A file imports only files above it:
//!
//! | file | what it is |
//! | --- | --- |
//! | `options`, `statistics`, `error`, `count` | small types |
//! | `backoff` | how long a denied waiter waits; pure |
//! | `queue` | the waiters: which is next, which are evicted; pure, driven by `limiter` and `worker` |
//! | `forecast` | when granted permits are free again; pure, driven by `source` |
//! | `kind` | what depends on the kind of the limit; pure |
//! | `home` | what a source asks of this process or of a service |
//! | `lease` | the lease, released when it is dropped |
//! | `source` | the ledger, and what is known of its grants |
//! | `shared` | what the clones of a limiter and its worker share |
//! | `worker` | the task that asks the ledger for the waiters |
//! | `interface` | the trait [`Permits`] |
//! | `limiter`, `chained`, `no_limiter` | the limiters |
//! | `partitions` | the trait [`PartitionedPermits`], chains and translations of it |
//! | `partitioned` | the partitioned limiter |

mod backoff;
mod chained;
mod count;
mod error;
mod forecast;
mod home;
mod interface;
mod kind;
mod lease;
mod limiter;
mod no_limiter;
mod options;
mod partitioned;
mod partitions;
mod queue;
mod shared;
mod source;
mod statistics;
#[cfg(test)]
mod tests;
mod worker;

pub use chained::ChainedLimiter;
pub use error::PermitError;
pub use home::PermitHome;
pub use interface::{PermitFuture, Permits};
pub use lease::{FailureReason, PermitLease};
pub use limiter::PermitLimiter;
pub use no_limiter::NoLimiter;
pub use options::{PermitOptions, QueueOrder};
pub use partitioned::{Partition, PartitionedLimiter};
pub use partitions::{ChainedPartitions, PartitionedPermits, TranslatedLimiter};
pub use statistics::PermitStatistics;
