//! Renew: `POST /v1/renew`. The answer is that of a reserve; its `reserved_at_unix_ms` is the time of the renewal.

use serde::{Deserialize, Serialize};

use super::extend::EXTENDS_MAX;
use super::reserve::ReserveOutcome;
use crate::limit::{LeaseId, RenewId};

/// A valid renew command: the time-outs of the slots that a running lease holds begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renew {
    /// The running lease.
    pub lease: LeaseId,
    /// Names the attempt.
    pub renew_id: RenewId,
}

/// The outcome of a renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenewOutcome {
    /// `Granted` at the time of the renewal. `LeaseSettled` means that the lease is unknown or settled, `LeaseExpired` that
    /// a slot has timed out, `UnknownKey` that the limit of a slot was deleted.
    Answered(ReserveOutcome),
    /// The lease holds no slot of a concurrency limit.
    NoSlots,
    /// The lease was extended and renewed [`EXTENDS_MAX`] times already, or it holds too much for another renewal.
    TooMany,
}

impl RenewOutcome {
    /// The reserve outcome, or what is wrong with the command.
    pub fn answered(self) -> Result<ReserveOutcome, String> {
        match self {
            Self::Answered(outcome) => Ok(outcome),
            Self::NoSlots => {
                Err("lease_id names a lease that holds no slot of a concurrency limit".to_owned())
            }
            Self::TooMany => Err(format!(
                "lease_id names a lease that cannot be renewed again: extends and renewals are {EXTENDS_MAX} at most"
            )),
        }
    }
}

/// The body of a renew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RenewBody {
    /// The running lease.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub lease_id: String,
    /// A ULID that names the attempt.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub renew_id: String,
    /// The `served_by` of the answer that granted the lease, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(max_length = 255))]
    pub served_by: Option<String>,
}

impl RenewBody {
    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_command(self) -> Result<Renew, String> {
        let lease = LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))?;
        let renew_id = RenewId::parse(&self.renew_id).map_err(|error| format!("renew_id {error}"))?;
        Ok(Renew { lease, renew_id })
    }
}

impl From<&Renew> for RenewBody {
    fn from(command: &Renew) -> Self {
        Self { lease_id: command.lease.to_string(), renew_id: command.renew_id.to_string(), served_by: None }
    }
}
