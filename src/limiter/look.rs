//! The operation look: whether a reserve would be granted now. It writes nothing to the ledger, and leaves the lease id unused.

use super::resolve::Resolved;
use super::{Limiter, LimiterError};
use crate::decide::Limit;
use crate::decide::look::{self, Room};
use crate::decide::usage;
use crate::ledger::Ledger;
use crate::limit::Status;
use crate::protocol::{CommandOutcome, Reserve};

/// How often the limits are read again if they change between the readings of their definitions and of their accounts.
pub(super) const REREADS_MAX: usize = 4;

impl<L: Ledger> Limiter<L> {
    /// Whether a reserve of this command would be granted now.
    pub async fn look(&self, command: &Reserve) -> Result<CommandOutcome, LimiterError> {
        let (resolved, rooms) = self.look_around(command, |_| {}).await?;
        Ok(match look::denial(command, &resolved.limits(), &rooms) {
            // As if it had been denied before: a look counts towards no streak of denials.
            Some(denial) => CommandOutcome::Looked(self.deny(&resolved, denial, true)),
            None => CommandOutcome::LookedFree {
                would_deny: look::would_deny(command, &resolved.limits(), &rooms),
            },
        })
    }

    /// The limits that a command names, and what is free of each. An instance that no template has a place for is left out.
    /// `before_reading` is told the limits before their accounts are read.
    pub(super) async fn look_around<'a>(
        &self,
        command: &'a Reserve,
        before_reading: impl Fn(&Resolved<'_>),
    ) -> Result<(Resolved<'a>, Vec<Room>), LimiterError> {
        let mut resolved = self.resolve_definitions(command).await?;
        before_reading(&resolved);
        let mut rooms = self.rooms(&resolved, self.ledger.now_ns()).await?;
        for _ in 0..REREADS_MAX {
            if !closed_unexpectedly(&resolved, &rooms) {
                break;
            }
            resolved = self.resolve_again(&resolved).await?;
            before_reading(&resolved);
            rooms = self.rooms(&resolved, self.ledger.now_ns()).await?;
        }
        if let Some(key) = self.registry.instance_without_place(resolved.new_instances()).await? {
            resolved.make_none(key);
        }
        Ok((resolved, rooms))
    }

    /// What is free of each limit, in the order of the requirements. Refills that are due at `now_ns` count as made. Of a limit that is not
    /// made yet everything is free; of an unknown one nothing.
    pub(super) async fn rooms(
        &self,
        resolved: &Resolved<'_>,
        now_ns: u64,
    ) -> Result<Vec<Room>, LimiterError> {
        let limits = resolved.limits();
        let is_made = |index: usize| !resolved.is_new(index);
        let made =
            || limits.iter().enumerate().filter(|(index, _)| is_made(*index)).filter_map(|(_, limit)| *limit);
        let ids = made().flat_map(usage::accounts).collect();
        let mut read = self.ledger.accounts(ids).await?.into_iter();
        let mut room = |(index, limit): (usize, &Option<&Limit>)| {
            let Some(limit) = *limit else { return Ok(Room::Units(0)) };
            if !is_made(index) {
                return Ok(Room::Units(limit.state.definition.capacity.into()));
            }
            let usage = usage::next_usage(limit, &mut read, now_ns)?;
            Ok(if usage.is_closed { Room::Closed } else { Room::Units(usage.available) })
        };
        limits.iter().enumerate().map(&mut room).collect()
    }
}

/// Whether an account is closed although the definition known here says that its limit takes reservations.
pub(super) fn closed_unexpectedly(resolved: &Resolved<'_>, rooms: &[Room]) -> bool {
    let limits = resolved.limits();
    limits.iter().zip(rooms).any(|(limit, room)| {
        *room == Room::Closed && limit.is_some_and(|limit| limit.state.status == Status::Active)
    })
}
