//! The vocabulary: keys, amounts, ids, definitions and states of limits. A value of these types is always valid: a bad one is
//! refused when it is built, with the name of the field. [`json`] reads and writes definitions as JSON.

mod alerts;
mod allotment;
mod amount;
mod capacity;
mod definition;
mod error;
mod escape;
mod expected_version;
mod ids;
pub mod json;
mod key;
mod key_error;
mod kind;
mod kind_name;
mod on_unavailable;
mod queueing;
mod replica_url;
#[cfg(test)]
pub(crate) mod schema;
mod segments;
mod state;
mod template;
mod texts;
mod unit_micros;
mod wait_max;

pub use alerts::AlertThresholds;
pub use allotment::AllotmentPeriod;
pub use amount::{Amount, AmountError};
pub use capacity::Capacity;
pub use definition::{Definition, Overage};
pub use error::DefinitionError;
pub use escape::escape_segment;
pub use expected_version::ExpectedVersion;
pub use ids::{ExtendId, IdError, LeaseId, ReleaseId, RenewId, ReplenishId};
pub use key::LimitKey;
pub use key_error::{KEY_BYTES_MAX, KeyError};
pub use kind::{
    BucketRate, CalendarWindow, Concurrency, FixedWindow, Kind, KindFields, Period, REFILL_INTERVAL_MS_MAX,
    RateChange, RefillRate, RefillRateError, Rolling, SECONDS_MAX, SEGMENTS_MAX, SlidingWindow, TimeZoneName,
    TokenBucket,
};
pub(crate) use kind::{EncodedKind, Refill, ScheduledKind, Steps, Tick};
pub use kind_name::KindName;
pub use on_unavailable::{EmergencyShare, OnUnavailable};
pub use queueing::{QueueOrder, Queueing};
pub use replica_url::{REPLICA_URL_BYTES_MAX, ReplicaUrl, ReplicaUrlError};
pub use state::{LimitState, Origin, Status};
pub use template::{INSTANCES_MAX_DEFAULT, KeyTemplate};
pub use texts::{DESCRIPTION_BYTES_MAX, Texts, UNIT_BYTES_MAX};
pub use unit_micros::{UnitMicros, Worth};
pub use wait_max::WaitMax;
