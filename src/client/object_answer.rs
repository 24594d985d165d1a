//! What a bucket answers, as an object per key.

use std::time::{Duration, SystemTime};

use super::time::{some_system_time, system_time};
use crate::protocol;

/// The outcome of a reservation that may borrow tokens of later refills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectReservation {
    /// Whether it was made. It is not if the tokens exceed the burst, if the limit is closed, or if the wait would be
    /// too long.
    pub ok: bool,
    /// The tokens taken; 0 if it was not made.
    pub tokens: u64,
    /// When it was made or refused, in the ledger's time.
    pub creation_date: SystemTime,
    /// When all its tokens are available, in the ledger's time; `None` if it was not made.
    pub date_to_act: Option<SystemTime>,
    /// The refill rate at that time, in tokens per second.
    pub limit: f64,
    /// How long it would have waited, if it was not made because that is too long; otherwise `None`.
    pub too_long_wait: Option<Duration>,
}

/// The state of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectState {
    /// The refill rate, in tokens per second; 0 if the bucket is refilled manually.
    pub limit: f64,
    /// The most tokens the bucket holds.
    pub burst: u64,
    /// Tokens available less tokens owed; below 0 if reservations have borrowed.
    pub tokens: i64,
    /// When the last refill was due, in the ledger's time.
    pub last: SystemTime,
    /// The latest date to act of any reservation, in the ledger's time: when everything owed is repaid, or else the
    /// latest that the limiter granted. `None` if none is known.
    pub last_event: Option<SystemTime>,
}

impl ObjectReservation {
    pub(super) fn of(reservation: protocol::ObjectReservation) -> Self {
        let protocol::ObjectReservation { ok, tokens, creation_date, date_to_act, limit, wait_ms } =
            reservation;
        let (creation_date, date_to_act) = (system_time(creation_date), some_system_time(date_to_act));
        let too_long_wait = (wait_ms > 0).then(|| Duration::from_millis(wait_ms));
        Self { ok, tokens, creation_date, date_to_act, limit, too_long_wait }
    }
}

impl ObjectState {
    pub(super) fn of(state: protocol::ObjectState) -> Self {
        let protocol::ObjectState { limit, burst, tokens, last, last_event } = state;
        Self { limit, burst, tokens, last: system_time(last), last_event: some_system_time(last_event) }
    }
}

/// The answers of a bucket without a limit, which asks nobody.
pub(super) mod unlimited {
    use super::{ObjectReservation, ObjectState, SystemTime};

    /// The tokens available at any time.
    pub(in crate::client) const TOKENS: u64 = i64::MAX.cast_unsigned();

    /// A reservation that acts at once.
    pub(in crate::client) fn reservation(tokens: u64) -> ObjectReservation {
        let now = SystemTime::now();
        ObjectReservation {
            ok: true,
            tokens,
            creation_date: now,
            date_to_act: Some(now),
            limit: f64::INFINITY,
            too_long_wait: None,
        }
    }

    /// The state at any time.
    pub(in crate::client) fn state() -> ObjectState {
        ObjectState {
            limit: f64::INFINITY,
            burst: TOKENS,
            tokens: TOKENS.cast_signed(),
            last: SystemTime::now(),
            last_event: None,
        }
    }
}
