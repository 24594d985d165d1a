//! What may have made room for those who wait, and when their limits must be looked at.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::queue::WaiterId;
use super::waiters::{State, Waiting};
use crate::ledger::AccountId;
use crate::limit::LimitKey;
use crate::registry::{RefillObserver, Waiters};

/// Above this number, the accounts of limits without waiters are forgotten at the next poll.
const ACCOUNTS_MAX: usize = 4_096;

impl Waiting {
    /// Notes the accounts of limits, by which completes name them.
    pub(super) fn note_accounts(&self, accounts: impl Iterator<Item = (AccountId, LimitKey)>) {
        self.lock().accounts.extend(accounts);
    }

    /// Notes what a look found out about a waiter: which of its limits lacks room, and when a schedule will have refilled it.
    pub(super) fn note_look(&self, id: WaiterId, lacking: Option<(usize, Option<Instant>)>) {
        let mut state = self.lock();
        let State { waiters, expected, .. } = &mut *state;
        let Some((waiter, (limiting, room_at))) = waiters.get_mut(&id).zip(lacking) else { return };
        waiter.progress.limiting = limiting;
        let key = waiter.command.requirements().get(limiting).map(|requirement| requirement.key.clone());
        if let Some((key, room_at)) = key.zip(room_at) {
            expected.insert(key, room_at);
        }
    }

    /// The limits whose first waiters must be looked at now; all of them if `polls`. `None` if nobody waits: the asker ends.
    pub(super) fn take_due(&self, polls: bool) -> Option<HashSet<LimitKey>> {
        let mut state = self.lock();
        if state.queues.len() == 0 {
            state.is_asked = false;
            (state.due, state.expected, state.accounts) = Default::default();
            return None;
        }
        if polls {
            state.expected.clear();
            state.due.clear();
            let State { accounts, queues, .. } = &mut *state;
            // Not with each look: where all of them have waiters, nothing is forgotten.
            if accounts.len() > ACCOUNTS_MAX {
                accounts.retain(|_, key| queues.waiters(key) > 0);
            }
            return Some(state.queues.keys().cloned().collect());
        }
        let (now, State { expected, expiries, due, queues, .. }) = (Instant::now(), &mut *state);
        due.extend(expected.extract_if(|_, at| *at <= now).map(|(key, _)| key));
        due.extend(expiries.take_due(now).into_iter().filter(|key| queues.waiters(key) > 0));
        Some(std::mem::take(due))
    }

    /// When a schedule will have refilled what a first waiter lacks, or a reservation expires.
    pub(super) fn next_expected(&self) -> Option<Instant> {
        let state = self.lock();
        let expiry = state.expiries.next(|key| state.queues.waiters(key) > 0);
        state.expected.values().copied().chain(expiry).min()
    }

    /// Reservations that were granted to a waiter expire at these times.
    pub(super) fn note_expiries<'a>(&self, expiries: impl Iterator<Item = (&'a LimitKey, Instant)>) {
        let mut state = self.lock();
        expiries.for_each(|(key, at)| state.expiries.note(key, at));
    }

    /// There may be more room of a limit.
    fn may_have_room(&self, key: impl FnOnce(&State) -> Option<LimitKey>) {
        if self.counts.leases.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut state = self.lock();
        if let Some(key) = key(&state)
            && state.queues.waiters(&key) > 0
        {
            state.due.insert(key);
            self.changed.notify_one();
        }
    }

    /// Units of the limit with this account were released.
    pub(in crate::limiter) fn released(&self, account: AccountId) {
        self.may_have_room(|state| state.accounts.get(&account).cloned());
    }
}

impl RefillObserver for Waiting {
    fn refilled(&self, account: AccountId) {
        self.released(account);
    }
}

impl Waiters for Waiting {
    fn defined(&self, key: &LimitKey) {
        self.may_have_room(|_| Some(key.clone()));
    }

    fn units(&self, key: &LimitKey) -> u128 {
        self.lock().queues.units(key)
    }
}
