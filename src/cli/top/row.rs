//! What is shown of one limit.

use ledger_limiter::client::{Capacity, LimitInfo};

/// A limit at the last look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) key: String,
    pub(super) kind: &'static str,
    pub(super) capacity: u64,
    pub(super) available: u128,
    pub(super) reserved: u128,
    pub(super) debt: u128,
    pub(super) decreases_to: Option<u64>,
    /// How fast what is available changed between the last two looks, in units a second; negative while calls take more than
    /// becomes available. 0 at the first look.
    pub(super) change_per_second: f64,
}

impl Row {
    /// The row of a limit; `None` for a template, on which nothing is reserved.
    pub(super) fn of(limit: &LimitInfo) -> Option<Self> {
        let definition = &limit.definition;
        let row = Self {
            key: definition.key.as_str().to_owned(),
            kind: definition.kind.name().as_str(),
            capacity: definition.capacity.get(),
            available: limit.usage.available,
            reserved: limit.usage.reserved,
            debt: limit.usage.debt,
            decreases_to: limit.status.decreases_to().map(Capacity::get),
            change_per_second: 0.0,
        };
        definition.instances_max.is_none().then_some(row)
    }

    /// Sets the change since `before`, so many seconds ago.
    pub(super) fn compare(&mut self, before: u128, seconds: f64) {
        if seconds > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people needs no 64 bits")]
            let change = self.available as f64 - before as f64;
            self.change_per_second = change / seconds;
        }
    }

    /// How much of the capacity is not available, in percent.
    pub(super) fn used_percent(&self) -> u8 {
        let capacity = u128::from(self.capacity.max(1));
        let used = capacity.saturating_sub(self.available);
        u8::try_from(used.saturating_mul(100) / capacity).unwrap_or(100)
    }
}
