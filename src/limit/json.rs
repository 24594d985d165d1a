//! Definitions and limit states as JSON: in admin requests and answers, and in the registry file.

mod queue;

use serde::{Deserialize, Serialize};

use super::{
    AlertThresholds, AllotmentPeriod, Amount, Capacity, Definition, DefinitionError, EmergencyShare, Kind,
    KindFields, KindName, LimitKey, LimitState, OnUnavailable, Overage, Period, Queueing, Status,
    TimeZoneName, UnitMicros, WaitMax,
};
pub use queue::{QueueJson, QueueOrderJson};

/// A definition: the body of `PUT /v1/admin/limits`, and a part of other bodies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DefinitionJson {
    /// The limit's name.
    #[cfg_attr(test, schema(value_type = crate::limit::schema::Name))]
    pub key: String,
    /// How reserved capacity becomes available again.
    pub kind: KindJson,
    /// 1 to 2^63-1, or 0 for a limit that is paused.
    #[cfg_attr(test, schema(maximum = 9_223_372_036_854_775_807_i64))]
    pub capacity: u64,
    /// For rolling limits and windows, else 0.
    #[serde(default)]
    #[cfg_attr(test, schema(maximum = 31622400))]
    pub window_seconds: u64,
    /// For fixed and sliding windows whose length is not given in seconds: in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 31_622_400_000_i64))]
    pub window_ms: u64,
    /// For concurrency limits, else 0.
    #[serde(default)]
    #[cfg_attr(test, schema(maximum = 31622400))]
    pub timeout_seconds: u64,
    /// For fixed windows: a window begins this many seconds after a multiple of its length, counted from the Unix epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 31_622_399))]
    pub align: u64,
    /// For sliding windows: the number of segments.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 60))]
    pub segments: u64,
    /// For buckets: the tokens that one refill adds.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 9_223_372_036_854_775_807_i64))]
    pub refill_amount: u64,
    /// For buckets: the time between two refills, or of `refills_per_interval` of them, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 31_622_400_000_i64))]
    pub refill_interval_ms: u64,
    /// For buckets: the refills in an interval, evenly spread; 1 if left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refills_per_interval: u64,
    /// For buckets, fixed and sliding windows: whether time refills them; true if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_replenish: Option<bool>,
    /// For calendar windows: the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Period>,
    /// For calendar windows: the time zone by its IANA name, such as `Europe/Berlin`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub time_zone: String,
    /// For calendar windows: the hour, weekday, day or month at which a window begins, by the period; the first if left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub starts_at: u64,
    /// For buckets: the longest that a reservation ahead may wait, in milliseconds; 366 days if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 31_622_400_000_i64))]
    pub max_wait_ms: Option<u64>,
    /// For templates: the most instances they may make.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[cfg_attr(test, schema(maximum = 9_223_372_036_854_775_807_i64))]
    pub max_instances: u64,
    /// At most 64 bytes.
    #[serde(default)]
    #[cfg_attr(test, schema(max_length = 64))]
    pub unit: String,
    /// What one unit of the limit is worth, in millionths of what `unit` names; left out if a unit is one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(minimum = 1, maximum = 1_000_000_000_000_i64))]
    pub unit_micros: Option<u64>,
    /// At most 1,024 bytes.
    #[serde(default)]
    #[cfg_attr(test, schema(max_length = 1024))]
    pub description: String,
    /// What happens to overage that finds no room.
    #[serde(default)]
    pub overage: OverageJson,
    /// What happens to callers while the ledger does not answer; `deny` if left out.
    #[serde(default, skip_serializing_if = "OnUnavailableJson::is_default")]
    pub on_unavailable: OnUnavailableJson,
    /// With `on_unavailable: "allow"`: how much each replica grants by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<EmergencyJson>,
    /// Whether the limit denies; true if left out.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enforce: bool,
    /// How callers wait for the limit at the server; oldest first, without a bound of its own, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueJson>,
    /// Lets replicas serve callers from allotments; every reserve asks the ledger if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allotment: Option<AllotmentJson>,
    /// The percents of the capacity whose crossing is an event, in ascending order; none if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schema(value_type = Vec<u8>, max_items = 8))]
    pub alerts: Vec<u64>,
}

/// How reserved capacity becomes available again; see [`KindName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum KindJson {
    Rolling,
    Concurrency,
    TokenBucket,
    FixedWindow,
    SlidingWindow,
    Calendar,
}

/// What happens to overage that finds no room; see [`Overage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum OverageJson {
    #[default]
    Debt,
    Deny,
}

/// What happens to callers while the ledger does not answer; see [`OnUnavailable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum OnUnavailableJson {
    #[default]
    Deny,
    Allow,
}

/// How much each replica grants by itself in an outage; see [`EmergencyShare`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct EmergencyJson {
    /// The part of the capacity that one replica grants in one outage: above 0, at most 1, with at most six decimals.
    #[cfg_attr(test, schema(exclusive_minimum = 0, maximum = 1))]
    pub capacity_share: f64,
    /// The first seconds of an outage, in which a replica grants: 1 to 3,600.
    #[cfg_attr(test, schema(minimum = 1, maximum = 3600))]
    pub seconds: u64,
}

/// See [`AllotmentPeriod`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AllotmentJson {
    /// How long a replica serves callers from one allotment: 100 to 10,000.
    #[cfg_attr(test, schema(minimum = 100, maximum = 10000))]
    pub period_ms: u64,
}

/// Whether a lower capacity waits to be applied; see [`Status`]. A deleted limit is never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum StatusJson {
    Active,
    Decreasing,
}

/// A limit in the registry file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitStateJson {
    /// The definition; its capacity is the current one.
    pub definition: DefinitionJson,
    /// Whether a lower capacity waits to be applied.
    pub status: StatusJson,
    /// The capacity that waits; 0 if none does.
    pub pending_decrease_to: u64,
}

impl DefinitionJson {
    /// Checks every field; the error begins with the name of the first bad one.
    pub fn into_definition(self) -> Result<Definition, DefinitionError> {
        let kind = match self.kind {
            KindJson::Rolling => KindName::Rolling,
            KindJson::Concurrency => KindName::Concurrency,
            KindJson::TokenBucket => KindName::TokenBucket,
            KindJson::FixedWindow => KindName::FixedWindow,
            KindJson::SlidingWindow => KindName::SlidingWindow,
            KindJson::Calendar => KindName::Calendar,
        };
        let fields = KindFields {
            window_seconds: self.window_seconds,
            window_ms: self.window_ms,
            timeout_seconds: self.timeout_seconds,
            align: self.align,
            segments: self.segments,
            refill_amount: self.refill_amount,
            refill_interval_ms: self.refill_interval_ms,
            refills_per_interval: self.refills_per_interval,
            auto_replenish: self.auto_replenish,
            period: self.period,
            time_zone: (!self.time_zone.is_empty())
                .then(|| TimeZoneName::parse(&self.time_zone))
                .transpose()?,
            starts_at: self.starts_at,
        };
        let overage = match self.overage {
            OverageJson::Debt => Overage::Debt,
            OverageJson::Deny => Overage::Deny,
        };
        let definition = Definition::new(
            LimitKey::parse_name(&self.key)?,
            Kind::from_fields(kind, &fields)?,
            Capacity::new(self.capacity).map_err(DefinitionError::Capacity)?,
            &self.unit,
            &self.description,
            overage,
        )?
        .with_instances_max(self.max_instances)?;
        let definition = match self.max_wait_ms {
            Some(ms) => definition.with_max_wait_ms(ms)?,
            None => definition,
        };
        let definition = match self.allotment {
            Some(AllotmentJson { period_ms }) => {
                definition.with_allotment(AllotmentPeriod::new(period_ms)?)?
            }
            None => definition,
        };
        let definition = match self.unit_micros {
            Some(micros) => definition.with_unit_micros(UnitMicros::new(micros)?)?,
            None => definition,
        };
        Ok(Definition {
            on_unavailable: on_unavailable(self.on_unavailable, self.emergency)?,
            queueing: self.queue.map_or_else(Queueing::default, QueueJson::queueing),
            enforce: self.enforce,
            alerts: AlertThresholds::new(&self.alerts)?,
            ..definition
        })
    }
}

fn on_unavailable(
    choice: OnUnavailableJson,
    emergency: Option<EmergencyJson>,
) -> Result<OnUnavailable, DefinitionError> {
    match (choice, emergency) {
        (OnUnavailableJson::Deny, None) => Ok(OnUnavailable::Deny),
        (OnUnavailableJson::Allow, Some(EmergencyJson { capacity_share, seconds })) => {
            EmergencyShare::new(capacity_share, seconds).map(OnUnavailable::Allow)
        }
        (OnUnavailableJson::Allow, None) => Err(DefinitionError::NoEmergency),
        (OnUnavailableJson::Deny, Some(_)) => Err(DefinitionError::UnusedEmergency),
    }
}

impl OnUnavailableJson {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<EmergencyShare> for EmergencyJson {
    fn from(share: EmergencyShare) -> Self {
        Self { capacity_share: share.capacity_share(), seconds: u64::from(share.seconds()) }
    }
}

/// `None` for the default, which is left out.
fn max_wait_ms(wait_max: WaitMax) -> Option<u64> {
    (wait_max != WaitMax::default()).then(|| wait_max.ms())
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<&Definition> for DefinitionJson {
    fn from(definition: &Definition) -> Self {
        let fields = definition.kind.fields();
        let (on_unavailable, emergency) = match definition.on_unavailable {
            OnUnavailable::Deny => (OnUnavailableJson::Deny, None),
            OnUnavailable::Allow(share) => (OnUnavailableJson::Allow, Some(share.into())),
        };
        Self {
            key: definition.key.as_str().to_owned(),
            kind: match definition.kind.name() {
                KindName::Rolling => KindJson::Rolling,
                KindName::Concurrency => KindJson::Concurrency,
                KindName::TokenBucket => KindJson::TokenBucket,
                KindName::FixedWindow => KindJson::FixedWindow,
                KindName::SlidingWindow => KindJson::SlidingWindow,
                KindName::Calendar => KindJson::Calendar,
            },
            capacity: definition.capacity.get(),
            window_seconds: fields.window_seconds,
            window_ms: fields.window_ms,
            timeout_seconds: fields.timeout_seconds,
            align: fields.align,
            segments: fields.segments,
            refill_amount: fields.refill_amount,
            refill_interval_ms: fields.refill_interval_ms,
            refills_per_interval: fields.refills_per_interval,
            auto_replenish: fields.auto_replenish,
            period: fields.period,
            time_zone: fields.time_zone.map_or_else(String::new, |zone| zone.as_str().to_owned()),
            starts_at: fields.starts_at,
            max_wait_ms: max_wait_ms(definition.wait_max),
            max_instances: definition.instances_max.map_or(0, Amount::get),
            unit: definition.texts.unit().to_owned(),
            unit_micros: definition.unit_micros.map(UnitMicros::get),
            description: definition.texts.description().to_owned(),
            overage: match definition.overage {
                Overage::Debt => OverageJson::Debt,
                Overage::Deny => OverageJson::Deny,
            },
            on_unavailable,
            emergency,
            enforce: definition.enforce,
            queue: QueueJson::of(definition.queueing),
            allotment: definition.allotment.map(|period| AllotmentJson { period_ms: period.ms() }),
            alerts: definition.alerts.percents().collect(),
        }
    }
}

impl LimitStateJson {
    /// Checks every field; the error says what is wrong.
    pub fn into_state(self) -> Result<LimitState, String> {
        let definition = self.definition.into_definition().map_err(|error| format!("definition.{error}"))?;
        let status = match (self.status, self.pending_decrease_to) {
            (StatusJson::Active, 0) => Status::Active,
            (StatusJson::Active, _) => {
                return Err("pending_decrease_to must be 0 for an active limit".to_owned());
            }
            (StatusJson::Decreasing, to) => {
                let to = Capacity::new(to).map_err(|error| format!("pending_decrease_to {error}"))?;
                if to >= definition.capacity {
                    return Err("pending_decrease_to must be below the capacity".to_owned());
                }
                Status::Decreasing { to }
            }
        };
        Ok(LimitState { status, ..LimitState::active(definition) })
    }
}

impl From<&LimitState> for LimitStateJson {
    fn from(state: &LimitState) -> Self {
        let (status, pending_decrease_to) = StatusJson::of(state.status);
        Self { definition: DefinitionJson::from(&state.definition), status, pending_decrease_to }
    }
}

impl StatusJson {
    /// The status, and the capacity that waits to be applied or 0.
    pub fn of(status: Status) -> (Self, u64) {
        match status {
            Status::Active | Status::Deleted | Status::Retired => (Self::Active, 0),
            Status::Decreasing { to } => (Self::Decreasing, to.get()),
        }
    }
}
