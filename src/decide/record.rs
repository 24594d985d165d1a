//! The encoding of a version of a limit as the user data of zero-amount transfers, 24 bytes each.
//!
//! A record is one byte of format, two of length (little-endian), and a body in postcard's encoding. Its parts are
//! numbered from 0 in the short user data; a chain is atomic, so they stand one behind another in the log.

use serde::{Deserialize, Serialize};

use crate::ledger::{Recorded, UserData};
use crate::limit::{
    Amount, Definition, Kind, KindFields, KindName, LimitKey, LimitState, Origin, Overage, Status,
};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 3;
const PART_BYTES: usize = 24;

/// One version of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Counts the changes of the key; the first is 1.
    pub number: u64,
    /// What the limit is from here on.
    pub state: LimitState,
    /// When, in the ledger's nanoseconds; 0 while it is only planned.
    pub timestamp_ns: u64,
}

/// Why parts do not make a version.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A part is missing or stands in the wrong place.
    #[error("part {found} of a definition stands where part {expected} belongs")]
    PartOutOfPlace {
        /// The part that was due.
        expected: u32,
        /// The part that was there.
        found: u32,
    },
    /// The record was written by another version of this program.
    #[error("a definition is of format {0}, and this program reads format {FORMAT}")]
    Format(u8),
    /// The body is damaged.
    #[error("a definition is damaged")]
    Body(#[source] postcard::Error),
    /// The body says what no definition may.
    #[error("a definition is invalid: {0}")]
    Invalid(String),
    /// It is longer than a record can be.
    #[error("a definition takes {0} bytes")]
    TooLong(usize),
}

/// The body. Enums may only grow at their end; other changes take a new [`FORMAT`].
#[derive(Serialize, Deserialize)]
struct Body {
    number: u64,
    key: String,
    kind: BodyKind,
    capacity: u64,
    unit: String,
    description: String,
    overage: BodyOverage,
    status: BodyStatus,
}

/// Follows the body of what has to do with templates; of other records nothing does.
#[derive(Serialize, Deserialize, Default)]
struct Annex {
    instances_max: Option<u64>,
    origin: Option<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
enum BodyKind {
    Rolling { window_seconds: u32 },
    Concurrency { timeout_seconds: u32 },
    TokenBucket { refill_amount: u64, refill_interval_ms: u64, auto_replenish: bool },
    FixedWindow { window_seconds: u32, align: u32 },
    SlidingWindow { window_seconds: u32, segments: u32 },
}

#[derive(Serialize, Deserialize)]
enum BodyOverage {
    Debt,
    Deny,
}

#[derive(Serialize, Deserialize)]
enum BodyStatus {
    Active,
    Decreasing { to: u64 },
    Deleted,
}

/// The parts of a version.
pub fn encode(number: u64, state: &LimitState) -> Result<Vec<UserData>, RecordError> {
    let mut body = postcard::to_stdvec(&Body::from_state(number, state)).map_err(RecordError::Body)?;
    if let Some(annex) = Annex::of(state) {
        body = postcard::to_extend(&annex, body).map_err(RecordError::Body)?;
    }
    let length = u16::try_from(body.len()).map_err(|_| RecordError::TooLong(body.len()))?;
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

/// Puts versions together from the parts of a log that is read piece by piece. A record that cannot be read is passed
/// over; the next one is read again.
#[derive(Debug, Default)]
pub struct Assembler {
    bytes: Vec<u8>,
    parts: u32,
    skips: bool,
}

impl Assembler {
    /// Takes the next part; answers the version that it completes.
    pub fn push(&mut self, recorded: &Recorded) -> Result<Option<Version>, RecordError> {
        let part = recorded.transfer.user_data;
        if part.short == 0 {
            *self = Self::default();
        }
        if self.skips {
            return Ok(None);
        }
        if part.short != self.parts {
            self.skips = true;
            return Err(RecordError::PartOutOfPlace { expected: self.parts, found: part.short });
        }
        self.bytes.extend(part.wide.to_le_bytes());
        self.bytes.extend(part.long.to_le_bytes());
        self.parts += 1;
        let Some(&[format, low, high]) = self.bytes.get(..HEADER_BYTES) else { return Ok(None) };
        if format != FORMAT {
            self.skips = true;
            return Err(RecordError::Format(format));
        }
        let end = HEADER_BYTES + usize::from(u16::from_le_bytes([low, high]));
        let Some(body) = self.bytes.get(HEADER_BYTES..end) else { return Ok(None) };
        let (body, rest): (Body, _) = postcard::take_from_bytes(body).map_err(RecordError::Body)?;
        let annex = if rest.is_empty() {
            Annex::default()
        } else {
            postcard::from_bytes(rest).map_err(RecordError::Body)?
        };
        let (number, state) = body.into_state(annex)?;
        Ok(Some(Version { number, state, timestamp_ns: recorded.timestamp_ns }))
    }
}

impl BodyKind {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Rolling(rolling) => Self::Rolling { window_seconds: rolling.window_seconds() },
            Kind::Concurrency(slots) => Self::Concurrency { timeout_seconds: slots.timeout_seconds() },
            Kind::TokenBucket(bucket) => Self::TokenBucket {
                refill_amount: bucket.refill().amount().get(),
                refill_interval_ms: bucket.refill().interval_ms(),
                auto_replenish: bucket.auto_replenish(),
            },
            Kind::FixedWindow(window) => {
                Self::FixedWindow { window_seconds: window.window_seconds(), align: window.align_seconds() }
            }
            Kind::SlidingWindow(window) => {
                Self::SlidingWindow { window_seconds: window.window_seconds(), segments: window.segments() }
            }
        }
    }

    fn into_fields(self) -> (KindName, KindFields) {
        let none = KindFields::default();
        match self {
            Self::Rolling { window_seconds } => {
                (KindName::Rolling, KindFields { window_seconds: window_seconds.into(), ..none })
            }
            Self::Concurrency { timeout_seconds } => {
                (KindName::Concurrency, KindFields { timeout_seconds: timeout_seconds.into(), ..none })
            }
            Self::TokenBucket { refill_amount, refill_interval_ms, auto_replenish } => {
                let auto_replenish = Some(auto_replenish);
                let fields = KindFields { refill_amount, refill_interval_ms, auto_replenish, ..none };
                (KindName::TokenBucket, fields)
            }
            Self::FixedWindow { window_seconds, align } => {
                let (window_seconds, align) = (window_seconds.into(), align.into());
                (KindName::FixedWindow, KindFields { window_seconds, align, ..none })
            }
            Self::SlidingWindow { window_seconds, segments } => {
                let (window_seconds, segments) = (window_seconds.into(), segments.into());
                (KindName::SlidingWindow, KindFields { window_seconds, segments, ..none })
            }
        }
    }
}

impl Annex {
    fn of(state: &LimitState) -> Option<Self> {
        let instances_max = state.definition.instances_max.map(Amount::get);
        let origin = state.origin.as_ref().map(|of| (of.template.as_str().to_owned(), of.version));
        (instances_max.is_some() || origin.is_some()).then_some(Self { instances_max, origin })
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error>>) -> RecordError {
    RecordError::Invalid(error.into().to_string())
}

impl Body {
    fn from_state(number: u64, state: &LimitState) -> Self {
        let definition = &state.definition;
        Self {
            number,
            key: definition.key.as_str().to_owned(),
            kind: BodyKind::of(definition.kind),
            capacity: definition.capacity.get(),
            unit: definition.texts.unit().to_owned(),
            description: definition.texts.description().to_owned(),
            overage: match definition.overage {
                Overage::Debt => BodyOverage::Debt,
                Overage::Deny => BodyOverage::Deny,
            },
            status: match state.status {
                Status::Active => BodyStatus::Active,
                Status::Decreasing { to } => BodyStatus::Decreasing { to: to.get() },
                Status::Deleted => BodyStatus::Deleted,
            },
        }
    }

    fn into_state(self, annex: Annex) -> Result<(u64, LimitState), RecordError> {
        let (name, fields) = self.kind.into_fields();
        let overage = match self.overage {
            BodyOverage::Debt => Overage::Debt,
            BodyOverage::Deny => Overage::Deny,
        };
        let status = match self.status {
            BodyStatus::Active => Status::Active,
            BodyStatus::Decreasing { to } => Status::Decreasing { to: Amount::new(to).map_err(invalid)? },
            BodyStatus::Deleted => Status::Deleted,
        };
        let definition = Definition::new(
            LimitKey::parse_name(&self.key).map_err(invalid)?,
            Kind::from_fields(name, &fields).map_err(invalid)?,
            Amount::new(self.capacity).map_err(invalid)?,
            &self.unit,
            &self.description,
            overage,
        );
        let definition = definition
            .and_then(|it| it.with_instances_max(annex.instances_max.unwrap_or(0)))
            .map_err(invalid)?;
        let origin = annex.origin.map(|(template, version)| {
            LimitKey::parse_name(&template).map(|template| Box::new(Origin { template, version }))
        });
        let origin = origin.transpose().map_err(invalid)?;
        Ok((self.number, LimitState { definition, status, origin }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{AccountId, Movement, Transfer, TransferCode, TransferId};

    fn recorded(user_data: UserData, timestamp_ns: u64) -> Recorded {
        let end = AccountId::from_u128(1);
        let movement = Movement::Post { debit: end, credit: end, amount: 0 };
        let transfer =
            Transfer { id: TransferId::from_u128(1), code: TransferCode::Definition, user_data, movement };
        Recorded { transfer, timestamp_ns }
    }

    fn state(description: &str, status: Status) -> LimitState {
        let definition = Definition::new(
            LimitKey::parse(&"k".repeat(256)).expect("valid"),
            Kind::new(KindName::Concurrency, 0, 300).expect("valid"),
            Amount::MAX,
            "slots",
            description,
            Overage::Deny,
        );
        LimitState { definition: definition.expect("valid"), status, origin: None }
    }

    fn of_template() -> [LimitState; 2] {
        let template = LimitKey::parse_name("tenant:{tenant}").expect("valid");
        let kind = Kind::new(KindName::Rolling, 60, 0).expect("valid");
        let capacity = Amount::new(5).expect("valid");
        let definition =
            Definition::new(template.clone(), kind, capacity, "", "", Overage::Debt).expect("valid");
        let instance = definition.for_instance(LimitKey::parse("tenant:acme").expect("valid"));
        let origin = Some(Box::new(Origin { template, version: 7 }));
        [
            LimitState::active(definition.with_instances_max(3).expect("valid")),
            LimitState { origin, ..LimitState::active(instance) },
        ]
    }

    #[test]
    fn versions_survive_the_ledger() {
        let to = Amount::new(7).expect("valid");
        let [template, instance] = of_template();
        let states = [
            state("", Status::Active),
            state(&"d".repeat(1024), Status::Decreasing { to }),
            template,
            instance,
            state("é", Status::Deleted),
        ];
        let mut assembler = Assembler::default();
        let mut read = Vec::new();
        for (number, state) in (1..).zip(&states) {
            for part in encode(number, state).expect("encodes") {
                read.extend(assembler.push(&recorded(part, 5)).expect("a part"));
            }
        }
        let expected: Vec<Version> =
            (1..).zip(states).map(|(number, state)| Version { number, state, timestamp_ns: 5 }).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn damage_is_noticed() {
        let parts = encode(1, &state("", Status::Active)).expect("encodes");
        let mut assembler = Assembler::default();
        let error = assembler.push(&recorded(parts[1], 5)).expect_err("part 1 first");
        assert_eq!(error.to_string(), "part 1 of a definition stands where part 0 belongs");
        let newer = UserData { wide: parts[0].wide + 1, ..parts[0] };
        let error = assembler.push(&recorded(newer, 5)).expect_err("format 2");
        assert_eq!(error.to_string(), "a definition is of format 2, and this program reads format 1");
        let rest = parts[1..].iter().map(|part| assembler.push(&recorded(*part, 5)));
        assert!(rest.into_iter().all(|read| matches!(read, Ok(None))), "it is told once and passed over");
        let again: Vec<_> =
            parts.iter().filter_map(|part| assembler.push(&recorded(*part, 5)).expect("good")).collect();
        assert_eq!(again.len(), 1, "the next one is read");
    }
}
