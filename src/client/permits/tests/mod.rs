//! The queue by itself: by tables, and against a list under random steps.

mod properties;
mod tables;

use super::count::PermitCount;
use crate::client::Amount;

fn count(permits: u64) -> PermitCount {
    Amount::new(permits).map_or(PermitCount::Zero, PermitCount::Some)
}
