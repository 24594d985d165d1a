//! Ids of accounts and transfers. They are derived from names, not random, so that a repeated request meets its own earlier
//! transfers, at this replica or another.

use std::fmt::Display;

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use crate::ledger::{AccountId, LeaseQuery, TransferId};
use crate::limit::{ExtendId, LeaseId, LimitKey, LimitState, ReleaseId, RenewId, ReplenishId, Tick};
use crate::protocol::{EXTENDS_MAX, REQUIREMENTS_MAX};

/// Derives the ids of one TigerBeetle ledger. The ledgers of a cluster share one id space, so every id depends on the
/// ledger's number; ledger 1 adds nothing.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    ledger: u32,
    operator: AccountId,
    registry: AccountId,
    instances: AccountId,
    replicas: AccountId,
}

/// Derives the ids of one lease's transfers.
#[derive(Debug, Clone, Copy)]
pub struct LeaseIds(u128);

/// The purpose of a lease's transfer. The numbers are stored in ids and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// The reservation of a requirement.
    Reserve = 1,
    /// The void of a reservation.
    Void = 2,
    /// The smaller reservation that stays when a lease settles below its reservation.
    Shrink = 3,
    /// The additional reservation when a lease settles above its reservation.
    Overage = 4,
    /// Overage that found no room.
    Debt = 5,
    /// The guard of a complete, or the trace of an extend: the first of them takes the id.
    Guard = 6,
    /// Repays borrowed tokens out of what a complete releases.
    Repay = 7,
    /// Borrows tokens, repays what it can at once, and measures what is owed then.
    Borrow = 8,
    /// Bounds what is owed behind a reservation ahead whose unused part is released.
    Bound = 9,
    /// Posts what a forced reserve took beyond the room.
    Excess = 10,
    /// The pass of later attempts, or the waiver that excludes them: the first of them takes the id.
    Pass = 11,
    /// The transfers of an allotment, whose chain is named like a lease.
    Allot = 12,
    /// The announcement of a replica, or its void. Both are named like a lease.
    Announce = 13,
    /// A part of the URL of a replica, which is named like a lease.
    AnnounceUrl = 14,
    /// A step of an alert account, which belongs to no lease.
    Alert = 16,
}

/// The most attempts at one transfer of a lease: 3 bits of its id count them.
pub(crate) const ATTEMPTS_MAX: u8 = 8;
/// The most legs of a lease before it is extended: 5 bits of an id count them.
const LEGS_MAX: usize = 32;
const _: () =
    assert!(REQUIREMENTS_MAX <= LEGS_MAX && EXTENDS_MAX <= LEGS_MAX, "5 bits of an id count the legs");
/// The most attempts of a renewal. The number behind the last attempt is that of its voids.
pub(crate) const RENEWAL_ATTEMPTS_MAX: u8 = ATTEMPTS_MAX - 1;
/// The purposes from this on are the numbers of renewals.
const RENEWAL: u128 = 32;
/// Marks the ids that belong to a leg added by an extend. Such legs are numbered on from [`LEGS_MAX`]. The bit is above
/// every purpose.
const EXTENSION_LEG: u128 = 1 << 14;
/// Marks the ids of the reservations that extends make.
const EXTENSION: u128 = 1 << 15;

impl Ids {
    /// The ids of the ledger with this number.
    pub fn new(ledger: u32) -> Self {
        let account = |label| AccountId::from_u128(digest(ledger, label));
        Self {
            ledger,
            operator: account("acct:operator"),
            registry: account("acct:registry"),
            instances: account("acct:instances"),
            replicas: account("acct:replicas"),
        }
    }

    /// The number of the ledger.
    pub fn ledger_number(self) -> u32 {
        self.ledger
    }

    /// The account that funds every limit and receives every reservation.
    pub fn operator(self) -> AccountId {
        self.operator
    }

    /// The account whose transfers are the log of definition versions.
    pub fn registry(self) -> AccountId {
        self.registry
    }

    /// The account whose transfers are the definition versions of template instances.
    pub fn instances(self) -> AccountId {
        self.instances
    }

    /// The account whose transfers are the announcements of replicas.
    pub fn replicas(self) -> AccountId {
        self.replicas
    }

    /// The first account of a limit.
    pub fn limit(self, key: &LimitKey) -> AccountId {
        self.account(&format!("acct:limit:{key}"))
    }

    /// The account of a limit in this state.
    pub(crate) fn limit_of(self, state: &LimitState) -> AccountId {
        let key = &state.definition.key;
        state.accounts_since.last().map_or_else(|| self.limit(key), |&version| self.limit_since(key, version))
    }

    /// The accounts of a limit that newer ones have replaced.
    pub(crate) fn replaced_accounts(self, state: &LimitState) -> impl Iterator<Item = AccountId> {
        let key = &state.definition.key;
        let (first, later) = match state.accounts_since.split_last() {
            Some((_, earlier)) => (Some(self.limit(key)), earlier),
            None => (None, [].as_slice()),
        };
        first.into_iter().chain(later.iter().map(move |&version| self.limit_since(key, version)))
    }

    /// The account that a limit has had since this version. The version stands first, because a key may end in a number.
    fn limit_since(self, key: &LimitKey, version: u64) -> AccountId {
        self.account(&format!("acct:limit-since:{version}:{key}"))
    }

    /// The account of a limit's debt.
    pub fn debt(self, key: &LimitKey) -> AccountId {
        self.account(&format!("acct:debt:{key}"))
    }

    /// A spent account of the schedule that started with version `since_version` of a limit.
    pub fn spent(self, key: &LimitKey, since_version: u64, index: usize) -> AccountId {
        self.account(&format!("acct:spent:{key}:{since_version}:{index}"))
    }

    /// The account that is a limit's refill clock, which counts in ticks.
    pub(crate) fn clock(self, key: &LimitKey, tick: Tick) -> AccountId {
        match tick {
            Tick::Millisecond => self.account(&format!("acct:clock:{key}")),
            Tick::Nanosecond => self.account(&format!("acct:clock-ns:{key}")),
        }
    }

    /// The account that holds the end of the present window of a calendar window, of the schedule that started with version
    /// `since_version`.
    pub(crate) fn window_end(self, key: &LimitKey, since_version: u64) -> AccountId {
        self.account(&format!("acct:window-end:{since_version}:{key}"))
    }

    /// The transfer that advances a window's end from this value, in milliseconds.
    pub(crate) fn advance_window(self, window_end: AccountId, ends_ms: u64) -> TransferId {
        let hash = digest(self.ledger, &format!("advance-window:{}:{ends_ms}", window_end.as_u128()));
        TransferId::from_u128(u128::from(ends_ms) << 80 | hash >> 48)
    }

    /// The account of tokens borrowed ahead of a limit's refills. All schedules of the limit share it.
    pub fn borrowed(self, key: &LimitKey) -> AccountId {
        self.account(&format!("acct:borrowed:{key}"))
    }

    /// The account through which reservations ahead measure what is owed.
    pub fn measure(self) -> AccountId {
        self.account("acct:measure")
    }

    /// The account that refuses a chain in which a bucket owes more than a bound.
    pub(crate) fn allowance(self) -> AccountId {
        self.account("acct:allowance")
    }

    /// The trace of a manual refill, which happens once per id.
    pub fn replenish(self, key: &LimitKey, id: ReplenishId) -> TransferId {
        self.manual_refill(key, id, id.timestamp_ms())
    }

    /// The trace of a release into a bucket, which happens once per id.
    pub fn release(self, key: &LimitKey, id: ReleaseId) -> TransferId {
        self.manual_refill(key, id, id.timestamp_ms())
    }

    fn manual_refill(self, key: &LimitKey, ulid: impl Display, timestamp_ms: u64) -> TransferId {
        let hash = digest(self.ledger, &format!("put-back:{key}:{ulid}"));
        TransferId::from_u128(u128::from(timestamp_ms) << 80 | hash >> 48)
    }

    /// The transfer that advances a limit's refill clock from this value, in ticks.
    pub(crate) fn advance_clock(self, key: &LimitKey, tick: Tick, clock: u64) -> TransferId {
        let hash = match tick {
            Tick::Millisecond => digest(self.ledger, &format!("advance:{key}:{clock}")),
            Tick::Nanosecond => digest(self.ledger, &format!("advance-ns:{key}:{clock}")),
        };
        let clock_ms = Tick::Millisecond.at(tick.starts_at_ns(clock));
        TransferId::from_u128(u128::from(clock_ms) << 80 | hash >> 48)
    }

    /// The ids of a lease's transfers. From the highest bit down:
    ///
    /// - 48 bits: the milliseconds of the lease's ULID. The ledger's trees are a fifth faster with ids ordered by time.
    /// - 64 bits: SipHash-2-4 of the lease id, because monotonic ULIDs differ by one.
    /// - 16 bits: purpose, attempt and leg, unhashed, so that no two transfers of a lease share an id.
    pub fn of_lease(self, lease: LeaseId) -> LeaseIds {
        let hasher = SipHasher24::new_with_keys(u64::from(self.ledger), 0x6c65_6173_652d_7472);
        let hash = hasher.hash(&lease.as_u128().to_le_bytes());
        LeaseIds(u128::from(lease.timestamp_ms()) << 80 | u128::from(hash) << 16)
    }

    /// The query for a lease's transfers.
    pub fn lease_query(self, lease: LeaseId) -> LeaseQuery {
        LeaseQuery { lease, first: self.of_lease(lease).transfer(Purpose::Reserve, 0, 0) }
    }

    /// One part of a definition version. Two replicas that make the same version collide at its first part.
    pub fn definition_part(self, key: &LimitKey, version: u64, part: u16) -> TransferId {
        let hash = digest(self.ledger, &format!("definition:{key}"));
        let [high, _] = halves(hash);
        TransferId::from_u128(
            u128::from(high) << 64 | u128::from(version & 0xffff_ffff_ffff) << 16 | u128::from(part),
        )
    }

    /// The `nth` id derived from a fresh ULID. It is for transfers that another transfer of their chain keeps from acting twice.
    /// The ledger may refuse them for a passing reason, which uses the id up; the next attempt takes a new ULID.
    pub fn fresh(self, fresh_ulid: u128, nth: u8) -> TransferId {
        let hash = digest(self.ledger, &format!("drawn:{fresh_ulid}:{nth}"));
        let [_, low] = halves(hash);
        TransferId::from_u128(fresh_ulid >> 64 << 64 | u128::from(low))
    }

    /// The transfer that voids a closing transfer.
    pub(crate) fn reopen(self, closing: TransferId) -> TransferId {
        TransferId::from_u128(digest(self.ledger, &format!("reopen:{}", closing.as_u128())))
    }

    /// The transfer that closes an account again at the end of the chain that reopened it.
    pub(crate) fn close_again(self, closing: TransferId) -> TransferId {
        TransferId::from_u128(digest(self.ledger, &format!("close-again:{}", closing.as_u128())))
    }

    /// The alert account that belongs to this account of a limit.
    pub(crate) fn alert(self, of_account: AccountId) -> AccountId {
        self.account(&format!("acct:alert:{:032x}", of_account.as_u128()))
    }

    /// The step of an alert account out of this number.
    pub(crate) fn alert_step(self, alert_account: AccountId, number: u128) -> TransferId {
        let hash = digest(self.ledger, &format!("alert:{:032x}:{number}", alert_account.as_u128()));
        // The tail is that of no other transfer, so that no family of a lease can hold the id.
        TransferId::from_u128(hash >> 16 << 16 | (Purpose::Alert as u128) << 8)
    }

    fn account(self, label: &str) -> AccountId {
        AccountId::from_u128(digest(self.ledger, label))
    }
}

impl LeaseIds {
    /// The id of one transfer. Legs are numbered in the order of their keys; extensions count on from 32.
    pub fn transfer(self, purpose: Purpose, attempt: u8, leg: usize) -> TransferId {
        debug_assert!(attempt < ATTEMPTS_MAX && leg < LEGS_MAX + EXTENDS_MAX);
        self.leg(purpose as u128, attempt, leg)
    }

    /// The transfer that reserves a leg again, in the renewal of this number.
    pub(crate) fn renewal(self, renewal: usize, attempt: u8, leg: usize) -> TransferId {
        debug_assert!(renewal < EXTENDS_MAX && attempt < RENEWAL_ATTEMPTS_MAX);
        self.leg(RENEWAL + (renewal as u128 & 0b1_1111), attempt, leg)
    }

    /// The transfer that voids a leg, in the renewal of this number.
    pub(crate) fn renewal_void(self, renewal: usize, leg: usize) -> TransferId {
        self.leg(RENEWAL + (renewal as u128 & 0b1_1111), RENEWAL_ATTEMPTS_MAX, leg)
    }

    /// The hash of a renew id that the trace of its renewal holds.
    pub(crate) fn renewal_tag(self, renew_id: RenewId) -> u64 {
        SipHasher24::new_with_keys(0, 0x7265_6e65_776c_6561).hash(&renew_id.as_u128().to_le_bytes())
    }

    fn leg(self, purpose: u128, attempt: u8, leg: usize) -> TransferId {
        let low = purpose << 8 | u128::from(attempt & 0b111) << 5 | (leg as u128 & 0b1_1111);
        let mark = if leg < LEGS_MAX { 0 } else { EXTENSION_LEG };
        TransferId::from_u128(self.0 | mark | low)
    }

    /// The reservation that an extend makes: its id, and a tag. Only 15 bits are left in the id for the hash of the extend
    /// id, so two extends of a lease can share a transfer id; the tag, stored in the user data, tells them apart.
    pub fn extension(self, extend_id: ExtendId) -> (TransferId, u64) {
        let tag = SipHasher24::new_with_keys(0, 0x746f_702d_7570).hash(&extend_id.as_u128().to_le_bytes());
        (TransferId::from_u128(self.0 | EXTENSION | u128::from(tag & 0x7fff)), tag)
    }

    /// The reservation of nothing that an extend makes if a limit in shadow mode refused its reservation. Its tag is the same.
    pub(crate) fn extension_in_debt(self, extend_id: ExtendId) -> TransferId {
        let hash = SipHasher24::new_with_keys(0, 0x7368_6164_6f77).hash(&extend_id.as_u128().to_le_bytes());
        TransferId::from_u128(self.0 | EXTENSION | u128::from(hash & 0x7fff))
    }
}

/// The first 16 bytes of SHA-256, little-endian.
fn digest(ledger: u32, label: &str) -> u128 {
    let mut hasher = Sha256::new();
    if ledger != 1 {
        hasher.update(format!("ledger:{ledger}:"));
    }
    hasher.update(label);
    let digest: [u8; 32] = hasher.finalize().into();
    digest.iter().take(16).rev().fold(0, |number, &byte| number << 8 | u128::from(byte))
}

fn halves(number: u128) -> [u64; 2] {
    [(number >> 64) as u64, number as u64]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn lease(number: u128) -> LeaseId {
        LeaseId::from_ulid(ulid::Ulid(number)).expect("not zero")
    }

    #[test]
    fn account_ids_are_sha_256_of_their_labels() {
        // `printf acct:operator | sha256sum`, the first 16 bytes read little-endian.
        assert_eq!(
            Ids::new(1).operator().as_u128().to_le_bytes()[..4],
            Sha256::digest(b"acct:operator")[..4]
        );
        assert_ne!(Ids::new(1).operator(), Ids::new(2).operator());
    }

    #[test]
    fn transfer_ids_of_leases_are_those_of_earlier_versions() {
        let lease = lease(0x0190_0000_0000_u128 << 80 | 7);
        let transfer = Ids::new(1).of_lease(lease).transfer(Purpose::Reserve, 0, 3);
        assert_eq!(format!("{:032x}", transfer.as_u128()), "019000000000417d79599cb009f00103");
    }

    #[test]
    fn transfer_ids_of_leases_are_ordered_by_time_and_differ() {
        let ids = Ids::new(1);
        let monotonic = (0..1_000).map(|n| lease(0x0190_0000_0000_u128 << 80 | n));
        let mut seen = HashSet::new();
        for lease in monotonic {
            let legs = [0, 31, 32, 63].map(|leg| (Purpose::Void, leg));
            for (purpose, leg) in [(Purpose::Reserve, 0), (Purpose::Reserve, 31)].into_iter().chain(legs) {
                assert!(seen.insert(ids.of_lease(lease).transfer(purpose, 0, leg)));
            }
            let extend_id = ExtendId::from_ulid(ulid::Ulid(lease.as_u128())).expect("not zero");
            assert!(seen.insert(ids.of_lease(lease).extension(extend_id).0));
        }
        let earlier = ids.of_lease(lease(1_u128 << 80)).transfer(Purpose::Guard, 7, 31);
        let later = ids.of_lease(lease(2_u128 << 80)).transfer(Purpose::Reserve, 0, 0);
        assert!(earlier < later);
        assert_ne!(later, Ids::new(2).of_lease(lease(2_u128 << 80)).transfer(Purpose::Reserve, 0, 0));
    }
}
