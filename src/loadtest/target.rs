//! What load is offered to.

use std::sync::Arc;
use std::time::Duration;

use ledger_limiter::limit::LeaseId;

use crate::workload::{Limit, Workload, WorkloadError};

/// One item of a call: a lease, and the first of the limits that it takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) lease: LeaseId,
    pub(crate) first: usize,
}

/// What came of one item of a reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reserved {
    Granted,
    Denied {
        retry_after: Duration,
    },
    /// The lease was taken for something else, or is over.
    Conflict,
    /// The target does not know: to be asked again under the same lease.
    Unknown,
    /// No answer, or none that can be.
    Failed(String),
}

/// What came of one item of a complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Completed {
    Settled,
    Unknown,
    Failed(String),
}

/// Something that takes reserves and completes.
pub(crate) trait Target: Send + Sync + 'static {
    /// What one caller calls through.
    type Connection: Connection;

    /// Another connection.
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

    /// The text of the target's metrics, `None` if it has none.
    fn metrics(&self, connection: &mut Self::Connection) -> impl Future<Output = Option<String>> + Send;
}

/// One call at a time; each answers every item in its place.
pub(crate) trait Connection: Send + 'static {
    /// Reserves; several items are a batch.
    fn reserve(&mut self, asks: &[Ask]) -> impl Future<Output = Vec<Reserved>> + Send;

    /// Settles; several items are a batch.
    fn complete(&mut self, asks: &[Ask]) -> impl Future<Output = Vec<Completed>> + Send;
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
    #[error("the limit {key} could not be made: {message}")]
    Put { key: String, message: String },
    #[error("the limit {key} is in use with a higher capacity; name others with --prefix")]
    InUse { key: String },
    #[error("the ledger could not be made ready")]
    Ledger(#[from] ledger_limiter::registry::AdminError),
    #[error("there is nothing to ask for")]
    Workload(#[from] WorkloadError),
    #[error("no room for the measurements")]
    Histogram(#[from] hdrhistogram::CreationError),
}
