//! The target of the load, and the outcomes of its calls.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::limit::LeaseId;

use crate::workload::{Limit, Workload, WorkloadError};

/// One item of a call: a lease, and the index of the first limit that it reserves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) lease: LeaseId,
    pub(crate) first_limit: usize,
}

/// The outcome of one item of a reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reserved {
    Granted,
    Denied {
        retry_after: Duration,
    },
    /// The lease belongs to another request, or is settled.
    Conflict,
    /// The target does not know the outcome. The same lease finds out.
    Unknown,
    /// There is no answer, or not a valid one.
    Failed(String),
}

/// The outcome of one item of a complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Completed {
    Settled,
    Unknown,
    Failed(String),
}

/// A limiter that takes the load.
pub(crate) trait Target: Send + Sync + 'static {
    /// The connection of one caller.
    type Connection: Connection;

    /// Opens a connection.
    fn connect(
        &self,
        workload: Arc<Workload>,
    ) -> impl Future<Output = Result<Self::Connection, SetupError>> + Send;

    /// Creates or changes a limit.
    fn put(
        &self,
        connection: &mut Self::Connection,
        limit: &Limit,
    ) -> impl Future<Output = Result<(), SetupError>> + Send;

    /// The text of the target's metrics; `None` if it cannot be read.
    fn metrics(&self, connection: &mut Self::Connection) -> impl Future<Output = Option<String>> + Send;
}

/// Makes one call at a time. Its outcomes are in the order of the items.
pub(crate) trait Connection: Send + 'static {
    /// Reserves. Several items go out as one batch.
    fn reserve(&mut self, items: &[Item]) -> impl Future<Output = Vec<Reserved>> + Send;

    /// Completes. Several items go out as one batch.
    fn complete(&mut self, items: &[Item]) -> impl Future<Output = Vec<Completed>> + Send;
}

/// Why load cannot be offered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error("{address} does not answer")]
    Connect {
        address: String,
        #[source]
        source: crate::connection::CallError,
    },
    #[error("limit {key} could not be made: {message}")]
    Put { key: String, message: String },
    #[error("limit {key} is in use with a higher capacity; choose another --prefix")]
    InUse { key: String },
    #[error("the ledger could not be set up")]
    Ledger(#[from] ledger_limiter::registry::AdminError),
    #[error("the limits of the workload are not valid")]
    Workload(#[from] WorkloadError),
    #[error("the histograms could not be made")]
    Histogram(#[from] hdrhistogram::CreationError),
}
