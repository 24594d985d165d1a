//! The account of a limit that was deleted and defined again as another kind.
//!
//! The accounts in a reservation with a timeout do not depend on the kind of the limit. So a replica that has not
//! read the new kind could still reserve by the old one. Therefore the limit gets a new account, and the old one
//! stays closed and refuses it. Limits with a schedule need no new account: their spent accounts are closed when the
//! schedule is replaced.
//!
//! Leases on the old account are settled there. The new account keeps the same amount reserved until the last of
//! these leases must have expired. So reservations on both accounts together never exceed the capacity.

use super::Limit;
use super::definition_codec::DefinitionVersion;
use super::ids::Ids;
use crate::ledger::{Account, AccountId};
use crate::limit::{Kind, LimitState};
use crate::time::NS_PER_SECOND;

/// What a new account keeps reserved for leases on the account that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptReservation {
    /// The amount.
    pub amount: u128,
    /// The time until it expires, in seconds.
    pub timeout_seconds: u32,
}

/// Whether the version after `limit` gets a new account, as a limit of this state.
pub(super) fn replaces_account(limit: &Limit, wanted: &LimitState) -> bool {
    let (has, wants) = (&limit.state.definition, &wanted.definition);
    let is_template = has.instances_max.is_some();
    limit.state.status.is_gone()
        && has.kind.name() != wants.kind.name()
        && timeout_seconds(has.kind).is_some()
        && !is_template
}

/// What the new account keeps reserved. `replaced` is the closed account, `history` holds every version of the key, oldest
/// first. `None` if nothing can be reserved any more.
pub(crate) fn kept_reservation(
    replaced: &Account,
    history: &[DefinitionVersion],
    capacity: u64,
    now_ns: u64,
) -> Option<KeptReservation> {
    let closed_at_ns = history.last()?.timestamp_ns;
    let longest_seconds =
        history.iter().filter_map(|version| timeout_seconds(version.state.definition.kind)).max()?;
    // A reservation that shrank may expire up to a second later: its remaining time is rounded up.
    let lasts_ns = (u64::from(longest_seconds) + 1) * NS_PER_SECOND;
    let remaining_ns = closed_at_ns.saturating_add(lasts_ns).saturating_sub(now_ns);
    let amount = replaced.debits_pending.min(capacity.into());
    let timeout_seconds = u32::try_from(remaining_ns.div_ceil(NS_PER_SECOND)).ok()?;
    (amount > 0 && timeout_seconds > 0).then_some(KeptReservation { amount, timeout_seconds })
}

/// After how many seconds a reservation of this kind expires; `None` for a kind with a schedule.
fn timeout_seconds(kind: Kind) -> Option<u32> {
    match kind {
        Kind::Rolling(rolling) => Some(rolling.window_seconds()),
        Kind::Concurrency(concurrency) => Some(concurrency.timeout_seconds()),
        Kind::TokenBucket(_) | Kind::FixedWindow(_) | Kind::SlidingWindow(_) | Kind::Calendar(_) => None,
    }
}

impl Limit {
    /// Whether this is the limit's account, or was before a new one replaced it.
    pub(crate) fn has_or_had_account(&self, ids: Ids, account: AccountId) -> bool {
        self.account == account || ids.replaced_accounts(&self.state).any(|replaced| replaced == account)
    }
}
