//! Extend: `POST /v1/extend`. The answer is that of a reserve.

use serde::{Deserialize, Serialize};

use super::reserve::{Requirement, Reserve, ReserveOutcome};
use super::wait::{PRIORITY_DEFAULT, Wait};
use crate::limit::{Amount, ExtendId, LeaseId, LimitKey};

/// The most times that one lease can be extended.
pub const EXTENDS_MAX: usize = 32;

/// A valid extend command: reserve more of a limit that a running lease already holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extend {
    /// The lease, which already holds some of the limit.
    pub lease: LeaseId,
    /// Names the attempt.
    pub extend_id: ExtendId,
    /// The amount to add to the lease.
    pub requirement: Requirement,
}

impl Extend {
    /// The reserve command that asks for the same amount.
    pub fn as_reserve(&self) -> Reserve {
        Reserve::of_one(self.lease, self.requirement.clone())
    }
}

/// The outcome of an extend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtendOutcome {
    /// Granted or denied, as a reserve is. `LeaseSettled` means that the lease is unknown, settled or expired;
    /// `LeaseConflict` that the extend id was used for another amount or limit.
    Answered(ReserveOutcome),
    /// The lease does not hold the limit.
    NotInLease,
    /// The lease was extended [`EXTENDS_MAX`] times already.
    TooMany,
}

impl ExtendOutcome {
    /// The reserve outcome, or what is wrong with the command.
    pub fn answered(self) -> Result<ReserveOutcome, String> {
        match self {
            Self::Answered(outcome) => Ok(outcome),
            Self::NotInLease => Err("key is not in the lease".to_owned()),
            Self::TooMany => {
                Err(format!("lease_id names a lease that was extended {EXTENDS_MAX} times already"))
            }
        }
    }
}

/// The body of an extend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExtendBody {
    /// The running lease.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub lease_id: String,
    /// A ULID that names the attempt.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub extend_id: String,
    /// The limit, which the lease already holds.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Key))]
    pub key: String,
    /// The amount to add, 1 to 2^63-1.
    #[cfg_attr(test, schema(minimum = 1, maximum = 9_223_372_036_854_775_807_i64))]
    pub amount: u64,
    /// The longest wait for room, in milliseconds: 0 to 60,000. It ends with the lease.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 60000))]
    pub max_wait_ms: u64,
    /// The priority among those that wait, 0 to 9; 5 if left out. 9 is served first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(maximum = 9))]
    pub priority: Option<u64>,
    /// The `served_by` of the answer that granted the lease, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(max_length = 255))]
    pub served_by: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl ExtendBody {
    /// How long it waits for room; the error begins with the name of the bad field.
    pub fn wait(&self) -> Result<Wait, String> {
        let priority = self.priority.unwrap_or(PRIORITY_DEFAULT.into());
        Wait::new(self.max_wait_ms, priority).map_err(|error| error.to_string())
    }

    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_command(self) -> Result<Extend, String> {
        let lease = LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))?;
        let extend_id = ExtendId::parse(&self.extend_id).map_err(|error| format!("extend_id {error}"))?;
        let key = LimitKey::parse(&self.key).map_err(|error| format!("key {error}"))?;
        let amount = Amount::new(self.amount).map_err(|error| format!("amount {error}"))?;
        Ok(Extend { lease, extend_id, requirement: Requirement { key, amount } })
    }
}

impl From<&Extend> for ExtendBody {
    fn from(command: &Extend) -> Self {
        Self {
            lease_id: command.lease.to_string(),
            extend_id: command.extend_id.to_string(),
            key: command.requirement.key.as_str().to_owned(),
            amount: command.requirement.amount.get(),
            max_wait_ms: 0,
            priority: None,
            served_by: None,
        }
    }
}
