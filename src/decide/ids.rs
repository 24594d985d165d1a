//! Ids. They are derived, not drawn, so that a request that is repeated, here or at another replica, meets itself.

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use crate::ledger::{AccountId, TransferFamily, TransferId};
use crate::limit::{LeaseId, LimitKey};

/// Makes the ids of one TigerBeetle ledger. Two ledgers of one cluster share its id space, so the ledger's number is in
/// every id, but for ledger 1.
#[derive(Debug, Clone, Copy)]
pub struct Ids {
    ledger: u32,
    operator: AccountId,
    registry: AccountId,
    instances: AccountId,
}

/// Makes the ids of one lease's transfers.
#[derive(Debug, Clone, Copy)]
pub struct LeaseIds(u128);

/// Which transfer of a lease it is, besides the leg that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// The reservation.
    Reserve = 1,
    /// Its void.
    Void = 2,
    /// What stays reserved when it settles below its estimate.
    Shrink = 3,
    /// What is reserved on top when it settles above.
    Extend = 4,
    /// What of that could not be reserved.
    Debt = 5,
    /// The guard of a complete, or the trace of a top-up: whatever comes first takes the id.
    Guard = 6,
    /// What its complete gives back pays back what was borrowed.
    Repay = 7,
    /// What it borrows, pays back at once, and is found to owe.
    Borrow = 8,
}

/// The most attempts at one transfer of a lease; 3 bits of its id count them.
pub const ATTEMPTS_MAX: u8 = 8;
/// The most requirements of a lease; 5 bits of an id count them.
pub const LEGS_MAX: usize = 32;
/// The most top-ups of a lease. Each is a leg of it, counted on from those that it was granted at first.
pub const TOP_UPS_MAX: usize = 32;
/// Marks the ids of legs that are top-ups, above every purpose.
const TOP_UP_LEG: u128 = 1 << 14;
/// Marks the ids of top-ups themselves.
const TOP_UP: u128 = 1 << 15;

impl Ids {
    /// For a ledger's number.
    pub fn new(ledger: u32) -> Self {
        let account = |label| AccountId::from_u128(digest(ledger, label));
        Self {
            ledger,
            operator: account("acct:operator"),
            registry: account("acct:registry"),
            instances: account("acct:instances"),
        }
    }

    /// The account that funds and receives everything.
    pub fn operator(self) -> AccountId {
        self.operator
    }

    /// The account whose transfers are the log of definitions.
    pub fn registry(self) -> AccountId {
        self.registry
    }

    /// The account whose transfers are the definitions of limits that templates made.
    pub fn instances(self) -> AccountId {
        self.instances
    }

    /// The account of a limit.
    pub fn limit(self, key: &LimitKey) -> AccountId {
        self.account(&format!("acct:limit:{key}"))
    }

    /// The account of a limit's debt.
    pub fn debt(self, key: &LimitKey) -> AccountId {
        self.account(&format!("acct:debt:{key}"))
    }

    /// The account of what was spent of a limit, in one of its places, by the schedule that a version of it set.
    pub fn spent(self, key: &LimitKey, since_version: u64, place: usize) -> AccountId {
        self.account(&format!("acct:spent:{key}:{since_version}:{place}"))
    }

    /// The account that is a limit's clock.
    pub fn clock(self, key: &LimitKey) -> AccountId {
        self.account(&format!("acct:clock:{key}"))
    }

    /// The account of what was borrowed of a limit's future. It does not depend on the schedule.
    pub fn borrowed(self, key: &LimitKey) -> AccountId {
        self.account(&format!("acct:borrowed:{key}"))
    }

    /// The account by which what is owed is measured.
    pub fn measure(self) -> AccountId {
        self.account("acct:measure")
    }

    /// The trace of what somebody asked to be put back into a limit, once for each ULID.
    pub fn put_back(self, key: &LimitKey, asked: LeaseId) -> TransferId {
        let hash = digest(self.ledger, &format!("put-back:{key}:{asked}"));
        TransferId::from_u128(u128::from(asked.timestamp_ms()) << 80 | hash >> 48)
    }

    /// The transfer that moves a limit's clock on from there.
    pub fn advance(self, key: &LimitKey, clock_ms: u64) -> TransferId {
        let hash = digest(self.ledger, &format!("advance:{key}:{clock_ms}"));
        TransferId::from_u128(u128::from(clock_ms) << 80 | hash >> 48)
    }

    /// Of a lease's transfers: the lease's 48 bits of milliseconds, so that ids are ordered by time, which the ledger's
    /// trees like; 64 bits of SipHash-2-4 over the lease, because monotonic ULIDs differ by one; then purpose, attempt
    /// and leg as they are, so that no two transfers of a lease can share an id.
    pub fn of_lease(self, lease: LeaseId) -> LeaseIds {
        let hasher = SipHasher24::new_with_keys(u64::from(self.ledger), 0x6c65_6173_652d_7472);
        let hash = hasher.hash(&lease.as_u128().to_le_bytes());
        LeaseIds(u128::from(lease.timestamp_ms()) << 80 | u128::from(hash) << 16)
    }

    /// A part of a version of a definition. Two replicas that make the same version meet at its first part.
    pub fn definition_part(self, key: &LimitKey, version: u64, part: u16) -> TransferId {
        let hash = digest(self.ledger, &format!("definition:{key}"));
        let [high, _] = halves(hash);
        TransferId::from_u128(
            u128::from(high) << 64 | u128::from(version & 0xffff_ffff_ffff) << 16 | u128::from(part),
        )
    }

    /// The `nth` of several ids around one that was drawn: for transfers that are guarded by another of their chain,
    /// and must not be stuck when an id of theirs is used up.
    pub fn around(self, drawn: u128, nth: u8) -> TransferId {
        let hash = digest(self.ledger, &format!("drawn:{drawn}:{nth}"));
        let [_, low] = halves(hash);
        TransferId::from_u128(drawn >> 64 << 64 | u128::from(low))
    }

    /// The transfer that voids a closing transfer.
    pub fn reopen(self, closing: TransferId) -> TransferId {
        TransferId::from_u128(digest(self.ledger, &format!("reopen:{}", closing.as_u128())))
    }

    /// The transfer that closes again what was reopened for a moment.
    pub fn close_again(self, closing: TransferId) -> TransferId {
        TransferId::from_u128(digest(self.ledger, &format!("close-again:{}", closing.as_u128())))
    }

    fn account(self, label: &str) -> AccountId {
        AccountId::from_u128(digest(self.ledger, label))
    }
}

impl LeaseIds {
    /// One transfer of the lease.
    pub fn transfer(self, purpose: Purpose, attempt: u8, leg: usize) -> TransferId {
        debug_assert!(attempt < ATTEMPTS_MAX && leg < LEGS_MAX + TOP_UPS_MAX);
        let low = (purpose as u128) << 8 | u128::from(attempt & 0b111) << 5 | (leg as u128 & 0b1_1111);
        let mark = if leg < LEGS_MAX { 0 } else { TOP_UP_LEG };
        TransferId::from_u128(self.0 | mark | low)
    }

    /// The top-up that an attempt to extend the lease makes, and what tells it from another one of the same id: only 15
    /// bits are left to tell them apart by.
    pub fn top_up(self, extension: LeaseId) -> (TransferId, u64) {
        let hash = SipHasher24::new_with_keys(0, 0x746f_702d_7570).hash(&extension.as_u128().to_le_bytes());
        (TransferId::from_u128(self.0 | TOP_UP | u128::from(hash & 0x7fff)), hash)
    }

    /// What they have in common.
    pub fn family(self) -> TransferFamily {
        self.transfer(Purpose::Reserve, 0, 0).family()
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
    fn account_ids_are_what_other_programs_expect() {
        // `printf acct:operator | sha256sum`, the first 16 bytes read little-endian.
        assert_eq!(
            Ids::new(1).operator().as_u128().to_le_bytes()[..4],
            Sha256::digest(b"acct:operator")[..4]
        );
        assert_ne!(Ids::new(1).operator(), Ids::new(2).operator());
    }

    #[test]
    fn lease_ids_stay_what_earlier_versions_made() {
        let lease = lease(0x0190_0000_0000_u128 << 80 | 7);
        let transfer = Ids::new(1).of_lease(lease).transfer(Purpose::Reserve, 0, 3);
        assert_eq!(format!("{:032x}", transfer.as_u128()), "019000000000417d79599cb009f00103");
    }

    #[test]
    fn lease_ids_are_ordered_by_time_and_never_meet() {
        let ids = Ids::new(1);
        let monotonic = (0..1_000).map(|n| lease(0x0190_0000_0000_u128 << 80 | n));
        let mut seen = HashSet::new();
        for lease in monotonic {
            let legs = [0, 31, 32, 63].map(|leg| (Purpose::Void, leg));
            for (purpose, leg) in [(Purpose::Reserve, 0), (Purpose::Reserve, 31)].into_iter().chain(legs) {
                assert!(seen.insert(ids.of_lease(lease).transfer(purpose, 0, leg)));
            }
            assert!(seen.insert(ids.of_lease(lease).top_up(lease).0));
        }
        let earlier = ids.of_lease(lease(1_u128 << 80)).transfer(Purpose::Guard, 7, 31);
        let later = ids.of_lease(lease(2_u128 << 80)).transfer(Purpose::Reserve, 0, 0);
        assert!(earlier < later);
        assert_ne!(later, Ids::new(2).of_lease(lease(2_u128 << 80)).transfer(Purpose::Reserve, 0, 0));
    }
}
