//! Reserves of limits that hand out allotments.

use std::pin::pin;

use futures_util::future::{BoxFuture, join_all};

use super::claim::Claim;
use super::table::{Entry, Leg, Place, State};
use super::wanted::{Extent, Wanted};
use crate::ledger::{Ledger, LedgerError};
use crate::limit::LimitKey;
use crate::limiter::reserve::{Fallback, Way};
use crate::limiter::resolve::Resolved;
use crate::limiter::{Limiter, LimiterError};
use crate::protocol::{Complete, Requirement, Reserve, ReserveOutcome};
use crate::time::unix_ms;

/// How a reserve goes on, by the entry of its lease.
enum Begin<'a> {
    Answer(ReserveOutcome),
    /// The ledger answers the whole command.
    AskLedger,
    /// Another call works on the lease.
    Wait,
    /// The lease is running, and the ledger tells the status of this part of it.
    AskForRest(Box<Reserve>),
    /// The outcome for this part of it is not known: it is sent again.
    SendRest(Claim<'a>, Box<Reserve>),
    /// The outcome for this part of it is not known, and what was taken of allotments has ended.
    GiveUp(Box<Reserve>),
    /// Nobody has seen the lease before.
    Fresh(Claim<'a>),
}

impl<L: Ledger> Limiter<L> {
    /// Serves a reserve from allotments, if they cover all of it. `None` if they do not, or if the lease is known.
    pub(in crate::limiter) fn serve_at_once(&self, resolved: &Resolved<'_>) -> Option<ReserveOutcome> {
        let (allotments, command) = (&self.allotments, resolved.command);
        let lease = command.lease;
        let wanted = allotments.wanted(resolved);
        let is_older = |wanted: &Wanted| wanted.pool.is_older(lease);
        if wanted.len() != command.requirements().len() || wanted.iter().any(is_older) {
            return None;
        }
        let mut shard = allotments.table.lock(lease);
        if shard.get_mut(lease).is_some()
            || shard.place_for(lease, &allotments.clock, &allotments.table) != Place::Free
        {
            return None;
        }
        let mut entry = Entry::new(State::Running, false);
        let mut taken_at = Default::default();
        let now = || {
            taken_at = self.allotment_now();
            taken_at
        };
        if allotments.take_units(&wanted, Extent::AllAsked, now, &mut entry.legs).is_empty() {
            return None;
        }
        let reserved_at_unix_ms = unix_ms(taken_at.ledger_ns);
        entry.granted_at_unix_ms = reserved_at_unix_ms;
        allotments.table.enter(&mut shard, lease, entry);
        drop(shard);
        allotments.counts.count_served();
        resolved.reset_denial_streaks();
        Some(ReserveOutcome::granted(reserved_at_unix_ms))
    }

    /// Reserves for a command that names a limit with allotments.
    pub(in crate::limiter) fn reserve_allotted<'a>(
        &'a self,
        resolved: Resolved<'a>,
        fallback: Fallback,
    ) -> BoxFuture<'a, Result<ReserveOutcome, LimiterError>> {
        Box::pin(async move {
            let command = resolved.command;
            loop {
                let mut freed = pin!(self.allotments.table.freed.notified());
                freed.as_mut().enable();
                match self.begin_allotted(command, fallback) {
                    Begin::Answer(answer) => return Ok(answer),
                    Begin::AskLedger => {
                        return match fallback {
                            Fallback::Reserve => self.reserve_by(command, Way::Ledger).await,
                            Fallback::Force => self.force_in_ledger(resolved).await,
                        };
                    }
                    Begin::Wait => freed.await,
                    Begin::AskForRest(rest) => return self.reserve_by(&rest, Way::Ledger).await,
                    Begin::SendRest(claim, rest) => {
                        let outcome = self.send_rest(claim, &rest).await?;
                        // What a plain reserve is denied, a forced one takes.
                        if fallback == Fallback::Reserve || matches!(outcome, ReserveOutcome::Granted { .. })
                        {
                            return Ok(outcome);
                        }
                    }
                    Begin::GiveUp(rest) => {
                        let unused = Complete::of_unknown_usage(&rest);
                        self.complete_in_ledger(&unused, &[]).await?;
                        return Ok(ReserveOutcome::LeaseExpired);
                    }
                    Begin::Fresh(claim) => return self.reserve_fresh(claim, &resolved).await,
                }
            }
        })
    }

    fn begin_allotted(&self, command: &Reserve, fallback: Fallback) -> Begin<'_> {
        let lease = command.lease;
        let table = &self.allotments.table;
        let mut shard = table.lock(lease);
        let Some(entry) = shard.get_mut(lease) else {
            let place = shard.place_for(lease, &self.allotments.clock, table);
            return match (place, fallback) {
                (Place::None, _) => Begin::AskLedger,
                (Place::AheadOfClock, _) | (Place::Free, Fallback::Force) => {
                    table.enter(&mut shard, lease, Entry::new(State::Direct, false));
                    Begin::AskLedger
                }
                (Place::Free, Fallback::Reserve) => {
                    table.enter(&mut shard, lease, Entry::new(State::Unknown, true));
                    Begin::Fresh(Claim::new(&self.allotments, lease, false))
                }
            };
        };
        if entry.busy {
            return Begin::Wait;
        }
        let has_ended_part = entry.has_ended_part(self.ledger.now_ns());
        match &entry.state {
            State::Direct => Begin::AskLedger,
            State::Denied(_) if fallback == Fallback::Force => {
                entry.state = State::Direct;
                Begin::AskLedger
            }
            State::Denied(denial) => Begin::Answer(denied_again(command, denial)),
            _ if !entry.was_made_for(command) => Begin::Answer(ReserveOutcome::LeaseConflict),
            State::Settled => Begin::Answer(ReserveOutcome::LeaseSettled),
            // The ledger may hold the rest: its outcome was not heard, or it was not completed.
            State::Expired => match entry.rest.clone() {
                Some(rest) => Begin::GiveUp(rest),
                None => Begin::Answer(ReserveOutcome::LeaseExpired),
            },
            State::Running if has_ended_part => Begin::Answer(ReserveOutcome::LeaseExpired),
            State::Running => match &entry.rest {
                Some(rest) => Begin::AskForRest(rest.clone()),
                None => Begin::Answer(ReserveOutcome::granted(entry.granted_at_unix_ms)),
            },
            State::Unknown => match entry.rest.clone() {
                Some(rest) if has_ended_part => Begin::GiveUp(rest),
                Some(rest) => {
                    entry.busy = true;
                    Begin::SendRest(Claim::new(&self.allotments, lease, true), rest)
                }
                None => Begin::AskLedger,
            },
        }
    }

    /// Takes what allotments have of a command, and reserves the rest in the ledger.
    async fn reserve_fresh(
        &self,
        mut claim: Claim<'_>,
        resolved: &Resolved<'_>,
    ) -> Result<ReserveOutcome, LimiterError> {
        let (allotments, command) = (&self.allotments, resolved.command);
        let lease = command.lease;
        let mut wanted = allotments.wanted(resolved);
        allotments.ask(&wanted, self.allotment_now());
        // The ledger may have answered the id before. The limit counts as asked for, so that it keeps its pool.
        wanted.retain(|wanted| !wanted.pool.is_older(lease));
        let takes = wanted.iter().map(|wanted| self.take_for(&wanted.pool, wanted.terms, wanted.units));
        for taken in join_all(takes).await {
            taken?;
        }
        let mut taken_at = Default::default();
        let now = || {
            taken_at = self.allotment_now();
            taken_at
        };
        let (mut taken, mut rest) = (Default::default(), None);
        if let Some(entry) = allotments.table.lock(lease).get_mut(lease) {
            taken = allotments.take_units(&wanted, Extent::Fitting, now, &mut entry.legs);
        }
        if taken.is_empty() {
            claim.finish(|entry| entry.state = State::Direct);
            return self.reserve_by(command, Way::Ledger).await;
        }
        if taken.len() < command.requirements().len() {
            let is_left = |index: &usize| !taken.contains(index);
            let left = (0..command.requirements().len()).filter(is_left);
            let left: Vec<Requirement> =
                left.filter_map(|index| command.requirements().get(index)).cloned().collect();
            let left = Reserve::new(lease, command.job_id.clone(), left);
            rest = Some(Box::new(left.map_err(|error| LedgerError::Unexpected(error.to_string()))?));
        }
        match rest {
            None => {
                let at_unix_ms = unix_ms(taken_at.ledger_ns);
                claim.finish(|entry| {
                    entry.state = State::Running;
                    entry.granted_at_unix_ms = at_unix_ms;
                });
                allotments.counts.count_served();
                Ok(ReserveOutcome::granted(at_unix_ms))
            }
            Some(rest) => {
                let rest_has_slots = resolved.holds_slots(|index| !taken.contains(&index));
                claim.send(|entry| {
                    entry.rest = Some(rest.clone());
                    entry.rest_has_slots = rest_has_slots;
                });
                self.send_rest(claim, &rest).await
            }
        }
    }

    /// Sends the part of a lease that is in no allotment.
    async fn send_rest(&self, claim: Claim<'_>, rest: &Reserve) -> Result<ReserveOutcome, LimiterError> {
        let outcome = self.reserve_by(rest, Way::Ledger).await?;
        match &outcome {
            ReserveOutcome::Granted { reserved_at_unix_ms, .. } => claim.finish(|entry| {
                entry.state = State::Running;
                entry.granted_at_unix_ms = *reserved_at_unix_ms;
            }),
            ReserveOutcome::LeaseSettled => claim.finish(|entry| entry.end(State::Settled)),
            ReserveOutcome::LeaseConflict | ReserveOutcome::LeaseExpired => {
                claim.finish(|entry| entry.end(State::Direct));
            }
            ReserveOutcome::NoRoom { .. }
            | ReserveOutcome::Decreasing { .. }
            | ReserveOutcome::ExceedsCapacity { .. }
            | ReserveOutcome::UnknownKey { .. }
            | ReserveOutcome::TooManyInstances { .. } => {
                let denied = State::Denied(Box::new(outcome.clone()));
                claim.finish(|entry| entry.end(denied));
            }
        }
        Ok(outcome)
    }
}

impl Entry {
    /// Whether the lease was made for exactly these requirements.
    fn was_made_for(&self, command: &Reserve) -> bool {
        let rest = self.rest.as_ref().map_or(&[][..], |rest| rest.requirements());
        let is_same = |requirement: &Requirement| match self.taken(requirement) {
            Some(units) => units == requirement.amount.get(),
            None => rest.contains(requirement),
        };
        let of_legs = |requirement: &&Requirement| self.taken(requirement).is_some();
        let requirements = command.requirements();
        let limits = self.limits() + rest.len();
        requirements.iter().all(is_same)
            && limits == requirements.len()
            && requirements.iter().filter(of_legs).count() == self.limits()
    }

    /// How many limits it holds in allotments.
    fn limits(&self) -> usize {
        let legs = || self.legs.iter().filter(|leg| !leg.added);
        let is_first = |(index, leg): &(usize, &Leg)| {
            !legs().take(*index).any(|earlier| earlier.pool.key == leg.pool.key)
        };
        legs().enumerate().filter(is_first).count()
    }
}

/// The answer for a lease id that was denied before. A denial names a key of its command; without the key this is another
/// command under the same id.
fn denied_again(command: &Reserve, denial: &ReserveOutcome) -> ReserveOutcome {
    let named = match denial {
        ReserveOutcome::NoRoom { key, .. }
        | ReserveOutcome::Decreasing { key, .. }
        | ReserveOutcome::ExceedsCapacity { key }
        | ReserveOutcome::UnknownKey { key }
        | ReserveOutcome::TooManyInstances { key } => Some(key),
        ReserveOutcome::Granted { .. }
        | ReserveOutcome::LeaseConflict
        | ReserveOutcome::LeaseSettled
        | ReserveOutcome::LeaseExpired => None,
    };
    let is_named = |key: &LimitKey| command.requirements().iter().any(|requirement| requirement.key == *key);
    if named.is_none_or(is_named) { denial.clone() } else { ReserveOutcome::LeaseConflict }
}
