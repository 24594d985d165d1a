//! Outcomes as answers, and answers as outcomes: the server writes here what the client reads here.

use super::{CompleteAnswer, CompleteBody, ExtendBody, RequirementBody, ReserveAnswer, ReserveBody};
use crate::decide::command::{Actual, Complete, Extend, Requirement, Reserve};
use crate::limit::LimitKey;
use crate::limiter::ReserveOutcome;
use crate::wire::ActualBody;

/// What the error of an unknown outcome is called.
pub const BACKEND_ERROR: &str = "backend_error";
/// What the error of a malformed request is called, or begins with in a batch.
pub const INVALID_REQUEST: &str = "invalid_request";

/// What the error is called of a lease that was granted for something else.
pub const LEASE_CONFLICT: &str = "lease_conflict";
/// What the error of a lease that is settled is called.
pub const LEASE_SETTLED: &str = "lease_settled";
/// What the error of a key without a limit is called, or begins with.
pub const UNKNOWN_LIMIT_KEY: &str = "unknown_limit_key";
/// What the error is called, or begins with, of a key whose template may make no more limits.
pub const TOO_MANY_INSTANCES: &str = "too_many_instances";

const LIMIT_DECREASING: &str = "limit_decreasing";
const EXCEEDS_CAPACITY: &str = "exceeds_capacity";

/// Why an answer tells no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Whoever answered does not know it.
    #[error("the service got no answer from its ledger")]
    Unknown,
    /// The request was not carried out, because it is malformed.
    #[error("{0}")]
    Invalid(String),
    /// It is no answer of this API.
    #[error("the error {0:?} is none of this API")]
    Unreadable(String),
}

impl ReserveAnswer {
    /// Not allowed, for a reason that no waiting ends.
    pub fn failed(error: &str) -> Self {
        Self {
            allowed: false,
            retry_after_ms: 0,
            reserved_at_unix_ms: 0,
            error: error.to_owned(),
            limiting_key: None,
        }
    }

    fn denied(key: &LimitKey, retry_after_ms: u64, error: &str) -> Self {
        let limiting_key = Some(key.as_str().to_owned());
        Self { retry_after_ms, limiting_key, ..Self::failed(error) }
    }

    /// What the answer says.
    pub fn into_outcome(self) -> Result<ReserveOutcome, AnswerError> {
        let Self { allowed, retry_after_ms, reserved_at_unix_ms, error, limiting_key } = self;
        if allowed {
            return Ok(ReserveOutcome::Granted { reserved_at_unix_ms });
        }
        let unreadable = || AnswerError::Unreadable(error.clone());
        let key = || LimitKey::parse(limiting_key.as_deref().unwrap_or_default()).map_err(|_| unreadable());
        let (name, message) = error.split_once(':').unwrap_or((&error, ""));
        match name {
            "" => Ok(ReserveOutcome::NoRoom { key: key()?, retry_after_ms }),
            LIMIT_DECREASING => Ok(ReserveOutcome::Decreasing { key: key()?, retry_after_ms }),
            EXCEEDS_CAPACITY => Ok(ReserveOutcome::ExceedsCapacity { key: key()? }),
            UNKNOWN_LIMIT_KEY => Ok(ReserveOutcome::UnknownKey { key: key()? }),
            TOO_MANY_INSTANCES => Ok(ReserveOutcome::TooManyInstances { key: key()? }),
            LEASE_CONFLICT => Ok(ReserveOutcome::LeaseConflict),
            LEASE_SETTLED => Ok(ReserveOutcome::LeaseSettled),
            BACKEND_ERROR => Err(AnswerError::Unknown),
            INVALID_REQUEST => Err(AnswerError::Invalid(message.trim().to_owned())),
            _ => Err(unreadable()),
        }
    }
}

impl From<ReserveOutcome> for ReserveAnswer {
    fn from(reservation: ReserveOutcome) -> Self {
        match reservation {
            ReserveOutcome::Granted { reserved_at_unix_ms } => {
                Self { allowed: true, reserved_at_unix_ms, ..Self::failed("") }
            }
            ReserveOutcome::NoRoom { key, retry_after_ms } => Self::denied(&key, retry_after_ms, ""),
            ReserveOutcome::Decreasing { key, retry_after_ms } => {
                Self::denied(&key, retry_after_ms, &format!("{LIMIT_DECREASING}:{key}"))
            }
            ReserveOutcome::ExceedsCapacity { key } => {
                Self::denied(&key, 0, &format!("{EXCEEDS_CAPACITY}:{key}"))
            }
            ReserveOutcome::UnknownKey { key } => {
                Self::denied(&key, 0, &format!("{UNKNOWN_LIMIT_KEY}:{key}"))
            }
            ReserveOutcome::TooManyInstances { key } => {
                Self::denied(&key, 0, &format!("{TOO_MANY_INSTANCES}:{key}"))
            }
            ReserveOutcome::LeaseConflict => Self::failed(LEASE_CONFLICT),
            ReserveOutcome::LeaseSettled => Self::failed(LEASE_SETTLED),
        }
    }
}

impl CompleteAnswer {
    /// The lease is settled.
    pub fn settled() -> Self {
        Self { ok: true, error: String::new() }
    }

    /// What the answer says.
    pub fn into_outcome(self) -> Result<(), AnswerError> {
        if self.ok {
            return Ok(());
        }
        match self.error.split_once(':').unwrap_or((&self.error, "")) {
            (BACKEND_ERROR, _) => Err(AnswerError::Unknown),
            (INVALID_REQUEST, message) => Err(AnswerError::Invalid(message.trim().to_owned())),
            (_, _) => Err(AnswerError::Unreadable(self.error)),
        }
    }
}

impl From<&Requirement> for RequirementBody {
    fn from(requirement: &Requirement) -> Self {
        Self { key: requirement.key.as_str().to_owned(), amount: requirement.amount.get() }
    }
}

impl From<&Reserve> for ReserveBody {
    fn from(command: &Reserve) -> Self {
        Self {
            lease_id: command.lease.to_string(),
            job_id: command.job_id.clone(),
            requirements: command.requirements().iter().map(RequirementBody::from).collect(),
        }
    }
}

impl From<&Complete> for CompleteBody {
    fn from(command: &Complete) -> Self {
        let actual = |actual: &Actual| ActualBody {
            key: actual.key.as_str().to_owned(),
            actual_amount: actual.amount,
        };
        Self {
            lease_id: command.lease.to_string(),
            job_id: command.job_id.clone(),
            actuals: command.actuals().iter().map(actual).collect(),
        }
    }
}

impl From<&Extend> for ExtendBody {
    fn from(command: &Extend) -> Self {
        Self {
            lease_id: command.lease.to_string(),
            extend_id: command.extension.to_string(),
            key: command.requirement.key.as_str().to_owned(),
            amount: command.requirement.amount.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_read_as_it_was_written() {
        let key = LimitKey::parse("tenant:acme:llm:daily_tokens").expect("valid");
        let outcomes = [
            ReserveOutcome::Granted { reserved_at_unix_ms: 7 },
            ReserveOutcome::NoRoom { key: key.clone(), retry_after_ms: 5 },
            ReserveOutcome::Decreasing { key: key.clone(), retry_after_ms: 10_000 },
            ReserveOutcome::ExceedsCapacity { key: key.clone() },
            ReserveOutcome::UnknownKey { key: key.clone() },
            ReserveOutcome::TooManyInstances { key },
            ReserveOutcome::LeaseConflict,
            ReserveOutcome::LeaseSettled,
        ];
        for outcome in outcomes {
            assert_eq!(ReserveAnswer::from(outcome.clone()).into_outcome(), Ok(outcome));
        }
    }

    #[test]
    fn what_tells_no_outcome_is_told_apart() {
        let reserve = |error: &str| ReserveAnswer::failed(error).into_outcome();
        assert_eq!(reserve(BACKEND_ERROR), Err(AnswerError::Unknown));
        assert_eq!(reserve("invalid_request: no"), Err(AnswerError::Invalid("no".to_owned())));
        assert_eq!(reserve("novel"), Err(AnswerError::Unreadable("novel".to_owned())));
        assert_eq!(reserve(""), Err(AnswerError::Unreadable(String::new())), "a denial names its key");
        let complete = |error: &str| CompleteAnswer { ok: false, error: error.to_owned() }.into_outcome();
        assert_eq!(complete(BACKEND_ERROR), Err(AnswerError::Unknown));
        assert_eq!(complete("invalid_request: no"), Err(AnswerError::Invalid("no".to_owned())));
        assert_eq!(complete("novel"), Err(AnswerError::Unreadable("novel".to_owned())));
    }
}
