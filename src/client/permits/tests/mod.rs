//! The queue alone: by tables, and for whatever comes.

mod properties;
mod tables;

use super::wanted::Wanted;
use crate::client::Amount;

fn wanted(permits: u64) -> Wanted {
    Amount::new(permits).map_or(Wanted::Nothing, Wanted::Some)
}
