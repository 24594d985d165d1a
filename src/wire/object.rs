//! The JSON of `/v1/objects`.

use serde::{Deserialize, Serialize};

use crate::limit::{Amount, LeaseId, RefillRate};
use crate::limiter::{ObjectReservation, ObjectState};

/// `POST /v1/objects/{key}/try_reserve` and `POST /v1/objects/{key}/reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectReserveBody {
    /// 1 to 2^63-1.
    pub tokens: u64,
    /// A ULID that names the attempt; one is made if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_id: Option<String>,
}

/// The answer to a `try_reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectTryAnswer {
    /// Whether the tokens were there, and are taken.
    pub ok: bool,
    /// The attempt.
    pub lease_id: String,
}

/// The answer to a `reserve`; dates are in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectReserveAnswer {
    /// Whether it was made.
    pub ok: bool,
    /// How much it took.
    pub tokens: u64,
    /// When it was made.
    pub creation_date: u64,
    /// When all of it is there.
    pub date_to_act: u64,
    /// Per second.
    pub limit: f64,
    /// The attempt, by which it can be cancelled.
    pub lease_id: String,
}

/// `POST /v1/objects/{key}/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectCancelBody {
    /// The reservation.
    pub lease_id: String,
}

/// The answer to a `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCancelAnswer {
    /// Whether what it took is given back.
    pub ok: bool,
}

/// `POST /v1/objects/{key}/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectReleaseBody {
    /// 1 to 2^63-1.
    pub tokens: u64,
    /// A ULID that names the release, so that it can be repeated; one is made if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_id: Option<String>,
}

/// The answer to a `release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReleaseAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
    /// How many tokens can be taken at once.
    pub available_permits: u64,
}

/// The answer to `GET /v1/objects/{key}/available_permits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPermitsAnswer {
    /// How many tokens can be taken at once.
    pub available_permits: u64,
}

/// `PUT /v1/objects/{key}/rate`; the answer is that of a change of a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectRateBody {
    /// Per second, above 0.
    pub limit: f64,
    /// How much it holds, 1 to 2^63-1.
    pub burst: u64,
}

/// The answer to `GET /v1/objects/{key}/state`; dates are in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectStateAnswer {
    /// Per second.
    pub limit: f64,
    /// How much it holds.
    pub burst: u64,
    /// How much there is; below 0 if some of the future is taken.
    pub tokens: i64,
    /// When the last refill was due.
    pub last: u64,
    /// The latest date at which a reservation may act.
    pub last_event: u64,
}

impl ObjectReserveBody {
    /// Checks every field; the error begins with the name of the one that is wrong.
    pub fn into_parts(self) -> Result<(Amount, LeaseId), String> {
        Ok((tokens(self.tokens)?, given_or_fresh("lease_id", self.lease_id)?))
    }
}

impl ObjectReleaseBody {
    /// Checks every field; the error begins with the name of the one that is wrong.
    pub fn into_parts(self) -> Result<(Amount, LeaseId), String> {
        Ok((tokens(self.tokens)?, given_or_fresh("release_id", self.release_id)?))
    }
}

impl ObjectCancelBody {
    /// Checks the field; the error begins with its name.
    pub fn into_lease(self) -> Result<LeaseId, String> {
        LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))
    }
}

impl ObjectRateBody {
    /// Checks every field; the error begins with the name of the one that is wrong.
    pub fn into_parts(self) -> Result<(RefillRate, Amount), String> {
        let rate = RefillRate::per_second(self.limit).map_err(|error| format!("limit {error}"))?;
        Ok((rate, Amount::new(self.burst).map_err(|error| format!("burst {error}"))?))
    }
}

/// A ULID that a request may name, so that it can be repeated.
pub(super) fn given_or_fresh(field: &str, text: Option<String>) -> Result<LeaseId, String> {
    match text {
        Some(text) => LeaseId::parse(&text).map_err(|error| format!("{field} {error}")),
        None => Ok(LeaseId::generate()),
    }
}

fn tokens(tokens: u64) -> Result<Amount, String> {
    Amount::new(tokens).map_err(|error| format!("tokens {error}"))
}

impl ObjectReserveAnswer {
    /// The answer to an attempt.
    pub fn new(reservation: ObjectReservation, lease: LeaseId) -> Self {
        let ObjectReservation { ok, tokens, creation_date, date_to_act, limit } = reservation;
        Self { ok, tokens, creation_date, date_to_act, limit, lease_id: lease.to_string() }
    }

    /// What it says.
    pub fn into_reservation(self) -> ObjectReservation {
        let Self { ok, tokens, creation_date, date_to_act, limit, lease_id: _ } = self;
        ObjectReservation { ok, tokens, creation_date, date_to_act, limit }
    }
}

impl From<ObjectState> for ObjectStateAnswer {
    fn from(state: ObjectState) -> Self {
        let ObjectState { limit, burst, tokens, last, last_event } = state;
        Self { limit, burst, tokens, last, last_event }
    }
}

impl From<ObjectStateAnswer> for ObjectState {
    fn from(answer: ObjectStateAnswer) -> Self {
        let ObjectStateAnswer { limit, burst, tokens, last, last_event } = answer;
        Self { limit, burst, tokens, last, last_event }
    }
}
