//! Reserve: `POST /v1/reserve`.

use serde::{Deserialize, Serialize};

use super::error::{
    AnswerError, BACKEND_ERROR, CommandError, EXCEEDS_CAPACITY, FORBIDDEN, INVALID_REQUEST, LEASE_CONFLICT,
    LEASE_EXPIRED, LEASE_SETTLED, LIMIT_DECREASING, TOO_MANY_INSTANCES, UNKNOWN_LIMIT_KEY, check_job_id,
    check_keys_differ,
};
use super::report::LimitReport;
use super::retry_after::RetryAfterSource;
use super::wait::{PRIORITY_DEFAULT, Wait};
use crate::limit::{Amount, LeaseId, LimitKey};

/// The most requirements of one reserve.
pub const REQUIREMENTS_MAX: usize = 32;

/// What one call wants from one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The limit.
    pub key: LimitKey,
    /// The amount wanted, in units of the limit.
    pub amount: Amount,
}

/// A valid reserve command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    /// Names the attempt.
    pub lease: LeaseId,
    /// For logs only; empty if there is none.
    pub job_id: String,
    requirements: Vec<Requirement>,
    wait: Wait,
}

impl Reserve {
    /// Checks the requirements and sorts them by key, because their order does not matter.
    pub fn new(
        lease: LeaseId,
        job_id: String,
        mut requirements: Vec<Requirement>,
    ) -> Result<Self, CommandError> {
        let field = "requirements";
        check_job_id(&job_id)?;
        if !(1..=REQUIREMENTS_MAX).contains(&requirements.len()) {
            return Err(CommandError::Count { field, min: 1, count: requirements.len() });
        }
        check_keys_differ(field, &requirements.iter().map(|requirement| &requirement.key))?;
        requirements.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { lease, job_id, requirements, wait: Wait::default() })
    }

    /// A reserve of one limit.
    pub fn of_one(lease: LeaseId, requirement: Requirement) -> Self {
        Self { lease, job_id: String::new(), requirements: vec![requirement], wait: Wait::default() }
    }

    /// Waits for room as `wait` says.
    pub fn with_wait(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    /// How long it waits for room, and with which priority. By default it does not wait.
    pub fn wait(&self) -> Wait {
        self.wait
    }

    /// The requirements, sorted by key: 1 to 32, no key twice.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }
}

/// The outcome of a reserve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// Everything is reserved.
    Granted {
        /// The time of the grant, in the ledger's milliseconds since the Unix epoch.
        reserved_at_unix_ms: u64,
        /// The limits that had too little room: they are in shadow mode, or the reserve was forced. The excess is debt.
        would_deny: Box<[LimitKey]>,
    },
    /// Nothing is reserved: a limit has no room now.
    NoRoom {
        /// The limit without room.
        key: LimitKey,
        /// The wait before the next attempt, which takes a new lease id, in milliseconds.
        retry_after_ms: u64,
        /// Whether the amount is known to fit then.
        retry_after_source: RetryAfterSource,
    },
    /// Nothing is reserved: a limit's capacity is being lowered.
    Decreasing {
        /// The limit.
        key: LimitKey,
        /// The wait before the next attempt, which takes a new lease id, in milliseconds.
        retry_after_ms: u64,
    },
    /// Nothing is reserved, and the same amount never will be: it is above the limit's capacity.
    ExceedsCapacity {
        /// The limit.
        key: LimitKey,
    },
    /// Nothing is reserved: no limit has this key.
    UnknownKey {
        /// The key.
        key: LimitKey,
    },
    /// Nothing is reserved: the template for this key has reached `max_instances`.
    TooManyInstances {
        /// The key.
        key: LimitKey,
    },
    /// The lease id was granted for other requirements.
    LeaseConflict,
    /// The lease was completed. A late duplicate must not start a second call.
    LeaseSettled,
    /// A part of the lease has expired. A complete still settles the rest.
    LeaseExpired,
}

impl ReserveOutcome {
    /// Everything is reserved, in full.
    pub fn granted(reserved_at_unix_ms: u64) -> Self {
        Self::Granted { reserved_at_unix_ms, would_deny: Box::default() }
    }

    /// The limit that denied the reserve, if one did. A key without a limit is none.
    pub fn denied_by(&self) -> Option<&LimitKey> {
        match self {
            Self::NoRoom { key, .. } | Self::Decreasing { key, .. } | Self::ExceedsCapacity { key } => {
                Some(key)
            }
            Self::Granted { .. }
            | Self::UnknownKey { .. }
            | Self::TooManyInstances { .. }
            | Self::LeaseConflict
            | Self::LeaseSettled
            | Self::LeaseExpired => None,
        }
    }
}

/// The body of a reserve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReserveBody {
    /// A ULID that names the attempt.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub lease_id: String,
    /// For logs only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(test, schema(max_length = 128))]
    pub job_id: String,
    /// 1 to 32.
    #[cfg_attr(test, schema(min_items = 1, max_items = 32))]
    pub requirements: Vec<RequirementBody>,
    /// Only asks whether everything would be granted. Nothing is reserved, and the lease id stays unused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Takes everything, whatever is free. The excess is debt.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// The longest wait for room, in milliseconds: 0 to 60,000.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 60000))]
    pub max_wait_ms: u64,
    /// The priority among those that wait, 0 to 9; 5 if left out. 9 is served first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(maximum = 9))]
    pub priority: Option<u64>,
    /// Whether the answer tells what is left of the limits.
    #[serde(default, skip_serializing_if = "is_false")]
    pub report: bool,
}

/// One requirement in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RequirementBody {
    /// The limit.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Key))]
    pub key: String,
    /// 1 to 2^63-1, or 0 to ask whether anything is free.
    #[cfg_attr(test, schema(maximum = 9_223_372_036_854_775_807_i64))]
    pub amount: u64,
}

/// The answer to a reserve; unused fields are `0` and `""`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ReserveAnswer {
    /// Whether everything is reserved.
    pub allowed: bool,
    /// The wait before the next attempt, in milliseconds.
    pub retry_after_ms: u64,
    /// Whether the amount is known to fit then, of a denial against which a wait helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_source: Option<RetryAfterSource>,
    /// The time of the grant, in the ledger's milliseconds since the Unix epoch.
    pub reserved_at_unix_ms: u64,
    /// Why nothing is reserved, if waiting does not help or the outcome is unknown.
    pub error: String,
    /// The limit that denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limiting_key: Option<String>,
    /// Whether the service granted it by itself, because the ledger did not answer. Its usage becomes debt.
    #[serde(default, skip_serializing_if = "is_false")]
    pub emergency: bool,
    /// What is left of the limits, if the request asks for it and the ledger tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<LimitReport>>,
    /// The limits that had too little room: they are in shadow mode, or the reserve was forced. The excess is debt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_deny: Vec<String>,
    /// The URL of the replica that holds a part of the lease in an allotment. Send it along with completes, extends and renewals
    /// of the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

pub(super) fn texts(keys: &[LimitKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
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
            dry_run: false,
            force: false,
            max_wait_ms: command.wait.max_ms(),
            priority: priority_unless_default(command.wait),
            report: false,
        }
    }
}

/// `None` for the default, which is left out.
fn priority_unless_default(wait: Wait) -> Option<u64> {
    (wait.priority() != PRIORITY_DEFAULT).then(|| wait.priority().into())
}

impl ReserveAnswer {
    /// An answer that reserves nothing and names an error.
    pub fn failed(error: &str) -> Self {
        Self {
            allowed: false,
            retry_after_ms: 0,
            retry_after_source: None,
            reserved_at_unix_ms: 0,
            error: error.to_owned(),
            limiting_key: None,
            emergency: false,
            limits: None,
            would_deny: Vec::new(),
            served_by: None,
        }
    }

    /// The answer of a service that decided without the ledger.
    pub fn without_ledger(outcome: ReserveOutcome) -> Self {
        let answer = Self::from(outcome);
        Self { emergency: answer.allowed, ..answer }
    }

    /// A denial against which a wait helps.
    fn denied_for(key: &LimitKey, retry_after_ms: u64, source: RetryAfterSource, error: &str) -> Self {
        Self { retry_after_ms, retry_after_source: Some(source), ..Self::denied(key, error) }
    }

    fn denied(key: &LimitKey, error: &str) -> Self {
        Self { limiting_key: Some(key.as_str().to_owned()), ..Self::failed(error) }
    }

    /// Reads the outcome.
    pub fn into_outcome(self) -> Result<ReserveOutcome, AnswerError> {
        let Self {
            allowed,
            retry_after_ms,
            retry_after_source,
            reserved_at_unix_ms,
            error,
            limiting_key,
            would_deny,
            emergency: _,
            limits: _,
            served_by: _,
        } = self;
        let unreadable = || AnswerError::Unreadable(error.clone());
        if allowed {
            let keys: Result<_, _> = would_deny.iter().map(|key| LimitKey::parse(key)).collect();
            let would_deny = keys.map_err(|_| unreadable())?;
            return Ok(ReserveOutcome::Granted { reserved_at_unix_ms, would_deny });
        }
        let key = || LimitKey::parse(limiting_key.as_deref().unwrap_or_default()).map_err(|_| unreadable());
        let (name, message) = error.split_once(':').unwrap_or((&error, ""));
        match name {
            "" => Ok(ReserveOutcome::NoRoom {
                key: key()?,
                retry_after_ms,
                // A service of an earlier version does not say.
                retry_after_source: retry_after_source.unwrap_or(RetryAfterSource::Estimate),
            }),
            LIMIT_DECREASING => Ok(ReserveOutcome::Decreasing { key: key()?, retry_after_ms }),
            EXCEEDS_CAPACITY => Ok(ReserveOutcome::ExceedsCapacity { key: key()? }),
            UNKNOWN_LIMIT_KEY => Ok(ReserveOutcome::UnknownKey { key: key()? }),
            TOO_MANY_INSTANCES => Ok(ReserveOutcome::TooManyInstances { key: key()? }),
            LEASE_CONFLICT => Ok(ReserveOutcome::LeaseConflict),
            LEASE_SETTLED => Ok(ReserveOutcome::LeaseSettled),
            LEASE_EXPIRED => Ok(ReserveOutcome::LeaseExpired),
            BACKEND_ERROR => Err(AnswerError::Unknown),
            INVALID_REQUEST => Err(AnswerError::Invalid(message.trim().to_owned())),
            FORBIDDEN => Err(AnswerError::Forbidden(message.trim().to_owned())),
            _ => Err(unreadable()),
        }
    }
}

impl From<ReserveOutcome> for ReserveAnswer {
    fn from(outcome: ReserveOutcome) -> Self {
        match outcome {
            ReserveOutcome::Granted { reserved_at_unix_ms, would_deny } => {
                let would_deny = texts(&would_deny);
                Self { allowed: true, reserved_at_unix_ms, would_deny, ..Self::failed("") }
            }
            ReserveOutcome::NoRoom { key, retry_after_ms, retry_after_source } => {
                Self::denied_for(&key, retry_after_ms, retry_after_source, "")
            }
            ReserveOutcome::Decreasing { key, retry_after_ms } => {
                let error = format!("{LIMIT_DECREASING}:{key}");
                Self::denied_for(&key, retry_after_ms, RetryAfterSource::Estimate, &error)
            }
            ReserveOutcome::ExceedsCapacity { key } => {
                Self::denied(&key, &format!("{EXCEEDS_CAPACITY}:{key}"))
            }
            ReserveOutcome::UnknownKey { key } => Self::denied(&key, &format!("{UNKNOWN_LIMIT_KEY}:{key}")),
            ReserveOutcome::TooManyInstances { key } => {
                Self::denied(&key, &format!("{TOO_MANY_INSTANCES}:{key}"))
            }
            ReserveOutcome::LeaseConflict => Self::failed(LEASE_CONFLICT),
            ReserveOutcome::LeaseSettled => Self::failed(LEASE_SETTLED),
            ReserveOutcome::LeaseExpired => Self::failed(LEASE_EXPIRED),
        }
    }
}

#[cfg(test)]
mod tests;
