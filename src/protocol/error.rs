//! Names of errors on the wire, and why a command or an answer is malformed.

use serde::{Deserialize, Serialize};

use super::REQUIREMENTS_MAX;
use crate::limit::{Amount, LimitKey};

/// The error of an outcome that is unknown because the ledger did not answer.
pub const BACKEND_ERROR: &str = "backend_error";
/// The error of a malformed request. In a batch the message follows behind a colon.
pub const INVALID_REQUEST: &str = "invalid_request";
/// The error of a request without a valid token.
pub const UNAUTHORIZED: &str = "unauthorized";
/// The error of a request that its token does not allow. In a batch the message follows behind a colon.
pub const FORBIDDEN: &str = "forbidden";
/// The error of a lease id that was granted for other requirements.
pub const LEASE_CONFLICT: &str = "lease_conflict";
/// The error of a lease that was completed.
pub const LEASE_SETTLED: &str = "lease_settled";
/// The error of a lease of which a part has expired.
pub const LEASE_EXPIRED: &str = "lease_expired";
/// The error of a key without a limit. In a reserve answer the key follows behind a colon.
pub const UNKNOWN_LIMIT_KEY: &str = "unknown_limit_key";
/// The error of a key whose template has reached `max_instances`. In a reserve answer the key follows behind a colon.
pub const TOO_MANY_INSTANCES: &str = "too_many_instances";
/// The error of a change whose `if_version` is not the version of the limit.
pub const VERSION_CONFLICT: &str = "version_conflict";
/// The error of a limit whose capacity is being lowered; the key follows behind a colon.
pub(super) const LIMIT_DECREASING: &str = "limit_decreasing";
/// The error of an amount above the capacity; the key follows behind a colon.
pub(super) const EXCEEDS_CAPACITY: &str = "exceeds_capacity";

/// The longest job id, in bytes.
pub const JOB_ID_BYTES_MAX: usize = 128;

/// The body of a failure that has no body of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The error's name, for programs.
    pub error: String,
    /// What happened and what to do, for people.
    pub message: String,
}

/// Why a command could not be built. The text begins with the name of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A list is too short or too long.
    #[error("{field} must be between {min} and {max} long, not {count}", max = REQUIREMENTS_MAX)]
    Count {
        /// `requirements` or `actuals`.
        field: &'static str,
        /// The shortest length allowed.
        min: usize,
        /// The length found.
        count: usize,
    },
    /// A key appears twice.
    #[error("{field}[{index}].key repeats {key}")]
    KeyTwice {
        /// `requirements` or `actuals`.
        field: &'static str,
        /// The index of the second appearance.
        index: usize,
        /// The key.
        key: LimitKey,
    },
    /// An actual amount is over 2^63-1.
    #[error("actuals[{index}].actual_amount must be at most {}", Amount::MAX.get())]
    ActualTooLarge {
        /// The index of the amount.
        index: usize,
    },
    /// A reserve is to take in any case, and to take nothing.
    #[error("force cannot be combined with dry_run")]
    ForceWithDryRun,
    /// A reserve is to take an amount of 0 in any case.
    #[error("requirements[{index}].amount must be at least 1 with force")]
    ForceOfNothing {
        /// The index of the amount.
        index: usize,
    },
    /// A number is too large.
    #[error("{field} must be between 0 and {max}")]
    OutOfRange {
        /// The field's name.
        field: &'static str,
        /// The largest value allowed.
        max: u64,
    },
    /// The job id is too long.
    #[error("job_id must be at most {JOB_ID_BYTES_MAX} bytes long, not {0}")]
    JobIdTooLong(usize),
}

/// Why an answer holds no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The service does not know the outcome.
    #[error("the service got no answer from its ledger")]
    Unknown,
    /// The service refused the request as malformed.
    #[error("{0}")]
    Invalid(String),
    /// The caller's token does not allow the request.
    #[error("{0}")]
    Forbidden(String),
    /// This API has no such error.
    #[error("the answer's error {0:?} is unknown to this client")]
    Unreadable(String),
}

pub(super) fn check_job_id(job_id: &str) -> Result<(), CommandError> {
    if job_id.len() > JOB_ID_BYTES_MAX { Err(CommandError::JobIdTooLong(job_id.len())) } else { Ok(()) }
}

/// Checks that no key appears twice. There are at most 32 keys, so comparing each with those before it is fastest.
pub(super) fn check_keys_differ<'a>(
    field: &'static str,
    keys: &(impl Iterator<Item = &'a LimitKey> + Clone),
) -> Result<(), CommandError> {
    for (index, key) in keys.clone().enumerate() {
        if keys.clone().take(index).any(|earlier| earlier == key) {
            return Err(CommandError::KeyTwice { field, index, key: key.clone() });
        }
    }
    Ok(())
}
