//! The codec of definition versions: a version is stored in the user data of zero-amount transfers, 24 bytes in each.
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | format, 1 |
//! | 2 | length of the rest, little-endian |
//! | n | `EncodedDefinition` in postcard's encoding |
//! | m | `EncodedTemplateFields` in postcard's encoding, for templates and instances, and if a later part follows |
//! | k | `EncodedBucketFields` in postcard's encoding, for buckets that bound the wait of reservations ahead, and if a later part follows |
//! | a | the versions that gave the limit a new account, in postcard's encoding, if there are any, and if a later part follows |
//! | j | `EncodedSchedule` in postcard's encoding, for versions that replace a refill schedule, and if a later part follows |
//! | e | `EncodedEmergency` in postcard's encoding, for limits that grant while the ledger does not answer, and if a later part follows |
//! | s | `EncodedEnforcement` in postcard's encoding, for limits in shadow mode, and if a later part follows |
//! | w | `EncodedWindow` in postcard's encoding, for versions that start the schedule of a calendar window, and if a later part follows |
//! | q | `EncodedQueue` in postcard's encoding, for limits that say how callers wait, and if a later part follows |
//! | p | `EncodedAllotment` in postcard's encoding, for limits with allotments, and if a later part follows |
//! | u | `EncodedUnitMicros` in postcard's encoding, for limits whose unit is worth a part of what it names, and if a later part follows |
//! | t | `EncodedAlerts` in postcard's encoding, for limits with alerts |
//!
//! The parts are numbered from 0 in the short user data. A chain is atomic, so the parts of a version are consecutive in the
//! log.

use serde::{Deserialize, Serialize};

use crate::ledger::{Recorded, UserData};
use crate::limit::{
    AlertThresholds, AllotmentPeriod, Amount, Capacity, Definition, EmergencyShare, EncodedKind, Kind,
    LimitKey, LimitState, OnUnavailable, Origin, Overage, QueueOrder, Queueing, Status, UnitMicros, WaitMax,
};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 3;
const PART_BYTES: usize = 24;

/// One version of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionVersion {
    /// The number of the version; the first of a key is 1.
    pub number: u64,
    /// The state of the limit from this version on.
    pub state: LimitState,
    /// From when the steps of its refill schedule count, in nanoseconds since the Unix epoch, if it replaced a schedule.
    /// `None` also for the versions that 0.1 wrote.
    pub schedule_since_ns: Option<u64>,
    /// When the first window of a calendar window ends, in milliseconds since the Unix epoch, if it started that schedule.
    pub first_window_ends_ms: Option<u64>,
    /// When it took effect, in the ledger's nanoseconds.
    pub timestamp_ns: u64,
}

/// Why a version cannot be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A part is missing, or the parts are out of order.
    #[error("the log holds part {found} of a definition where part {expected} is expected")]
    PartOutOfOrder {
        /// The part expected.
        expected: u32,
        /// The part found.
        found: u32,
    },
    /// Another version of this program wrote the definition.
    #[error("a definition has format {0}, and this program reads format {FORMAT}")]
    Format(u8),
    /// The bytes are damaged.
    #[error("a definition is damaged")]
    Body(#[source] postcard::Error),
    /// The bytes decode to a definition that is not valid.
    #[error("a definition is invalid: {0}")]
    Invalid(String),
    /// The encoded definition is longer than its length field can say.
    #[error("the encoded definition takes {0} bytes; at most 65535 fit")]
    TooLong(usize),
}

/// A definition and its status as stored. Enums may only grow at their end; any other change needs a new [`FORMAT`].
#[derive(Serialize, Deserialize)]
struct EncodedDefinition {
    number: u64,
    key: String,
    kind: EncodedKind,
    capacity: u64,
    unit: String,
    description: String,
    overage: EncodedOverage,
    status: EncodedStatus,
}

/// The fields of templates and instances, stored behind the definition.
#[derive(Serialize, Deserialize, Default)]
struct EncodedTemplateFields {
    instances_max: Option<u64>,
    origin: Option<(String, u64)>,
}

/// The fields of buckets that bound the wait of reservations ahead, stored behind the template fields. Earlier
/// versions of this program ignore them.
#[derive(Clone, Copy, Serialize, Deserialize, Default)]
struct EncodedBucketFields {
    /// 0 for the default, if a part behind this one is stored.
    max_wait_ms: u64,
}

/// The fields of versions that replace a refill schedule.
#[derive(Serialize, Deserialize, Default)]
struct EncodedSchedule {
    /// 0 if the version replaces none, and a part behind this one is stored.
    since_ns: u64,
}

/// What a replica grants by itself while the ledger does not answer. Version 0.1 ignores it.
#[derive(Serialize, Deserialize, Default)]
struct EncodedEmergency {
    /// 0 if the limit grants nothing alone, and a part behind this one is stored.
    share_millionths: u32,
    seconds: u32,
}

/// Whether a limit denies. Earlier versions of this program enforce it: they ignore this part, or cannot read the empty part
/// before it and keep the version before.
#[derive(Serialize, Deserialize)]
struct EncodedEnforcement {
    enforce: bool,
}

/// The first window of the schedule that a version starts.
#[derive(Serialize, Deserialize, Default)]
struct EncodedWindow {
    /// 0 if no window starts, and a part behind this one is stored.
    first_ends_ms: u64,
}

/// How callers wait for the limit at the server. Earlier versions of this program ignore it.
#[derive(Serialize, Deserialize, Default)]
struct EncodedQueue {
    order: EncodedQueueOrder,
    max_waiting: Option<u64>,
}

#[derive(Serialize, Deserialize, Default)]
enum EncodedQueueOrder {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// How long a replica serves callers from one allotment. Version 0.1 ignores it.
#[derive(Clone, Copy, Serialize, Deserialize, Default)]
struct EncodedAllotment {
    /// 0 if the limit has no allotments, and a part behind this one is stored.
    period_ms: u64,
}

/// What one unit is worth. Earlier versions of this program ignore it, or cannot read the empty part before it and keep the
/// version before.
#[derive(Clone, Copy, Serialize, Deserialize, Default)]
struct EncodedUnitMicros {
    /// 0 if a unit is what it names, and a part behind this one is stored.
    micros: u64,
}

/// The thresholds of alerts. Version 0.1 ignores them.
#[derive(Serialize, Deserialize, Default)]
struct EncodedAlerts {
    percents: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
enum EncodedOverage {
    Debt,
    Deny,
}

#[derive(Serialize, Deserialize)]
enum EncodedStatus {
    Active,
    Decreasing { to: u64 },
    Deleted,
    Retired,
}

/// Encodes a version into its parts, in order. `schedule_since_ns` and `first_window_ends_ms` are those of
/// [`DefinitionVersion`].
pub(crate) fn encode(
    number: u64,
    state: &LimitState,
    schedule_since_ns: Option<u64>,
    first_window_ends_ms: Option<u64>,
) -> Result<Vec<UserData>, CodecError> {
    let mut body =
        postcard::to_stdvec(&EncodedDefinition::from_state(number, state)).map_err(CodecError::Body)?;
    let thresholds = state.definition.alerts;
    let alerts =
        (!thresholds.is_empty()).then(|| EncodedAlerts { percents: thresholds.percents().collect() });
    let allotment = state.definition.allotment.map(|period| EncodedAllotment { period_ms: period.ms() });
    let unit_micros = state.definition.unit_micros.map(|it| EncodedUnitMicros { micros: it.get() });
    let unit_micros = unit_micros.or(alerts.as_ref().map(|_| Default::default()));
    let allotment = allotment.or(unit_micros.map(|_| Default::default()));
    let queue = EncodedQueue::of(state).or(allotment.map(|_| Default::default()));
    let window = first_window_ends_ms.map(|first_ends_ms| EncodedWindow { first_ends_ms });
    let window = window.or(queue.as_ref().map(|_| Default::default()));
    let enforce = state.definition.enforce;
    let enforcement = (!enforce || window.is_some()).then_some(EncodedEnforcement { enforce });
    let emergency = EncodedEmergency::of(state).or(enforcement.as_ref().map(|_| Default::default()));
    let schedule = schedule_since_ns.map(|since_ns| EncodedSchedule { since_ns });
    let schedule = schedule.or(emergency.as_ref().map(|_| Default::default()));
    // The decoder finds a part only if all parts before it are stored, too.
    let has_accounts = !state.accounts_since.is_empty() || schedule.is_some();
    let accounts_since = has_accounts.then_some(&state.accounts_since);
    let bucket_fields = EncodedBucketFields::of(state).or(accounts_since.map(|_| Default::default()));
    let template_fields = EncodedTemplateFields::of(state).or(bucket_fields.map(|_| Default::default()));
    body = append_if_any(body, template_fields)?;
    body = append_if_any(body, bucket_fields)?;
    body = append_if_any(body, accounts_since)?;
    body = append_if_any(body, schedule)?;
    body = append_if_any(body, emergency)?;
    body = append_if_any(body, enforcement)?;
    body = append_if_any(body, window)?;
    body = append_if_any(body, queue)?;
    body = append_if_any(body, allotment)?;
    body = append_if_any(body, unit_micros)?;
    body = append_if_any(body, alerts)?;
    let length = u16::try_from(body.len()).map_err(|_| CodecError::TooLong(body.len()))?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.push(FORMAT);
    bytes.extend(length.to_le_bytes());
    bytes.extend(body);
    Ok((0..).zip(bytes.chunks(PART_BYTES)).map(|(part, chunk)| part_of(part, chunk)).collect())
}

fn part_of(part: u32, chunk: &[u8]) -> UserData {
    let byte = |index: usize| chunk.get(index).copied().unwrap_or(0);
    UserData {
        wide: u128::from_le_bytes(std::array::from_fn(byte)),
        long: u64::from_le_bytes(std::array::from_fn(|index| byte(16 + index))),
        short: part,
    }
}

/// Assembles versions from the parts of a log that is read page by page. A version that cannot be decoded is reported once and
/// skipped; the next one is decoded again.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    bytes: Vec<u8>,
    parts: u32,
    skips: bool,
}

impl Assembler {
    /// Takes the next part; returns the version that it completes.
    pub(crate) fn push(&mut self, recorded: &Recorded) -> Result<Option<DefinitionVersion>, CodecError> {
        let part = recorded.transfer.user_data;
        if part.short == 0 {
            *self = Self::default();
        }
        if self.skips {
            return Ok(None);
        }
        if part.short != self.parts {
            self.skips = true;
            return Err(CodecError::PartOutOfOrder { expected: self.parts, found: part.short });
        }
        self.bytes.extend(part.wide.to_le_bytes());
        self.bytes.extend(part.long.to_le_bytes());
        self.parts += 1;
        let Some(&[format, low, high]) = self.bytes.get(..HEADER_BYTES) else { return Ok(None) };
        if format != FORMAT {
            self.skips = true;
            return Err(CodecError::Format(format));
        }
        let end = HEADER_BYTES + usize::from(u16::from_le_bytes([low, high]));
        let Some(body) = self.bytes.get(HEADER_BYTES..end) else { return Ok(None) };
        let (body, rest): (EncodedDefinition, _) =
            postcard::take_from_bytes(body).map_err(CodecError::Body)?;
        let (template_fields, rest) = take_if_any::<EncodedTemplateFields>(rest)?;
        let (bucket_fields, rest) = take_if_any::<EncodedBucketFields>(rest)?;
        let (accounts_since, rest) = take_if_any(rest)?;
        let (schedule, rest) = take_if_any::<EncodedSchedule>(rest)?;
        let (emergency, rest) = take_if_any::<EncodedEmergency>(rest)?;
        let (enforcement, rest) = take_if_any::<EncodedEnforcement>(rest)?;
        let (window, rest) = take_if_any::<EncodedWindow>(rest)?;
        let (queue, rest) = take_if_any::<EncodedQueue>(rest)?;
        let (allotment, rest) = take_if_any::<EncodedAllotment>(rest)?;
        let (unit_micros, rest) = take_if_any::<EncodedUnitMicros>(rest)?;
        let (alerts, _) = take_if_any::<EncodedAlerts>(rest)?;
        let first_window_ends_ms = window.map(|window| window.first_ends_ms).filter(|&ends_ms| ends_ms != 0);
        let (number, state) =
            body.into_state(template_fields.unwrap_or_default(), bucket_fields.unwrap_or_default())?;
        let on_unavailable = emergency.map_or(Ok(OnUnavailable::Deny), EncodedEmergency::decode)?;
        let enforce = enforcement.is_none_or(|it| it.enforce);
        let queueing = queue.map(EncodedQueue::decode).unwrap_or_default();
        let alerts = AlertThresholds::new(&alerts.unwrap_or_default().percents).map_err(invalid)?;
        let definition = Definition { on_unavailable, enforce, queueing, alerts, ..state.definition };
        let definition = match allotment.filter(|allotment| allotment.period_ms != 0) {
            Some(EncodedAllotment { period_ms }) => AllotmentPeriod::new(period_ms)
                .and_then(|period| definition.with_allotment(period))
                .map_err(invalid)?,
            None => definition,
        };
        let definition = match unit_micros.filter(|unit_micros| unit_micros.micros != 0) {
            Some(EncodedUnitMicros { micros }) => UnitMicros::new(micros)
                .and_then(|unit_micros| definition.with_unit_micros(unit_micros))
                .map_err(invalid)?,
            None => definition,
        };
        let accounts_since = accounts_since.unwrap_or_default();
        let state = LimitState { definition, accounts_since, ..state };
        let schedule_since_ns = schedule.map(|schedule| schedule.since_ns).filter(|&since_ns| since_ns != 0);
        let timestamp_ns = recorded.timestamp_ns;
        Ok(Some(DefinitionVersion { number, state, schedule_since_ns, first_window_ends_ms, timestamp_ns }))
    }
}

impl EncodedBucketFields {
    fn of(state: &LimitState) -> Option<Self> {
        let wait_max = state.definition.wait_max;
        (wait_max != WaitMax::default()).then_some(Self { max_wait_ms: wait_max.ms() })
    }
}

impl EncodedEmergency {
    fn of(state: &LimitState) -> Option<Self> {
        match state.definition.on_unavailable {
            OnUnavailable::Deny => None,
            OnUnavailable::Allow(share) => {
                Some(Self { share_millionths: share.millionths(), seconds: share.seconds() })
            }
        }
    }

    fn decode(self) -> Result<OnUnavailable, CodecError> {
        if self.share_millionths == 0 {
            return Ok(OnUnavailable::Deny);
        }
        let share = EmergencyShare::from_millionths(self.share_millionths, u64::from(self.seconds));
        share.map(OnUnavailable::Allow).map_err(invalid)
    }
}

impl EncodedQueue {
    fn of(state: &LimitState) -> Option<Self> {
        let Queueing { order, max_waiting } = state.definition.queueing;
        let order = match order {
            QueueOrder::OldestFirst => EncodedQueueOrder::OldestFirst,
            QueueOrder::NewestFirst => EncodedQueueOrder::NewestFirst,
        };
        (state.definition.queueing != Queueing::default()).then_some(Self { order, max_waiting })
    }

    fn decode(self) -> Queueing {
        let order = match self.order {
            EncodedQueueOrder::OldestFirst => QueueOrder::OldestFirst,
            EncodedQueueOrder::NewestFirst => QueueOrder::NewestFirst,
        };
        Queueing { order, max_waiting: self.max_waiting }
    }
}

impl EncodedTemplateFields {
    fn of(state: &LimitState) -> Option<Self> {
        let instances_max = state.definition.instances_max.map(Amount::get);
        let origin = state.origin.as_ref().map(|of| (of.template.as_str().to_owned(), of.version));
        (instances_max.is_some() || origin.is_some()).then_some(Self { instances_max, origin })
    }
}

/// Appends the encoding of a part that a version may leave out.
fn append_if_any(bytes: Vec<u8>, part: Option<impl Serialize>) -> Result<Vec<u8>, CodecError> {
    match part {
        Some(part) => postcard::to_extend(&part, bytes).map_err(CodecError::Body),
        None => Ok(bytes),
    }
}

/// Decodes the value at the front of the bytes, if there are any. Returns it and the bytes behind it.
fn take_if_any<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(Option<T>, &'a [u8]), CodecError> {
    if bytes.is_empty() {
        return Ok((None, bytes));
    }
    let (decoded, rest) = postcard::take_from_bytes(bytes).map_err(CodecError::Body)?;
    Ok((Some(decoded), rest))
}

fn invalid(error: impl Into<Box<dyn std::error::Error>>) -> CodecError {
    CodecError::Invalid(error.into().to_string())
}

impl EncodedDefinition {
    fn from_state(number: u64, state: &LimitState) -> Self {
        let definition = &state.definition;
        Self {
            number,
            key: definition.key.as_str().to_owned(),
            kind: EncodedKind::from(definition.kind),
            capacity: definition.capacity.get(),
            unit: definition.texts.unit().to_owned(),
            description: definition.texts.description().to_owned(),
            overage: match definition.overage {
                Overage::Debt => EncodedOverage::Debt,
                Overage::Deny => EncodedOverage::Deny,
            },
            status: match state.status {
                Status::Active => EncodedStatus::Active,
                Status::Decreasing { to } => EncodedStatus::Decreasing { to: to.get() },
                Status::Deleted => EncodedStatus::Deleted,
                Status::Retired => EncodedStatus::Retired,
            },
        }
    }

    fn into_state(
        self,
        template_fields: EncodedTemplateFields,
        bucket_fields: EncodedBucketFields,
    ) -> Result<(u64, LimitState), CodecError> {
        let overage = match self.overage {
            EncodedOverage::Debt => Overage::Debt,
            EncodedOverage::Deny => Overage::Deny,
        };
        let status = match self.status {
            EncodedStatus::Active => Status::Active,
            EncodedStatus::Decreasing { to } => {
                Status::Decreasing { to: Capacity::new(to).map_err(invalid)? }
            }
            EncodedStatus::Deleted => Status::Deleted,
            EncodedStatus::Retired => Status::Retired,
        };
        let definition = Definition::new(
            LimitKey::parse_name(&self.key).map_err(invalid)?,
            Kind::try_from(self.kind).map_err(invalid)?,
            Capacity::new(self.capacity).map_err(invalid)?,
            &self.unit,
            &self.description,
            overage,
        );
        let definition = definition
            .and_then(|it| it.with_instances_max(template_fields.instances_max.unwrap_or(0)))
            .and_then(|it| match bucket_fields.max_wait_ms {
                0 => Ok(it),
                ms => it.with_max_wait_ms(ms),
            })
            .map_err(invalid)?;
        let origin = template_fields.origin.map(|(template, version)| {
            LimitKey::parse_name(&template).map(|template| Box::new(Origin { template, version }))
        });
        let origin = origin.transpose().map_err(invalid)?;
        Ok((self.number, LimitState { status, origin, ..LimitState::active(definition) }))
    }
}

#[cfg(test)]
mod tests;
