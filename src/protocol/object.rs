//! A token bucket as an object per key: `/v1/objects/{key}/...`.

use serde::{Deserialize, Serialize};

use crate::limit::{Amount, BucketRate, Capacity, IdError, LeaseId, RateChange, ReleaseId};

/// The outcome of a reservation that may borrow tokens which the bucket will only have later.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectReservation {
    /// Whether it was made. It is not if the tokens exceed the burst, if the limit is closed, or if the wait would be too long.
    pub ok: bool,
    /// The tokens taken; 0 if it was not made.
    pub tokens: u64,
    /// When it was made or refused, in the ledger's milliseconds since the Unix epoch.
    pub creation_date: u64,
    /// When all its tokens are available, in the ledger's milliseconds since the Unix epoch; 0 if it was not made.
    pub date_to_act: u64,
    /// The refill rate at that time, in tokens per second.
    pub limit: f64,
    /// How long it would have waited, in milliseconds, if that is why it was not made; otherwise 0.
    pub wait_ms: u64,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectState {
    /// The refill rate in tokens per second; 0 if the bucket is refilled manually.
    pub limit: f64,
    /// The most tokens the bucket holds.
    pub burst: u64,
    /// Tokens available less tokens owed; below 0 if reservations have borrowed.
    pub tokens: i64,
    /// When the last refill was due, in the ledger's milliseconds since the Unix epoch.
    pub last: u64,
    /// The latest date to act of any reservation, in the ledger's milliseconds since the Unix epoch: when everything owed is
    /// repaid, or otherwise the latest that this process granted. 0 if none is known, and 2^64-1 if it is later than 64 bits
    /// can say: a large debt after a change to a slow rate.
    pub last_event: u64,
}

/// `POST /v1/objects/{key}/try_reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ObjectReserveBody {
    /// 1 to 2^63-1; 1 if left out.
    #[serde(default = "one")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 9_223_372_036_854_775_807_i64))]
    pub tokens: u64,
    /// A ULID that names the attempt; the server makes one if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<crate::limit::schema::Ulid>))]
    pub lease_id: Option<String>,
}

/// `POST /v1/objects/{key}/reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ObjectReserveAheadBody {
    /// 1 to 2^63-1; 1 if left out.
    #[serde(default = "one")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 9_223_372_036_854_775_807_i64))]
    pub tokens: u64,
    /// A ULID that names the attempt; the server makes one if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<crate::limit::schema::Ulid>))]
    pub lease_id: Option<String>,
    /// The longest that the reservation may wait, in milliseconds; as long as the definition allows if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait_ms: Option<u64>,
}

/// The answer to a `try_reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ObjectTryAnswer {
    /// Whether the tokens were available and are taken.
    pub ok: bool,
    /// Names the attempt.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub lease_id: String,
}

/// The answer to a `reserve`; dates are in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ObjectReserveAnswer {
    /// Whether it was made.
    pub ok: bool,
    /// The tokens taken.
    pub tokens: u64,
    /// When it was made.
    pub creation_date: u64,
    /// When all its tokens are available.
    pub date_to_act: u64,
    /// Tokens per second.
    pub limit: f64,
    /// Names the reservation, for `cancel`.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub lease_id: String,
    /// How long it would have waited, if it was not made because that is too long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub wait_ms: u64,
}

/// `POST /v1/objects/{key}/cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ObjectCancelBody {
    /// The reservation.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Ulid))]
    pub lease_id: String,
}

/// The answer to a `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ObjectCancelAnswer {
    /// Whether its tokens are released.
    pub ok: bool,
}

/// `POST /v1/objects/{key}/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ObjectReleaseBody {
    /// 1 to 2^63-1; 1 if left out.
    #[serde(default = "one")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 9_223_372_036_854_775_807_i64))]
    pub tokens: u64,
    /// A ULID that names the release, so that it can be repeated; the server makes one if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<crate::limit::schema::Ulid>))]
    pub release_id: Option<String>,
}

/// The answer to a `release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ObjectReleaseAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
    /// Tokens available now.
    pub available_permits: u64,
}

/// The answer to `GET /v1/objects/{key}/available_permits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ObjectPermitsAnswer {
    /// Tokens available now.
    pub available_permits: u64,
}

/// `PUT /v1/objects/{key}/rate`; the answer is that of a change of a limit. What is left out stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ObjectRateBody {
    /// Tokens per second. With 0 the bucket is not refilled by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(minimum = 0))]
    pub limit: Option<f64>,
    /// The most tokens the bucket holds, 0 to 2^63-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(maximum = 9_223_372_036_854_775_807_i64))]
    pub burst: Option<u64>,
}

/// The answer to `GET /v1/objects/{key}/state`; dates are in milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ObjectStateAnswer {
    /// Tokens per second.
    pub limit: f64,
    /// The most tokens the bucket holds.
    pub burst: u64,
    /// Tokens available less tokens owed; below 0 if reservations have borrowed.
    pub tokens: i64,
    /// When the last refill was due.
    pub last: u64,
    /// The latest date to act of any reservation.
    pub last_event: u64,
}

impl ObjectReserveBody {
    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_parts(self) -> Result<(Amount, LeaseId), String> {
        Ok((tokens(self.tokens)?, lease_or_new(self.lease_id)?))
    }
}

impl ObjectReserveAheadBody {
    /// Checks every field; the error begins with the name of the first bad one. The last part is the longest wait in
    /// milliseconds.
    pub fn into_parts(self) -> Result<(Amount, LeaseId, Option<u64>), String> {
        Ok((tokens(self.tokens)?, lease_or_new(self.lease_id)?, self.max_wait_ms))
    }
}

impl ObjectReleaseBody {
    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_parts(self) -> Result<(Amount, ReleaseId), String> {
        let release =
            self.release_id.map_or_else(|| Ok(ReleaseId::generate()), |text| ReleaseId::parse(&text));
        Ok((tokens(self.tokens)?, release.map_err(|error: IdError| format!("release_id {error}"))?))
    }
}

impl ObjectCancelBody {
    /// Checks the field; the error begins with its name.
    pub fn into_lease(self) -> Result<LeaseId, String> {
        LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))
    }
}

impl ObjectRateBody {
    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_change(self) -> Result<RateChange, String> {
        if self.limit.is_none() && self.burst.is_none() {
            return Err("limit or burst is required".to_owned());
        }
        let rate = self.limit.map(BucketRate::per_second).transpose();
        let burst = self.burst.map(Capacity::new).transpose();
        let rate = rate.map_err(|error| format!("limit {error}"))?;
        Ok(RateChange { rate, burst: burst.map_err(|error| format!("burst {error}"))? })
    }
}

fn one() -> u64 {
    1
}

fn lease_or_new(lease_id: Option<String>) -> Result<LeaseId, String> {
    let lease = lease_id.map_or_else(|| Ok(LeaseId::generate()), |text| LeaseId::parse(&text));
    lease.map_err(|error: IdError| format!("lease_id {error}"))
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn tokens(tokens: u64) -> Result<Amount, String> {
    Amount::new(tokens).map_err(|error| format!("tokens {error}"))
}

impl ObjectReserveAnswer {
    /// The answer to a reservation under this lease id.
    pub fn new(reservation: ObjectReservation, lease: LeaseId) -> Self {
        let ObjectReservation { ok, tokens, creation_date, date_to_act, limit, wait_ms } = reservation;
        let lease_id = lease.to_string();
        Self { ok, tokens, creation_date, date_to_act, limit, lease_id, wait_ms }
    }

    /// Reads the outcome.
    pub fn into_reservation(self) -> ObjectReservation {
        let Self { ok, tokens, creation_date, date_to_act, limit, lease_id: _, wait_ms } = self;
        ObjectReservation { ok, tokens, creation_date, date_to_act, limit, wait_ms }
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
