//! Complete: `POST /v1/complete`.

use serde::{Deserialize, Serialize};

use super::error::{
    AnswerError, BACKEND_ERROR, CommandError, FORBIDDEN, INVALID_REQUEST, check_job_id, check_keys_differ,
};
use super::reserve::{REQUIREMENTS_MAX, Requirement, Reserve};
use crate::limit::{Amount, LeaseId, LimitKey, Overage};

/// What one call used of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actual {
    /// The limit.
    pub key: LimitKey,
    /// The amount used, in units of the limit, 0 to 2^63-1.
    pub amount: u64,
}

/// A valid complete command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// The lease to settle.
    pub lease: LeaseId,
    /// For logs only; empty if there is none.
    pub job_id: String,
    actuals: Vec<Actual>,
}

impl Complete {
    /// Checks the actual amounts.
    pub fn new(lease: LeaseId, job_id: String, actuals: Vec<Actual>) -> Result<Self, CommandError> {
        let field = "actuals";
        check_job_id(&job_id)?;
        if actuals.len() > REQUIREMENTS_MAX {
            return Err(CommandError::Count { field, min: 0, count: actuals.len() });
        }
        if let Some(index) = actuals.iter().position(|actual| actual.amount > Amount::MAX.get()) {
            return Err(CommandError::ActualTooLarge { index });
        }
        check_keys_differ(field, &actuals.iter().map(|actual| &actual.key))?;
        Ok(Self { lease, job_id, actuals })
    }

    /// Completes a lease whose usage is unknown: rolling reservations stay until they expire.
    pub fn of_unknown_usage(reserve: &Reserve) -> Self {
        Self::of_used(reserve, |_| None)
    }

    /// Completes a lease that used nothing.
    pub fn of_unused(reserve: &Reserve) -> Self {
        Self::of_used(reserve, |_| Some(0))
    }

    /// Completes a lease with the usage that `used` knows for each of its limits. An amount above 2^63-1 counts as 2^63-1.
    pub fn of_used(reserve: &Reserve, used: impl Fn(&LimitKey) -> Option<u64>) -> Self {
        let actual = |Requirement { key, .. }: &Requirement| {
            used(key).map(|amount| Actual { key: key.clone(), amount: amount.min(Amount::MAX.get()) })
        };
        let actuals = reserve.requirements().iter().filter_map(actual).collect();
        Self { lease: reserve.lease, job_id: reserve.job_id.clone(), actuals }
    }

    /// The amounts used, in the caller's order: up to 32, no key twice.
    pub fn actuals(&self) -> &[Actual] {
        &self.actuals
    }
}

/// The outcome of a complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompleteOutcome {
    /// This complete settled the lease.
    Settled {
        /// The usage that could not be reserved.
        overages: Vec<UnreservedOverage>,
    },
    /// The lease is unknown, expired or already settled: nothing changed.
    NothingToDo,
    /// An actual amount names a limit that the lease does not hold: nothing changed.
    NotInLease {
        /// The index of the actual amount.
        index: usize,
    },
}

impl CompleteOutcome {
    /// `Ok` if the lease is settled; otherwise what is wrong with the command.
    pub fn settled(&self) -> Result<(), String> {
        match self {
            Self::Settled { .. } | Self::NothingToDo => Ok(()),
            Self::NotInLease { index } => Err(format!("actuals[{index}].key is not in the lease")),
        }
    }
}

/// Usage above the reservation that found no room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreservedOverage {
    /// The limit.
    pub key: LimitKey,
    /// The amount, in units of the limit.
    pub amount: u128,
    /// Whether it was posted as debt or only counted.
    pub overage: Overage,
}

/// The body of a complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CompleteBody {
    /// The lease to settle.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub lease_id: String,
    /// For logs only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(test, schema(max_length = 128))]
    pub job_id: String,
    /// The amounts used, for any of the lease's keys.
    #[serde(default)]
    #[cfg_attr(test, schema(max_items = 32))]
    pub actuals: Vec<ActualBody>,
    /// The `served_by` of the answer that granted the lease, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(max_length = 255))]
    pub served_by: Option<String>,
}

/// One actual amount in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ActualBody {
    /// The limit.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Key))]
    pub key: String,
    /// 0 to 2^63-1.
    #[cfg_attr(test, schema(maximum = 9_223_372_036_854_775_807_i64))]
    pub actual_amount: u64,
}

/// The answer to a complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct CompleteAnswer {
    /// Whether the lease is settled.
    pub ok: bool,
    /// Why the lease is not settled, or `""`.
    pub error: String,
    /// In a batch: the wait before the complete is repeated if its outcome is unknown, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl CompleteBody {
    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_command(self) -> Result<Complete, String> {
        let lease = LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))?;
        let actual = |(index, body): (usize, ActualBody)| {
            let key = LimitKey::parse(&body.key).map_err(|error| format!("actuals[{index}].key {error}"))?;
            Ok(Actual { key, amount: body.actual_amount })
        };
        let actuals: Result<Vec<_>, String> = self.actuals.into_iter().enumerate().map(actual).collect();
        Complete::new(lease, self.job_id, actuals?).map_err(|error| error.to_string())
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
            served_by: None,
        }
    }
}

impl CompleteAnswer {
    /// The answer for a settled lease.
    pub fn settled() -> Self {
        Self { ok: true, ..Self::failed("") }
    }

    /// The answer that the lease is not settled, and why.
    pub fn failed(error: &str) -> Self {
        Self { ok: false, error: error.to_owned(), retry_after_ms: None }
    }

    /// Reads the outcome.
    pub fn into_outcome(self) -> Result<(), AnswerError> {
        if self.ok {
            return Ok(());
        }
        match self.error.split_once(':').unwrap_or((&self.error, "")) {
            (BACKEND_ERROR, _) => Err(AnswerError::Unknown),
            (INVALID_REQUEST, message) => Err(AnswerError::Invalid(message.trim().to_owned())),
            (FORBIDDEN, message) => Err(AnswerError::Forbidden(message.trim().to_owned())),
            (_, _) => Err(AnswerError::Unreadable(self.error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_outcome_says_why() {
        let read = |error: &str| CompleteAnswer::failed(error).into_outcome();
        assert_eq!(read(BACKEND_ERROR), Err(AnswerError::Unknown));
        assert_eq!(read("invalid_request: no"), Err(AnswerError::Invalid("no".to_owned())));
        assert_eq!(read("novel"), Err(AnswerError::Unreadable("novel".to_owned())));
    }
}
