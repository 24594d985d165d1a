//! The queue of a permit limiter, without its worker: by tables, and compared with a list under random steps.

mod properties;
mod tables;

use super::count::PermitCount;
use crate::client::Amount;

fn count(permits: u64) -> PermitCount {
    Amount::new(permits).map_or(PermitCount::Zero, PermitCount::Some)
}
