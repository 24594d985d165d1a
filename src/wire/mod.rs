//! The JSON of the HTTP API and of the registry file: the only types that are written and read as text. What comes in
//! becomes a value of [`crate::limit`] or [`crate::decide::command`] before anything else looks at it.

mod object;
mod outcome;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use object::{
    ObjectCancelAnswer, ObjectCancelBody, ObjectPermitsAnswer, ObjectRateBody, ObjectReleaseAnswer,
    ObjectReleaseBody, ObjectReserveAnswer, ObjectReserveBody, ObjectStateAnswer, ObjectTryAnswer,
};
pub use outcome::{
    AnswerError, BACKEND_ERROR, INVALID_REQUEST, LEASE_CONFLICT, LEASE_SETTLED, TOO_MANY_INSTANCES,
    UNKNOWN_LIMIT_KEY,
};

use crate::decide::command::{Actual, Complete, Extend, Requirement, Reserve};
use crate::limit::{
    Amount, Definition, DefinitionError, Kind, KindFields, KindName, LeaseId, LimitKey, LimitState, Overage,
    Status,
};

/// `POST /v1/reserve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReserveBody {
    /// A ULID that names the attempt.
    pub lease_id: String,
    /// For logs only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job_id: String,
    /// 1 to 32.
    pub requirements: Vec<RequirementBody>,
}

/// What a call wants from one limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequirementBody {
    /// The limit.
    pub key: String,
    /// 1 to 2^63-1.
    pub amount: u64,
}

/// The answer to a reserve; unused fields are `0` and `""`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveAnswer {
    /// Whether everything is reserved.
    pub allowed: bool,
    /// When to come back, with a new lease id.
    pub retry_after_ms: u64,
    /// When it was reserved, in the ledger's time.
    pub reserved_at_unix_ms: u64,
    /// Why it is not allowed, where waiting does not help or the outcome is unknown.
    pub error: String,
    /// Of a denial, the key that denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limiting_key: Option<String>,
}

/// `POST /v1/extend`; the answer is that of a reserve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtendBody {
    /// The lease, which is running.
    pub lease_id: String,
    /// A ULID that names the attempt.
    pub extend_id: String,
    /// The limit, of which the lease holds some.
    pub key: String,
    /// How much more, 1 to 2^63-1.
    pub amount: u64,
}

/// `POST /v1/complete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteBody {
    /// The lease to settle.
    pub lease_id: String,
    /// For logs only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub job_id: String,
    /// What was used; may be empty or name some of the lease's keys.
    #[serde(default)]
    pub actuals: Vec<ActualBody>,
}

/// What a call used of one limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActualBody {
    /// The limit.
    pub key: String,
    /// 0 to 2^63-1.
    pub actual_amount: u64,
}

/// The answer to a complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompleteAnswer {
    /// Whether the lease is settled.
    pub ok: bool,
    /// Why not, or `""`.
    pub error: String,
}

/// `POST /v1/reserve/batch` and `POST /v1/complete/batch`. The items are read one by one, so that a bad one spoils
/// only itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchBody<'a> {
    /// 1 to 256 by default.
    #[serde(borrow)]
    pub requests: Vec<&'a RawValue>,
}

/// The answers to a batch, in the order of its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAnswer<T> {
    /// One for each request.
    pub results: Vec<T>,
}

/// `PUT /v1/admin/limits`, and the definition inside other bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefinitionBody {
    /// The limit's name.
    pub key: String,
    /// How reservations come back.
    pub kind: KindBody,
    /// 1 to 2^63-1.
    pub capacity: u64,
    /// For rolling limits and windows, else 0.
    #[serde(default)]
    pub window_seconds: u64,
    /// For concurrency limits, else 0.
    #[serde(default)]
    pub timeout_seconds: u64,
    /// For fixed windows: how many seconds after a multiple of its length a window begins.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub align: u64,
    /// For sliding windows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub segments: u64,
    /// For buckets: what a refill puts in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refill_amount: u64,
    /// For buckets: the time between two refills.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refill_interval_ms: u64,
    /// For buckets: whether they are refilled by time, true if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_replenish: Option<bool>,
    /// For templates: how many limits they may make.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_instances: u64,
    /// At most 64 bytes.
    #[serde(default)]
    pub unit: String,
    /// At most 1,024 bytes.
    #[serde(default)]
    pub description: String,
    /// What becomes of usage above the reservation.
    #[serde(default)]
    pub overage: OverageBody,
}

/// See [`KindName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum KindBody {
    Rolling,
    Concurrency,
    TokenBucket,
    FixedWindow,
    SlidingWindow,
}

/// See [`Overage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum OverageBody {
    #[default]
    Debt,
    Deny,
}

/// See [`Status`]; a deleted limit is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum StatusBody {
    Active,
    Decreasing,
}

/// The answer to a change of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
    /// `decreasing` while a lower capacity waits to be applied.
    pub status: StatusBody,
}

/// The answer to a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
}

/// `POST /v1/admin/limits/{key}/replenish`; may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplenishBody {
    /// A ULID that names the refill, so that it can be repeated; one is made if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replenish_id: Option<String>,
}

/// The answer to a replenishment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplenishAnswer {
    /// Always true; failures have another body.
    pub ok: bool,
    /// Whether it was refilled: false if time does that, or if it is no bucket.
    pub replenished: bool,
}

/// An entry of the registry file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryEntryBody {
    /// What the operator said; its capacity is the current one.
    pub definition: DefinitionBody,
    /// Whether a lower capacity waits.
    pub status: StatusBody,
    /// That capacity, or 0.
    pub pending_decrease_to: u64,
}

/// A limit as the admin API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitInfo {
    /// What the operator said; its capacity is the current one.
    pub definition: DefinitionBody,
    /// Whether a lower capacity waits.
    pub status: StatusBody,
    /// That capacity, or 0.
    pub pending_decrease_to: u64,
    /// What the ledger says of it.
    pub usage: UsageBody,
}

/// What is used of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageBody {
    /// What can be reserved now.
    pub available: u128,
    /// What is reserved.
    pub reserved: u128,
    /// What was used beyond what could be reserved, ever.
    pub debt: u128,
}

/// The answer to `GET /v1/admin/limits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsAnswer {
    /// Sorted by key.
    pub limits: Vec<LimitInfo>,
}

/// The answer to `GET /v1/admin/limits/{key}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitAnswer {
    /// The limit.
    pub limit: LimitInfo,
}

/// The answer to `GET /v1/admin/limits/{key}/history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// Oldest first.
    pub versions: Vec<VersionBody>,
}

/// A version that a limit had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionBody {
    /// Counts the changes; the first is 1.
    pub version: u64,
    /// When it came into force, in the ledger's time.
    pub at_unix_ms: u64,
    /// `active`, `decreasing` or `deleted`.
    pub status: String,
    /// What the operator said; its capacity is the one in force.
    pub definition: DefinitionBody,
    /// The capacity that waited, or 0.
    pub pending_decrease_to: u64,
}

/// Every failure that has no body of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A short name of the failure.
    pub error: String,
    /// What it is, for people.
    pub message: String,
}

impl ReserveBody {
    /// Checks every field; the error begins with the name of the one that is wrong.
    pub fn into_command(self) -> Result<Reserve, String> {
        let lease = LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))?;
        let requirement = |(index, body): (usize, RequirementBody)| {
            let place =
                |field: &str, error: &dyn std::fmt::Display| format!("requirements[{index}].{field} {error}");
            let key = LimitKey::parse(&body.key).map_err(|error| place("key", &error))?;
            let amount = Amount::new(body.amount).map_err(|error| place("amount", &error))?;
            Ok(Requirement { key, amount })
        };
        let requirements: Result<Vec<_>, String> =
            self.requirements.into_iter().enumerate().map(requirement).collect();
        Reserve::new(lease, self.job_id, requirements?).map_err(|error| error.to_string())
    }
}

impl CompleteBody {
    /// Checks every field; the error begins with the name of the one that is wrong.
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

impl ExtendBody {
    /// Checks every field; the error begins with the name of the one that is wrong.
    pub fn into_command(self) -> Result<Extend, String> {
        let lease = LeaseId::parse(&self.lease_id).map_err(|error| format!("lease_id {error}"))?;
        let extension = LeaseId::parse(&self.extend_id).map_err(|error| format!("extend_id {error}"))?;
        let key = LimitKey::parse(&self.key).map_err(|error| format!("key {error}"))?;
        let amount = Amount::new(self.amount).map_err(|error| format!("amount {error}"))?;
        Ok(Extend { lease, extension, requirement: Requirement { key, amount } })
    }
}

impl ReplenishBody {
    /// Checks the field; the error begins with its name.
    pub fn into_id(self) -> Result<LeaseId, String> {
        object::given_or_fresh("replenish_id", self.replenish_id)
    }
}

impl DefinitionBody {
    /// Checks every field; the error begins with the name of the one that is wrong.
    pub fn into_definition(self) -> Result<Definition, DefinitionError> {
        let kind = match self.kind {
            KindBody::Rolling => KindName::Rolling,
            KindBody::Concurrency => KindName::Concurrency,
            KindBody::TokenBucket => KindName::TokenBucket,
            KindBody::FixedWindow => KindName::FixedWindow,
            KindBody::SlidingWindow => KindName::SlidingWindow,
        };
        let fields = KindFields {
            window_seconds: self.window_seconds,
            timeout_seconds: self.timeout_seconds,
            align: self.align,
            segments: self.segments,
            refill_amount: self.refill_amount,
            refill_interval_ms: self.refill_interval_ms,
            auto_replenish: self.auto_replenish,
        };
        let overage = match self.overage {
            OverageBody::Debt => Overage::Debt,
            OverageBody::Deny => Overage::Deny,
        };
        Definition::new(
            LimitKey::parse_name(&self.key)?,
            Kind::from_fields(kind, &fields)?,
            Amount::new(self.capacity).map_err(DefinitionError::Capacity)?,
            &self.unit,
            &self.description,
            overage,
        )?
        .with_instances_max(self.max_instances)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<&Definition> for DefinitionBody {
    fn from(definition: &Definition) -> Self {
        let fields = definition.kind.fields();
        Self {
            key: definition.key.as_str().to_owned(),
            kind: match definition.kind.name() {
                KindName::Rolling => KindBody::Rolling,
                KindName::Concurrency => KindBody::Concurrency,
                KindName::TokenBucket => KindBody::TokenBucket,
                KindName::FixedWindow => KindBody::FixedWindow,
                KindName::SlidingWindow => KindBody::SlidingWindow,
            },
            capacity: definition.capacity.get(),
            window_seconds: fields.window_seconds,
            timeout_seconds: fields.timeout_seconds,
            align: fields.align,
            segments: fields.segments,
            refill_amount: fields.refill_amount,
            refill_interval_ms: fields.refill_interval_ms,
            auto_replenish: fields.auto_replenish,
            max_instances: definition.instances_max.map_or(0, Amount::get),
            unit: definition.texts.unit().to_owned(),
            description: definition.texts.description().to_owned(),
            overage: match definition.overage {
                Overage::Debt => OverageBody::Debt,
                Overage::Deny => OverageBody::Deny,
            },
        }
    }
}

impl RegistryEntryBody {
    /// Checks every field; the error says what is wrong.
    pub fn into_state(self) -> Result<LimitState, String> {
        let definition = self.definition.into_definition().map_err(|error| format!("definition.{error}"))?;
        let status = match (self.status, self.pending_decrease_to) {
            (StatusBody::Active, 0) => Status::Active,
            (StatusBody::Active, _) => {
                return Err("pending_decrease_to must be 0 for an active limit".to_owned());
            }
            (StatusBody::Decreasing, to) => {
                let to = Amount::new(to).map_err(|error| format!("pending_decrease_to {error}"))?;
                if to >= definition.capacity {
                    return Err("pending_decrease_to must be below the capacity".to_owned());
                }
                Status::Decreasing { to }
            }
        };
        Ok(LimitState { status, ..LimitState::active(definition) })
    }
}

impl From<&LimitState> for RegistryEntryBody {
    fn from(state: &LimitState) -> Self {
        let (status, pending_decrease_to) = StatusBody::of(state.status);
        Self { definition: DefinitionBody::from(&state.definition), status, pending_decrease_to }
    }
}

impl StatusBody {
    /// The status and the capacity that waits, 0 if none.
    pub fn of(status: Status) -> (Self, u64) {
        match status {
            Status::Active | Status::Deleted => (Self::Active, 0),
            Status::Decreasing { to } => (Self::Decreasing, to.get()),
        }
    }
}
