//! Look: what the accounts of the limits say becomes the outcome that a reserve would have, without a reservation.

use super::Limit;
use super::reserve::{Denial, impossible};
use crate::protocol::Reserve;

/// What can be taken of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Its account is closed: nothing.
    Closed,
    /// So many units.
    Units(u128),
}

/// Why a reserve would be denied; `None` if it would be granted. `limits` and `rooms` are in the order of its requirements.
pub(crate) fn denial(command: &Reserve, limits: &[Option<&Limit>], rooms: &[Room]) -> Option<Denial> {
    let lacks_room = || {
        command.requirements().iter().zip(rooms).find_map(|(requirement, room)| match room {
            Room::Closed => Some(Denial::Decreasing(requirement.key.clone())),
            Room::Units(units) if *units < requirement.amount.into() => {
                Some(Denial::NoRoom(requirement.key.clone()))
            }
            Room::Units(_) => None,
        })
    };
    impossible(command, limits).or_else(lacks_room)
}
