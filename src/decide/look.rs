//! Look: what the accounts of the limits say becomes the outcome that a reserve would have, without a reservation.

use super::Limit;
use super::reserve::{Denial, impossible, is_shadow};
use crate::limit::LimitKey;
use crate::protocol::{Requirement, Reserve};

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
        let each = command.requirements().iter().zip(limits).zip(rooms);
        let mut enforced = each.filter(|((_, limit), _)| !limit.is_some_and(is_shadow));
        enforced.find_map(|((requirement, _), room)| lack_of(requirement, *room))
    };
    impossible(command, limits).or_else(lacks_room)
}

/// The limits in shadow mode that would deny a reserve, in the order of its requirements.
pub(crate) fn would_deny(command: &Reserve, limits: &[Option<&Limit>], rooms: &[Room]) -> Box<[LimitKey]> {
    let each = command.requirements().iter().zip(limits).zip(rooms);
    let shadow = each.filter(|((_, limit), _)| limit.is_some_and(is_shadow));
    let lacking = shadow.filter(|((requirement, _), room)| lack_of(requirement, **room).is_some());
    lacking.map(|((requirement, _), _)| requirement.key.clone()).collect()
}

fn lack_of(requirement: &Requirement, room: Room) -> Option<Denial> {
    match room {
        Room::Closed => Some(Denial::Decreasing(requirement.key.clone())),
        Room::Units(units) if units < requirement.amount.into() => {
            Some(Denial::NoRoom(requirement.key.clone()))
        }
        Room::Units(_) => None,
    }
}
