//! Reads definition versions from the log, by the description in `ARCHITECTURE.md` and the format of postcard: numbers as
//! varints of seven bits, texts with their length before them, the variant of an enum as a number.
//!
//! A decoder of its own, so that a fault of the limiter's codec shows as a finding.

use crate::ledger::raw::RawTransfer;

/// The format that this decoder reads.
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 3;

/// A definition version, as far as the audit needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) key: String,
    pub(super) kind: Kind,
    /// Of a calendar window. Another calendar starts another schedule.
    pub(super) calendar: Option<Calendar>,
    pub(super) capacity: u64,
    pub(super) status: Status,
    /// Of a template, the most instances that it may make.
    pub(super) instances_max: Option<u64>,
    /// Of an instance, the template that made it.
    pub(super) origin: Option<String>,
    /// The versions that gave the limit new accounts, oldest first.
    pub(super) accounts_since: Vec<u64>,
    /// From when the steps of a new schedule count, if the version says so.
    pub(super) schedule_since_ns: Option<u64>,
    /// When the first window of a calendar window ends, if the version starts its schedule.
    pub(super) first_window_ends_ms: Option<u64>,
    /// Whether replicas may serve callers from allotments.
    pub(super) has_allotment: bool,
    /// Whether crossed thresholds of its usage are events.
    pub(super) has_alerts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Rolling {
        window_seconds: u32,
    },
    Concurrency {
        timeout_seconds: u32,
    },
    Bucket {
        refill_amount: u64,
        interval_ms: u64,
        per_interval: u32,
        is_timed: bool,
    },
    FixedWindow {
        window_ms: u64,
        align_seconds: u32,
        is_timed: bool,
    },
    SlidingWindow {
        window_ms: u64,
        segments: u32,
        is_timed: bool,
    },
    /// A window of a calendar. The ledger holds the end of the present one, so what the calendar says need not be known.
    Calendar,
}

/// What tells two calendars apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calendar {
    period: u64,
    time_zone: String,
    starts_at: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Active,
    Decreasing { to: u64 },
    Deleted,
    Retired,
}

/// Why a definition cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// A later version of the program wrote it.
    Newer {
        /// What is new.
        what: String,
        /// The key, if it could be read.
        key: Option<String>,
    },
    /// A part is missing, or the bytes end early.
    Damaged,
}

impl Unreadable {
    fn newer(what: String, key: &str) -> Self {
        Self::Newer { what, key: Some(key.to_owned()) }
    }
}

/// Reads the version whose parts are these transfers.
pub(super) fn read(parts: &[RawTransfer]) -> Result<Version, Unreadable> {
    let mut bytes = Vec::with_capacity(parts.len() * 24);
    for (expected, part) in (0..).zip(parts) {
        if part.short != expected {
            return Err(Unreadable::Damaged);
        }
        bytes.extend(part.wide.to_le_bytes());
        bytes.extend(part.long.to_le_bytes());
    }
    let &[format, low, high] = bytes.get(..HEADER_BYTES).ok_or(Unreadable::Damaged)? else {
        return Err(Unreadable::Damaged);
    };
    if format != FORMAT {
        return Err(Unreadable::Newer { what: format!("format {format}"), key: None });
    }
    let length = usize::from(u16::from_le_bytes([low, high]));
    let body = bytes.get(HEADER_BYTES..HEADER_BYTES + length).ok_or(Unreadable::Damaged)?;
    read_body(&mut Reader(body))
}

fn read_body(reader: &mut Reader<'_>) -> Result<Version, Unreadable> {
    let (number, key) = (reader.number()?, reader.text()?);
    let (kind, calendar) = read_kind(reader, &key)?;
    let capacity = reader.number()?;
    let (_unit, _description, _overage) = (reader.text()?, reader.text()?, reader.number()?);
    let status = match reader.number()? {
        0 => Status::Active,
        1 => Status::Decreasing { to: reader.number()? },
        2 => Status::Deleted,
        3 => Status::Retired,
        other => return Err(Unreadable::newer(format!("status {other}"), &key)),
    };
    let (mut instances_max, mut origin) = (None, None);
    if !reader.is_at_end() {
        instances_max = reader.option(Reader::number)?;
        origin = reader.option(|reader| {
            let template = reader.text()?;
            reader.number()?;
            Ok(template)
        })?;
    }
    // The longest wait of reservations ahead.
    if !reader.is_at_end() {
        reader.number()?;
    }
    let mut accounts_since = Vec::new();
    if !reader.is_at_end() {
        for _ in 0..reader.number()? {
            accounts_since.push(reader.number()?);
        }
    }
    let since_ns = if reader.is_at_end() { 0 } else { reader.number()? };
    let schedule_since_ns = (since_ns != 0).then_some(since_ns);
    // Emergency grants, and whether the limit enforces.
    for _ in 0..3 {
        if !reader.is_at_end() {
            reader.number()?;
        }
    }
    let ends_ms = if reader.is_at_end() { 0 } else { reader.number()? };
    // How callers wait.
    if !reader.is_at_end() {
        reader.number()?;
        reader.option(Reader::number)?;
    }
    let allotment_ms = if reader.is_at_end() { 0 } else { reader.number()? };
    // What a unit is worth.
    if !reader.is_at_end() {
        reader.number()?;
    }
    let alerts = if reader.is_at_end() { 0 } else { reader.number()? };
    // The thresholds, and later parts, change nothing that the audit checks.
    Ok(Version {
        number,
        key,
        kind,
        calendar,
        capacity,
        status,
        instances_max,
        origin,
        accounts_since,
        schedule_since_ns,
        first_window_ends_ms: (ends_ms != 0).then_some(ends_ms),
        has_allotment: allotment_ms != 0,
        has_alerts: alerts != 0,
    })
}

fn read_kind(reader: &mut Reader<'_>, key: &str) -> Result<(Kind, Option<Calendar>), Unreadable> {
    let variant = reader.number()?;
    let mut calendar = None;
    let kind = match variant {
        0 => Kind::Rolling { window_seconds: reader.short_number()? },
        1 => Kind::Concurrency { timeout_seconds: reader.short_number()? },
        2 | 5 => {
            let (refill_amount, interval_ms) = (reader.number()?, reader.number()?);
            let is_timed = reader.number()? != 0;
            let per_interval = if variant == 5 { reader.short_number()? } else { 1 };
            Kind::Bucket { refill_amount, interval_ms, per_interval, is_timed }
        }
        3 | 7 => {
            let window_ms = read_window_ms(reader, variant == 7)?;
            let align_seconds = reader.short_number()?;
            let is_timed = variant == 3 || reader.number()? != 0;
            Kind::FixedWindow { window_ms, align_seconds, is_timed }
        }
        4 | 8 => {
            let window_ms = read_window_ms(reader, variant == 8)?;
            let segments = reader.short_number()?;
            let is_timed = variant == 4 || reader.number()? != 0;
            Kind::SlidingWindow { window_ms, segments, is_timed }
        }
        6 => {
            let (period, time_zone, starts_at) = (reader.number()?, reader.text()?, reader.byte()?);
            calendar = Some(Calendar { period, time_zone, starts_at });
            Kind::Calendar
        }
        other => return Err(Unreadable::newer(format!("kind {other}"), key)),
    };
    Ok((kind, calendar))
}

/// The length of a window, which is stored in seconds or in milliseconds.
fn read_window_ms(reader: &mut Reader<'_>, is_in_ms: bool) -> Result<u64, Unreadable> {
    if is_in_ms { reader.number() } else { Ok(u64::from(reader.short_number()?) * 1_000) }
}

/// The bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        let (&first, rest) = self.0.split_first().ok_or(Unreadable::Damaged)?;
        self.0 = rest;
        Ok(first)
    }

    /// A varint: seven bits in each byte, the lowest first; the highest bit says that another byte follows.
    fn number(&mut self) -> Result<u64, Unreadable> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Unreadable::Damaged)
    }

    fn short_number(&mut self) -> Result<u32, Unreadable> {
        u32::try_from(self.number()?).map_err(|_| Unreadable::Damaged)
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        let length = usize::try_from(self.number()?).map_err(|_| Unreadable::Damaged)?;
        let text = self.0.get(..length).ok_or(Unreadable::Damaged)?;
        self.0 = &self.0[length..];
        String::from_utf8(text.to_vec()).map_err(|_| Unreadable::Damaged)
    }

    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Unreadable::Damaged),
        }
    }
}
