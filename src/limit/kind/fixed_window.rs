//! Fixed window: each boundary refills the whole capacity.

use serde::{Deserialize, Serialize};

use super::window_length::WindowLength;
use super::{KindFields, Steps, Tick, in_range};
use crate::limit::DefinitionError;

/// Boundaries are the length of the window apart, counted from the Unix epoch, so that 86,400 seconds are the day in UTC.
/// `align` moves them later by that many seconds, for example to a tenant's midnight.
///
/// An interval as long as the window may see 2 x the capacity: all of it before a boundary, and all of it after.
///
/// If `auto_replenish` is false, a window ends on request, and not before its length has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedWindow {
    length: WindowLength,
    align_seconds: u32,
    auto_replenish: bool,
}

/// The fields of a window of whole seconds that time ends, as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct Encoded {
    window_seconds: u32,
    align: u32,
}

/// The fields of any other window, as the ledger stores them.
#[derive(Serialize, Deserialize)]
pub(crate) struct EncodedMs {
    window_ms: u64,
    align: u32,
    auto_replenish: bool,
}

impl FixedWindow {
    pub(super) const FIELD_NAMES: &[&str] = &["window_seconds", "window_ms", "align", "auto_replenish"];

    pub(super) fn from_fields(fields: &KindFields) -> Result<Self, DefinitionError> {
        let length = WindowLength::from_fields(fields)?;
        let auto_replenish = fields.auto_replenish.unwrap_or(true);
        // A window that ends on request has no boundary to move.
        let align_max = if auto_replenish { (length.ms() - 1) / 1_000 } else { 0 };
        let align = in_range("align", fields.align, 0, align_max)?;
        // It is below the window's length, whose seconds fit 32 bits.
        Ok(Self { length, align_seconds: align as u32, auto_replenish })
    }

    pub(super) fn fields(self) -> KindFields {
        KindFields {
            align: self.align_seconds.into(),
            auto_replenish: (!self.auto_replenish).then_some(false),
            ..self.length.fields()
        }
    }

    /// The length of a window, in milliseconds.
    pub fn window_ms(self) -> u64 {
        self.length.ms()
    }

    /// A window begins this many seconds after a multiple of its length.
    pub fn align_seconds(self) -> u32 {
        self.align_seconds
    }

    /// Whether time ends a window; otherwise it ends on request, once its length has passed.
    pub fn auto_replenish(self) -> bool {
        self.auto_replenish
    }

    /// One step is one window. `None` if windows end on request.
    pub(super) fn steps(self) -> Option<Steps> {
        self.auto_replenish.then(|| Steps {
            anchor_ns: u64::from(self.align_seconds) * 1_000_000_000,
            span_ms: self.length.ms(),
            per_span: 1,
            tick: Tick::Millisecond,
        })
    }

    pub(super) fn encode(self) -> Result<Encoded, EncodedMs> {
        match self.length.whole_seconds() {
            Some(window_seconds) if self.auto_replenish => {
                Ok(Encoded { window_seconds, align: self.align_seconds })
            }
            Some(_) | None => Err(EncodedMs {
                window_ms: self.length.ms(),
                align: self.align_seconds,
                auto_replenish: self.auto_replenish,
            }),
        }
    }
}

impl From<Encoded> for KindFields {
    fn from(encoded: Encoded) -> Self {
        Self { window_seconds: encoded.window_seconds.into(), align: encoded.align.into(), ..Self::default() }
    }
}

impl From<EncodedMs> for KindFields {
    fn from(encoded: EncodedMs) -> Self {
        Self {
            window_ms: encoded.window_ms,
            align: encoded.align.into(),
            auto_replenish: Some(encoded.auto_replenish),
            ..Self::default()
        }
    }
}
