use super::LimiterError;
use crate::decide::command::CommandError;
use crate::ledger::LedgerError;
use crate::limit::{KindName, LeaseId, LimitKey};

/// The answer to a reservation that may take what will only be there in the future.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectReservation {
    /// Whether it was made. It is not if it is more than the bucket holds, or the limit is closed.
    pub ok: bool,
    /// How much it took, 0 if it was not made.
    pub tokens: u64,
    /// When it was made, in the ledger's milliseconds since the Unix epoch; if it was not, when that was found.
    pub creation_date: u64,
    /// When all of it is there, likewise; 0 if it was not made.
    pub date_to_act: u64,
    /// What the bucket was refilled with per second when it was made.
    pub limit: f64,
}

/// How an object stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectState {
    /// What it is refilled with per second; 0 if that is done by hand.
    pub limit: f64,
    /// How much it holds.
    pub burst: u64,
    /// How much there is; below 0 if some of the future is taken.
    pub tokens: i64,
    /// When the last refill was due, in the ledger's milliseconds since the Unix epoch.
    pub last: u64,
    /// The latest date at which a reservation may act, past or future, likewise: of what is taken of the future the end,
    /// otherwise the latest that was granted by this process. 0 if none is known.
    pub last_event: u64,
}

/// Why an object gives no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// There is no such limit.
    #[error("there is no limit {0}")]
    UnknownKey(LimitKey),
    /// Its template may make no more limits.
    #[error("limit {0} cannot be made: its template has made as many as it may")]
    TooManyInstances(LimitKey),
    /// The limit is no bucket.
    #[error("limit {key} is of kind {}; objects are of kind token_bucket", .kind.as_str())]
    NotABucket {
        /// The limit.
        key: LimitKey,
        /// Its kind.
        kind: KindName,
    },
    /// The lease was granted for something else.
    #[error("lease {0} was granted for something else")]
    LeaseConflict(LeaseId),
    /// The lease was completed or cancelled, or is over.
    #[error("lease {0} is settled")]
    LeaseSettled(LeaseId),
    /// There is no answer; the outcome is unknown.
    #[error(transparent)]
    Limiter(#[from] LimiterError),
}

impl From<LedgerError> for ObjectError {
    fn from(error: LedgerError) -> Self {
        Self::Limiter(error.into())
    }
}

impl From<CommandError> for ObjectError {
    fn from(error: CommandError) -> Self {
        // One key and no job: nothing of it can be wrong.
        LedgerError::Unexpected(error.to_string()).into()
    }
}
